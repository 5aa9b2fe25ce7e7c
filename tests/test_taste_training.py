"""Training of the taste model: what users are encoded as, dropout, what is learnt of whom."""

import dataclasses

import numpy as np
import paddle
import pytest
from scipy.sparse import csr_array

from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    Movie,
    User,
    build_vocabularies,
    demographic_profile_row,
    encode_movies,
    encode_profiles,
)
from recommender.movielens.split import Dataset, Ratings
from recommender.picks.closed_form import TasteConfig
from recommender.picks.taste import anyone_share
from recommender.picks.taste_training import (
    drop_out,
    encode_histories,
    fit_content,
    rotate_to_principal_axes,
    squared_error,
    taste_vectors,
    train_taste,
)

CONFIG = TasteConfig()


def build(num_users=60, num_movies=40, share=0.5, rating=lambda user, movie: 5):
    """Women watch even movies, men odd ones; a share of them, drawn at random, has been rated."""
    users = [User(1 + user, "FM"[user % 2], 25, 0) for user in range(num_users)]
    names = [f"{('Even', 'Odd')[movie % 2]} {movie} (2000)" for movie in range(num_movies)]
    movies = [Movie(1 + movie, name, ("Drama",)) for movie, name in enumerate(names)]
    is_same = np.add.outer(np.arange(num_users), np.arange(num_movies)) % 2 == 0
    user, movie = np.nonzero(is_same & (np.random.default_rng(0).random(is_same.shape) < share))
    stars = np.array([rating(*pair) for pair in zip(user, movie, strict=True)])
    vocabularies = build_vocabularies(movies, (1 + movie).tolist())
    profiles = encode_profiles(users, np.isin(np.arange(num_users), user))
    ratings = Ratings(NUM_DEMOGRAPHIC_PROFILES + user, movie, stars)
    return Dataset(ratings, profiles, encode_movies(movies, vocabularies)), vocabularies


def output_vectors(taste, movies, vocabularies):
    return taste.outputs.lookup(movies, vocabularies.genres.size)


def arrays_of(taste):
    return [*taste.inputs, *taste.outputs, taste.demographics, taste.variances]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def sparse(random, density, width):
    dense = random.normal(size=(7, width)) * (random.random((7, width)) < density)
    return csr_array(dense.astype(np.float32))


def test_loss_and_gradients_are_those_of_all_scores_one_by_one(random):
    features, targets = sparse(random, 0.3, 34), sparse(random, 0.2, 30)
    tables = [random.normal(size=(size, 6)).astype(np.float32) for size in (34, 30)]
    inputs, outputs = (paddle.to_tensor(table, stop_gradient=False) for table in tables)
    loss = squared_error(inputs, outputs, features, targets)
    loss.backward()
    naive_tables = [paddle.to_tensor(table, stop_gradient=False) for table in tables]
    scores = paddle.to_tensor(features.toarray()) @ naive_tables[0] @ naive_tables[1].T
    naive = ((scores - paddle.to_tensor(targets.toarray())) ** 2).sum() / 7
    naive.backward()
    assert float(loss) == pytest.approx(float(naive), rel=1e-5)
    for table, expected in zip((inputs, outputs), naive_tables, strict=True):
        np.testing.assert_allclose(table.grad.numpy(), expected.grad.numpy(), atol=1e-4)


def test_histories_and_demographics_of_users():
    stars = {0: 5, 2: 4, 4: 3, 6: 2, 8: 1}
    dataset, vocabularies = build(1, 10, share=1.1, rating=lambda user, movie: stars[movie])
    histories, demographics = encode_histories(dataset, vocabularies.movies.size)
    movie_idx = dataset.movies.movie_idx[[0, 2, 4, 6, 8]]
    assert histories.toarray()[-1, movie_idx].tolist() == pytest.approx([1.4, 1, 0.6, 0.3, 0.1])
    assert histories.nnz == 5
    labels = demographics.toarray()
    assert len(labels) == histories.shape[0] == NUM_DEMOGRAPHIC_PROFILES + 1
    assert np.flatnonzero(labels[-1]).tolist() == [2, 3 + 3, 11 + 1, 33], "female, 25-34, other"
    assert np.flatnonzero(labels[0]).tolist() == [33], "unknown"


