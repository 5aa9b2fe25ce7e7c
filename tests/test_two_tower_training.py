import dataclasses
import os
import subprocess
import sys

import numpy as np
import paddle
import pytest
from conftest import PROJECT, SAMPLE

from recommender.data.dataset import Dataset
from recommender.data.features import NUM_ANONYMOUS, NUM_RESERVED, UNKNOWN, anonymous_row
from recommender.data.movielens import Movie, User
from recommender.errors import features, training
from recommender.evaluation.metrics import Ratings, predict_scores
from recommender.training.two_tower import TrainConfig, TrainingError, train_model

CONFIG = TrainConfig(epochs=8, batch_size=64, learning_rate=0.02, validation_share=0.1, most_steps=20)


def build(num_users=40, num_movies=40, stars=lambda user, movie: 5 if (user + movie) % 2 else 1):
    """A checkerboard of tastes: even users love odd movies and hate even ones; nothing but the ids tells them apart."""
    users = [User(user, "M", 25, 0) for user in range(1, num_users + 1)]
    movies = [Movie(movie, "Same (2000)", ("Drama",)) for movie in range(1, num_movies + 1)]
    vocabularies = features.build_vocabularies(movies, [movie.movie_id for movie in movies])
    user_row, movie_row = np.divmod(np.arange(num_users * num_movies), num_movies)
    rating = np.array([stars(*pair) for pair in zip(user_row, movie_row, strict=True)])
    encoded = features.encode_movies(movies, vocabularies)
    hidden = encoded._replace(movie_index=np.full(num_movies, UNKNOWN))
    ratings = Ratings(NUM_ANONYMOUS + user_row, movie_row, rating)
    return Dataset(ratings, features.encode_people(users), encoded, hidden), vocabularies


def predict(model, dataset):
    person_row, movie_row, _ = dataset.ratings
    user_vectors = training.embed_people(model.user_tower, dataset.people)
    movie_vectors = training.embed_movies(model.movie_tower, dataset.movies)
    return predict_scores(user_vectors, movie_vectors, person_row, movie_row), user_vectors, movie_vectors


def test_learns_a_checkerboard_of_tastes():
    dataset, vocabularies = build()
    result = train_model(dataset, vocabularies, dataclasses.replace(CONFIG, epochs=40, patience=40))
    scores, _, _ = predict(result.model, dataset)
    assert np.abs(scores - dataset.ratings.rating).mean() < 0.4
    assert result.best.validation.rmse < 0.8


def test_unknown_user_and_movie_learn_the_average():
    dataset, vocabularies = build(stars=lambda user, movie: 4 if movie % 2 else 2)
    config = dataclasses.replace(CONFIG, epochs=30, patience=30, unknown_movie_share=0.2)
    result = train_model(dataset, vocabularies, config)
    _, user_vectors, movie_vectors = predict(result.model, dataset)
    anyone = 5 * user_vectors[anonymous_row(0, 0, 0)] @ movie_vectors.T
    np.testing.assert_allclose(anyone[1::2], 4, atol=0.5)
    np.testing.assert_allclose(anyone[::2], 2, atol=0.5)
    unseen = dataset.hidden_movies.take(np.array([0]))
    unseen_vector = training.embed_movies(result.model.movie_tower, unseen)[0]
    assert 5 * user_vectors[anonymous_row(0, 0, 0)] @ unseen_vector == pytest.approx(3, abs=0.5)


