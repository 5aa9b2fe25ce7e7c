import dataclasses

import numpy as np
import paddle
import pytest
from scipy.sparse import csr_array

from recommender.data.dataset import Dataset
from recommender.data.features import NUM_ANONYMOUS, NUM_RESERVED, UNKNOWN
from recommender.data.movielens import Movie, User
from recommender.errors import features
from recommender.evaluation.metrics import Ratings
from recommender.models.two_tower import TasteModel
from recommender.training.taste import (
    People,
    TasteConfig,
    demographic_columns,
    draw_people,
    embed_tastes,
    encode_histories,
    train_taste,
    unit_rows,
)
from recommender.training.two_tower import TrainingError

CONFIG = TasteConfig(least_steps=120)


def build(num_users=60, num_movies=40, share=0.5, rating=lambda user, movie: 5):
    """Women watch even films, men odd ones; a share of them, drawn at random, has been rated."""
    users = [User(1 + user, "FM"[user % 2], 25, 0) for user in range(num_users)]
    words = ("Even", "Odd")
    movies = [Movie(1 + movie, f"{words[movie % 2]} {movie} (2000)", ("Drama",)) for movie in range(num_movies)]
    random = np.random.default_rng(0)
    pairs = [
        (user, movie)
        for user in range(num_users)
        for movie in range(num_movies)
        if (user + movie) % 2 == 0 and random.random() < share
    ]
    person_row, movie_row = np.array(pairs).T
    stars = np.array([rating(*pair) for pair in pairs])
    vocabularies = features.build_vocabularies(movies, [movies[row].movie_id for row in set(movie_row)])
    encoded = features.encode_movies(movies, vocabularies)
    hidden = encoded._replace(movie_index=np.full(num_movies, UNKNOWN))
    ratings = Ratings(NUM_ANONYMOUS + person_row, movie_row, stars)
    return Dataset(ratings, features.encode_people(users), encoded, hidden), vocabularies


def sparse(random, shape, density):
    dense = random.normal(size=shape) * (random.random(shape) < density)
    return csr_array(dense.astype(np.float32))


def test_loss_is_the_squared_error_over_all_films():
    """The identity of the trace, and the sparse products with their gradients, against all scores one by one."""
    random = np.random.default_rng(0)
    paddle.seed(0)
    model = TasteModel(30, (3, 8, 22))
    histories, targets = sparse(random, (7, 30), 0.3), sparse(random, (7, 30), 0.2)
    demographics = demographic_columns(random.integers(0, 3, (7, 3)))
    loss = model.loss(model(histories, demographics), targets)
    loss.backward()
    tables = [paddle.to_tensor(table.numpy(), stop_gradient=False) for table in model.parameters()]
    history, target, demographic = tables
    dense = [paddle.to_tensor(matrix.toarray()) for matrix in (histories, demographics, targets)]
    scores = (dense[0] @ history + dense[1] @ demographic) @ target[:, :-1].T + target[:, -1]
    naive = ((scores - dense[2]) ** 2).sum() / 7
    naive.backward()
    assert float(loss) == pytest.approx(float(naive), rel=1e-5)
    for table, expected in zip(model.parameters(), tables, strict=True):
        np.testing.assert_allclose(table.grad.numpy(), expected.grad.numpy(), atol=1e-5)


def test_histories_and_aims():
    stars = {0: 5, 2: 4, 4: 3, 6: 2, 8: 1}
    dataset, vocabularies = build(1, 10, share=1.1, rating=lambda user, movie: stars[movie])
    histories, targets = encode_histories(dataset, vocabularies.movies.size)
    index = dataset.movies.movie_index[[0, 2, 4, 6, 8]]
    assert histories.toarray()[0, index].tolist() == [1, 1, 0.5, 0.5, 0.5]
    assert targets.toarray()[0, index].tolist() == [1.5, 1, 0.5, 0, 0]
    assert targets.nnz == 3


def test_hidden_films_people_and_demographics():
    random = np.random.default_rng(0)
    histories = csr_array(np.ones((400, 50), np.float32))
    everyone = People(histories, demographic_columns(np.ones((400, 3), int)), histories)
    config = TasteConfig(film_dropout=0.4, hidden_history_share=0.25, hidden_share=0.1)
    drawn = draw_people(everyone, np.arange(400), config, random)
    films = (drawn.histories.toarray() > 0).sum(1)
    assert (films == 0).mean() == pytest.approx(0.25, abs=0.06)
    assert films[films > 0].mean() / 50 == pytest.approx(0.6, abs=0.02)
    np.testing.assert_allclose(np.linalg.norm(drawn.histories.toarray()[films > 0], axis=1), 1, atol=1e-6)
    assert drawn.demographics.toarray().sum() == pytest.approx(400 * 3 * 0.9, rel=0.03)
    assert drawn.targets.nnz == everyone.targets.nnz == histories.nnz, "nothing is hidden from the aims, or for good"


def test_somebody_without_films_is_no_number_by_zero():
    histories = csr_array(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert unit_rows(histories).toarray().tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_learns_a_checkerboard_of_tastes():
    """People are offered what others with their films watch, rated by them or not; new people by gender; new films."""
    dataset, vocabularies = build()
    taste = train_taste(dataset, vocabularies, CONFIG)
    people = embed_tastes(dataset, vocabularies, taste)
    scores = people @ taste.target_of(dataset.movies, vocabularies).T
    same = np.add.outer(np.arange(60), np.arange(40)) % 2 == 0
    first = np.argsort(-scores[NUM_ANONYMOUS:], axis=1)[:, :15]
    assert np.take_along_axis(same, first, axis=1).mean() > 0.99
    men = people[features.anonymous_row(1, 3, 1)] @ taste.target_of(dataset.movies, vocabularies).T
    assert men[1::2].min() > men[::2].max()
    unknown = taste.target_of(dataset.hidden_movies, vocabularies)
    new_films = people[NUM_ANONYMOUS:] @ unknown.T
    assert new_films[same].min() > new_films[~same].max(), "their titles say which they are"


def test_same_seed_same_model_other_seed_another():
    dataset, vocabularies = build(20, 10)
    config = dataclasses.replace(CONFIG, least_steps=6)
    first, second, other = (
        train_taste(dataset, vocabularies, dataclasses.replace(config, seed=seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    assert not np.array_equal(first.target, other.target)


def test_people_and_films_without_ratings_are_no_trouble():
    dataset, vocabularies = build(6, 8, share=0.1)
    rated = set(dataset.ratings.movie_row.tolist())
    assert len(rated) < 8
    assert (dataset.movies.movie_index >= NUM_RESERVED).sum() == len(rated)
    taste = train_taste(dataset, vocabularies, dataclasses.replace(CONFIG, least_steps=6))
    assert np.isfinite(embed_tastes(dataset, vocabularies, taste)).all()
    assert np.isfinite(taste.target_of(dataset.movies, vocabularies)).all()


def test_nan_loss_is_an_error():
    dataset, vocabularies = build(20, 10)
    dataset = dataset._replace(ratings=dataset.ratings._replace(rating=np.full(len(dataset.ratings.rating), np.nan)))
    with pytest.raises(TrainingError, match="got NaN loss"):
        train_taste(dataset, vocabularies, CONFIG)