def test_dropout_of_movies_histories_and_demographics():
    random = np.random.default_rng(0)
    histories, demographics = csr_array(np.ones((400, 50), np.float32)), np.zeros((400, 34), np.float32)
    demographics[:, [1, 4, 12, 33]] = 1
    config = TasteConfig(movie_dropout=0.4, history_dropout=0.25, demographic_dropout=0.1)
    features = drop_out(histories, csr_array(demographics), config, random).toarray()
    movies, labels = features[:, :50] > 0, features[:, 50:] > 0
    num_movies = movies.sum(1)
    assert (num_movies == 0).mean() == pytest.approx(0.25, abs=0.06)
    assert num_movies[num_movies > 0].mean() / 50 == pytest.approx(0.6, abs=0.02)
    np.testing.assert_allclose(features[:, 50 + 33], 1 / np.sqrt(num_movies + 1), atol=1e-6)
    assert labels[:, 33].all(), "what counts for everyone is not dropped"
    assert labels[:, :33].sum() == pytest.approx(400 * 3 * 0.9, rel=0.03)
    assert (histories.toarray() == 1).all(), "the input is unchanged"
    assert demographics.sum() == 400 * 4


@pytest.mark.parametrize(("num_movies", "empty", "rank"), [(20, [], 6), (4, [], 4), (20, [1, 4], 4)])
def test_principal_axes_keep_scores_and_have_uncorrelated_components(num_movies, empty, rank):
    """Of as many components as movies and users have; those without variance are 0."""
    random = np.random.default_rng(0)
    features, inputs, outputs = (random.normal(size=shape) for shape in ((50, 12), (12, 6), (num_movies, 6)))
    inputs[:, empty] = outputs[:, empty] = 0
    rotated_inputs, rotated_outputs, variances = rotate_to_principal_axes(features @ inputs, inputs, outputs)
    vectors = features @ rotated_inputs
    np.testing.assert_allclose(vectors @ rotated_outputs.T, features @ inputs @ outputs.T, atol=1e-8)
    np.testing.assert_allclose(vectors.T @ vectors / 50, np.diag(variances), atol=1e-8)
    np.testing.assert_allclose(rotated_outputs.T @ rotated_outputs, np.diag([1] * rank + [0] * (6 - rank)), atol=1e-8)
    assert (np.diff(variances) <= 0).all()
    assert (variances > 0).tolist() == [True] * rank + [False] * (6 - rank)


def test_learns_a_checkerboard_of_tastes():
    """Users get what others with their history watch; new users go by gender, new movies by their words."""
    dataset, vocabularies = build()
    taste = train_taste(dataset, vocabularies, CONFIG)
    vectors = taste_vectors(dataset, vocabularies, taste)
    scores = vectors[NUM_DEMOGRAPHIC_PROFILES:] @ output_vectors(taste, dataset.movies, vocabularies).T
    same = np.add.outer(np.arange(60), np.arange(40)) % 2 == 0
    first = np.argsort(-scores, axis=1)[:, :15]
    assert np.take_along_axis(same, first, axis=1).mean() > 0.99
    men = vectors[demographic_profile_row(1, 3, 1)] @ output_vectors(taste, dataset.movies, vocabularies).T
    assert men[1::2].min() > men[::2].max()
    by_content = output_vectors(taste, dataset.movies._replace(movie_idx=np.full(40, UNKNOWN)), vocabularies)
    new_movies = vectors[NUM_DEMOGRAPHIC_PROFILES:] @ by_content.T
    assert new_movies[same].min() > new_movies[~same].max(), "their titles say which they are"


def test_content_embeddings_are_fitted_to_the_trained_ones():
    """With the weights of `fit_content`: the numbers of training ratings of each movie."""
    dataset, vocabularies = build(20, 10)
    config = CONFIG
    taste = train_taste(dataset, vocabularies, config)
    counts = np.bincount(dataset.movies.movie_idx[dataset.ratings.movie_row], minlength=vocabularies.movies.size)
    assert len(set(counts.tolist())) > 3
    for table in (taste.inputs, taste.outputs):
        expected = fit_content(table.by_id, dataset.movies, counts, vocabularies, config)
        assert abs(expected).max() > 0
        np.testing.assert_allclose(table.by_content, expected, atol=0.02 * abs(expected).max())