def test_same_seed_same_model_other_seed_another():
    dataset, vocabularies = build(10, 10)
    config = dataclasses.replace(CONFIG, epochs=2)
    first, second, other = (
        predict(train_model(dataset, vocabularies, dataclasses.replace(config, seed=seed)).model, dataset)[0]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_hidden_people_keep_what_is_not_hidden():
    dataset, _ = build(num_users=200, num_movies=50)
    config = TrainConfig(anonymous_share=0.5, hidden_share=0.25)
    real_row = dataset.ratings.person_row
    person_row = training.hide_people(real_row, dataset.people, config, np.random.default_rng(0))
    anonymous = person_row < NUM_ANONYMOUS
    assert (person_row[~anonymous] == real_row[~anonymous]).all()
    assert anonymous.mean() == pytest.approx(0.5, abs=0.02)
    shown, real = dataset.people[person_row[anonymous]], dataset.people[real_row[anonymous]]
    assert (shown[:, 0] == UNKNOWN).all()
    hidden = shown[:, 1:] == 0
    assert hidden.mean() == pytest.approx(0.25, abs=0.02)
    assert (shown[:, 1:] == real[:, 1:])[~hidden].all()


def test_a_batch_is_its_ratings_with_each_person_and_movie_once():
    dataset, _ = build(num_users=50, num_movies=30)
    rows = np.random.default_rng(1).permutation(1500)[:1000]
    config = TrainConfig(anonymous_share=0.0, unknown_movie_share=0.3)
    batch = training.draw_batch(dataset, rows, config, np.random.default_rng(0))
    assert (batch.people[batch.person_row] == dataset.people[dataset.ratings.person_row[rows]]).all()
    assert batch.rating.tolist() == dataset.ratings.rating[rows].tolist()
    index = batch.movies.movie_index[batch.movie_row]
    shown = index != UNKNOWN
    assert 0.25 < 1 - shown.mean() < 0.35
    assert (index == dataset.movies.movie_index[dataset.ratings.movie_row[rows]])[shown].all()
    assert len(batch.people) == 50
    assert len(batch.movies.movie_index) == 30 + 30, "each movie with its id, and each without"


@pytest.mark.parametrize(("num_ratings", "batch_size"), [(20_000_000, 1 << 17), (1_000_000, 9212), (20_002, 100)])
def test_batches_fit_the_data(num_ratings, batch_size):
    config = TrainConfig().fit(num_ratings)
    assert config.batch_size == batch_size
    assert config.fit(num_ratings) == config


def test_stops_early_and_returns_the_best_epoch():
    random = np.random.default_rng(0)
    dataset, vocabularies = build(stars=lambda user, movie: random.integers(1, 6))  # Nothing to learn.
    seen = []
    config = dataclasses.replace(CONFIG, epochs=50, l2=0.0)
    result = train_model(dataset, vocabularies, config, seen.append)
    assert len(seen) < 50
    assert result.best == min(seen, key=lambda epoch: epoch.validation.rmse)
    assert seen[-1].number == result.best.number + config.patience


def test_nan_loss_stops_with_the_original_message():
    dataset, vocabularies = build(10, 10)
    dataset = dataset._replace(ratings=dataset.ratings._replace(rating=np.full(100, np.nan)))
    model = training.create_model(10, vocabularies)
    batch = training.draw_batch(dataset, np.arange(100), CONFIG, np.random.default_rng(0))
    with pytest.raises(TrainingError, match=r"^got NaN loss, training failed; try a smaller --learning-rate$"):
        training.train_step(model, training.create_optimizer(model, CONFIG, 1), batch)


def test_one_rating_is_too_few():
    dataset, vocabularies = build(1, 1)
    with pytest.raises(TrainingError, match="too few ratings"):
        train_model(dataset, vocabularies, CONFIG)


TRAIN_AND_PRINT_WEIGHTS = """
import hashlib, sys
from pathlib import Path
from recommender.data.movielens import held_out_rows, read_movielens
from recommender.data.dataset import split_and_encode
from recommender.training.two_tower import TrainConfig, set_device, train_model
set_device("cpu")
data = read_movielens(Path(sys.argv[1]))
dataset, _, vocabularies, _ = split_and_encode(data, held_out_rows(len(data.ratings)))
model = train_model(dataset, vocabularies, TrainConfig(epochs=1)).model
print("weights", hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in model.parameters())).hexdigest())
"""


def test_two_processes_end_with_the_same_weights(tmp_path):
    (tmp_path / "program.py").write_text(TRAIN_AND_PRINT_WEIGHTS)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "program.py", SAMPLE]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    weights = [line for log in logs for line in log.splitlines() if line.startswith("weights ")]
    assert len(weights) == 2
    assert weights[0] == weights[1]


def test_starts_from_what_the_rows_say_of_known_ids_only():
    dataset, vocabularies = build()
    rows = np.flatnonzero((dataset.ratings.person_row != NUM_ANONYMOUS) & (dataset.ratings.movie_row != 0))
    paddle.seed(0)
    model = training.create_model(40, vocabularies)
    tables = model.user_tower.branches[0][0].weight, model.movie_tower.id_branch[0].weight
    before = [table.numpy().copy() for table in tables]
    training.start_from_ratings(model, dataset, rows)
    for old, table in zip(before, tables, strict=True):
        changed = (table.numpy() != old).any(1)
        assert not changed[: NUM_RESERVED + 1].any(), "padding, unknown, and the one that no row is about"
        assert changed[NUM_RESERVED + 1 :].all()
    even, odd = (tables[0].numpy()[NUM_RESERVED + start :: 2] for start in (2, 1))
    assert (np.sign(odd[:, 0]) == -np.sign(even[0, 0])).all(), "people of one taste are on one side"
    assert (np.sign(even[:, 0]) == np.sign(even[0, 0])).all()