def test_taste_vectors_are_shrunken_means_of_embeddings():
    stars = {0: 5, 2: 2}
    dataset, vocabularies = build(2, 3, share=1.1, rating=lambda user, movie: stars.get(movie, 4))
    taste = train_taste(dataset, vocabularies, CONFIG)
    vectors = taste_vectors(dataset, vocabularies, taste)
    assert vectors.shape == (NUM_DEMOGRAPHIC_PROFILES + 2, 200)
    anyone = taste.demographics[33] * taste.variances / (taste.variances + 0.3)
    woman = taste.demographics[[2, 3 + 3, 11 + 1, 33]].sum(0)
    alone = woman * taste.variances / (taste.variances + 0.3)
    np.testing.assert_allclose(vectors[demographic_profile_row(2, 3, 1)], alone, atol=1e-6)
    liked, disliked = taste.inputs.by_id[dataset.movies.movie_idx[[0, 2]]]
    squared_length = 1.4**2 + 0.3**2 + 1
    expected = (woman + 1.4 * liked + 0.3 * disliked) / np.sqrt(squared_length)
    expected *= taste.variances / (taste.variances + 0.3 / squared_length)
    expected -= anyone_share(squared_length - 1) * anyone
    np.testing.assert_allclose(vectors[NUM_DEMOGRAPHIC_PROFILES], expected, atol=1e-6)


def test_same_seed_same_model_other_seed_another():
    dataset, vocabularies = build(20, 10)
    config = CONFIG
    first, second, other = (
        train_taste(dataset, vocabularies, dataclasses.replace(config, seed=seed)) for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, arrays_of(first), arrays_of(second)))
    assert not np.array_equal(first.outputs.by_id, other.outputs.by_id)


def test_users_and_movies_without_ratings_are_no_trouble():
    dataset, vocabularies = build(6, 8, share=0.1)
    rated = set(dataset.ratings.movie_row.tolist())
    assert len(rated) < 8
    assert (dataset.movies.movie_idx >= NUM_RESERVED).sum() == len(rated)
    taste = train_taste(dataset, vocabularies, CONFIG)
    assert np.isfinite(taste_vectors(dataset, vocabularies, taste)).all()
    assert np.isfinite(output_vectors(taste, dataset.movies, vocabularies)).all()


CONTENT_MOVIES = [
    Movie(1, "Red Sun (2000)", ("Drama",)),
    Movie(2, "Red Moon (2000)", ("War", "Drama")),
    Movie(3, "Blue (2000)", ("War",)),
    Movie(4, "Blue Sun (2000)", ("Drama",)),
]


def content_matrix(movies):
    """Returns a 1 at each genre and word of a movie; genres and words have indices from 2 in sorted order."""
    genres, words = {"drama": 2, "war": 3}, {"blue": 2, "moon": 3, "red": 4, "sun": 5}
    content = np.zeros((len(movies), 4 + 6))
    for row, movie in enumerate(movies):
        content[row, [genres[genre.lower()] for genre in movie.genres]] = 1
        content[row, [4 + words[word] for word in movie.name.lower().split()]] = 1
    return content


def test_content_embeddings_are_a_weighted_ridge_regression():
    """Of the movies with ratings; the weight is 1 from `full_weight_ratings` on."""
    vocabularies = build_vocabularies(CONTENT_MOVIES, [1, 2, 3])
    movies = encode_movies(CONTENT_MOVIES, vocabularies)
    tables = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    counts = np.array([0, 99, 5, 10, 40])  # By movie index: padding, unknown, movies 1, 2 and 3.
    config = TasteConfig(content_l2=0.5, full_weight_ratings=20)
    contents = fit_content(tables, movies, counts, vocabularies, config)
    design = content_matrix(CONTENT_MOVIES[:3])
    weights = np.diag([0.25, 0.5, 1])
    penalty = config.content_l2 * np.eye(design.shape[1])
    expected = np.linalg.solve(design.T @ weights @ design + penalty, design.T @ weights @ tables[2:5])
    np.testing.assert_allclose(contents, expected, atol=2e-3)
    assert (contents[[0, 4]] == 0).all(), "padding"
