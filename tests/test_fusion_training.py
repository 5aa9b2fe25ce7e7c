"""Training of the fusion model: batches, one step, regularization, early stopping, several processes."""

import dataclasses
import os
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
from conftest import PROJECT, SAMPLE, run_process

from recommender.movielens.split import Dataset, Ratings
from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    build_vocabularies,
    demographic_profile_row,
    encode_movies,
    encode_profiles,
)
from recommender.movielens.catalogue import Movie, User
from recommender.stars.embed import embed_movies, embed_profiles
from recommender.stars.fusion import FusionModel
from recommender.scoring import predict_ratings
from recommender.stars.processes import TrainingError
from recommender.stars.svd_init import svd_init
from recommender.stars.fusion_training import (
    TrainConfig,
    create_optimizer,
    draw_batch,
    drop_user_ids,
    init_from_svd,
    train_model,
    train_step,
    update_ema,
    validate,
)

CONFIG = TrainConfig(epochs=8, batch_size=64, learning_rate=0.02, final_learning_rate=0, validation_share=0.1)
NO_DROPOUT = dataclasses.replace(CONFIG, user_id_dropout=0.0, movie_id_dropout=0.0)
ANYONE = demographic_profile_row(0, 0, 0)


def build(num_users=40, num_movies=40, stars=lambda user, movie: 5 if (user + movie) % 2 else 1):
    """A checkerboard of tastes: even users love odd movies and hate even ones; nothing but the ids tells them apart."""
    users = [User(user, "M", 25, 0) for user in range(1, num_users + 1)]
    movies = [Movie(movie, "Same (2000)", ("Drama",)) for movie in range(1, num_movies + 1)]
    vocabularies = build_vocabularies(movies, [movie.movie_id for movie in movies])
    user_row, movie_row = np.divmod(np.arange(num_users * num_movies), num_movies)
    rating = np.array([stars(*pair) for pair in zip(user_row, movie_row, strict=True)])
    ratings = Ratings(NUM_DEMOGRAPHIC_PROFILES + user_row, movie_row, rating)
    profiles = encode_profiles(users, np.ones(num_users, bool))
    return Dataset(ratings, profiles, encode_movies(movies, vocabularies)), vocabularies


def embed(model, dataset):
    return embed_profiles(model.user_tower, dataset.profiles), embed_movies(model.movie_tower, dataset.movies)


def predict(model, dataset):
    return predict_ratings(*embed(model, dataset), dataset.ratings.profile_row, dataset.ratings.movie_row)


def weights_of(model):
    return [weight.numpy().copy() for weight in model.parameters()]


def test_learns_a_checkerboard_of_tastes():
    dataset, vocabularies = build()
    result = train_model(dataset, vocabularies, CONFIG)
    assert np.abs(predict(result.model, dataset) - dataset.ratings.rating).mean() < 0.2
    assert result.chosen.validation.rmse < 0.2


def test_unknown_user_and_movie_learn_the_average():
    dataset, vocabularies = build(stars=lambda user, movie: 4 if movie % 2 else 2)
    result = train_model(dataset, vocabularies, dataclasses.replace(CONFIG, movie_id_dropout=0.2))
    user_vectors, movie_vectors = embed(result.model, dataset)
    predicted = 5 * user_vectors[ANYONE] @ movie_vectors.T
    np.testing.assert_allclose(predicted[1::2], 4, atol=0.4)
    np.testing.assert_allclose(predicted[::2], 2, atol=0.4)
    [unknown_movie] = embed_movies(result.model.movie_tower, dataset.movies.select(np.array([0])).without_ids())
    assert 5 * user_vectors[ANYONE] @ unknown_movie == pytest.approx(3, abs=0.2)


def test_same_seed_same_model_other_seed_another():
    dataset, vocabularies = build(10, 10)
    config = dataclasses.replace(CONFIG, epochs=2)
    first, second, other = (
        predict(train_model(dataset, vocabularies, dataclasses.replace(config, seed=seed)).model, dataset)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_user_id_dropout_keeps_demographics_but_for_their_own_dropout():
    dataset, _ = build(num_users=200, num_movies=50)
    config = TrainConfig(user_id_dropout=0.5, demographic_dropout=0.25)
    own_row = dataset.ratings.profile_row
    before = own_row.copy()
    profile_row = drop_user_ids(own_row, dataset.profiles, config, np.random.default_rng(0))
    assert (own_row == before).all(), "the dataset is unchanged"
    dropped = profile_row < NUM_DEMOGRAPHIC_PROFILES
    assert (profile_row[~dropped] == own_row[~dropped]).all()
    assert dropped.mean() == pytest.approx(0.5, abs=0.02)
    drawn, own = dataset.profiles[profile_row[dropped]], dataset.profiles[own_row[dropped]]
    assert (drawn[:, 0] == UNKNOWN).all()
    unknown = drawn[:, 1:] == 0
    assert unknown.mean() == pytest.approx(0.25, abs=0.02)
    assert (drawn[:, 1:] == own[:, 1:])[~unknown].all()


def test_batch_has_its_ratings_with_each_profile_and_movie_once():
    dataset, _ = build(num_users=50, num_movies=30)
    rows = np.random.default_rng(1).permutation(1500)[:1000]
    config = TrainConfig(user_id_dropout=0.0, movie_id_dropout=0.3)
    batch = draw_batch(dataset, rows, config, np.random.default_rng(0))
    assert (batch.profiles[batch.profile_row] == dataset.profiles[dataset.ratings.profile_row[rows]]).all()
    assert batch.rating.tolist() == dataset.ratings.rating[rows].tolist()
    assert batch.rating.dtype == np.float32
    movie_idx = batch.movies.movie_idx[batch.movie_row]
    has_id = movie_idx != UNKNOWN
    assert 0.25 < 1 - has_id.mean() < 0.35
    assert (movie_idx == dataset.movies.movie_idx[dataset.ratings.movie_row[rows]])[has_id].all()
    assert len(batch.profiles) == 50
    assert len(batch.movies.movie_idx) == 30 + 30, "each movie with its id, and each without"


def test_batch_has_dropout_of_user_ids():
    dataset, _ = build(num_users=50, num_movies=30)
    config = TrainConfig(user_id_dropout=0.4, demographic_dropout=0.0, movie_id_dropout=0.0)
    batch = draw_batch(dataset, np.arange(1500), config, np.random.default_rng(0))
    has_no_id = batch.profiles[batch.profile_row, 0] == UNKNOWN
    assert has_no_id.mean() == pytest.approx(0.4, abs=0.05)
    assert (batch.movies.movie_idx != UNKNOWN).all()


def test_movies_without_id_keep_their_genres_and_words():
    movies = [Movie(row, f"Word{row} (2000)", (f"Genre{row}",)) for row in range(1, 9)]
    vocabularies = build_vocabularies(movies, range(1, 9))
    features = encode_movies(movies, vocabularies)
    ratings = Ratings(np.full(8, NUM_DEMOGRAPHIC_PROFILES), np.arange(8), np.full(8, 3))
    dataset = Dataset(ratings, encode_profiles([User(1, "M", 25, 0)], np.array([True])), features)
    batch = draw_batch(dataset, np.arange(8), TrainConfig(movie_id_dropout=0.5), np.random.default_rng(0))
    drawn = batch.movies.select(batch.movie_row)
    assert 0 < (drawn.movie_idx == UNKNOWN).sum() < 8
    assert drawn.genre_idx.tolist() == features.genre_idx.tolist()
    assert drawn.word_idx.tolist() == features.word_idx.tolist()


def test_settings_follow_the_number_of_ratings():
    """Larger batches and less regularization on more data, and fewer epochs on much more."""
    sizes = (20_002, 100_000, 900_228, 2_020_000, 6_000_000, 20_300_000, 10**9)
    configs = [TrainConfig.for_ratings(num_ratings) for num_ratings in sizes]
    assert [config.batch_size for config in configs][:3] == [181, 900, 8120]
    assert [config.batch_size for config in configs][-2:] == [1 << 17, 1 << 17]
    assert [config.epochs for config in configs] == [8, 8, 8, 8, 5, 4, 4]
    assert [round(config.learning_rate, 4) for config in configs] == [0.01, 0.0097, *[0.006] * 5]
    ratios = [config.l2 / TrainConfig().l2 for config in configs]
    assert ratios == pytest.approx([np.sqrt(891_226 / (0.99 * number)) for number in sizes], rel=1e-3)


def test_values_of_ml1m_are_the_defaults():
    config = TrainConfig.for_ratings(900_228)
    assert dataclasses.replace(config, l2=round(config.l2, 9)) == TrainConfig()


def test_settings_in_place_of_rules():
    config = TrainConfig.for_ratings(1_000_000, batch_size=50, epochs=2, seed=3)
    assert (config.batch_size, config.epochs, config.seed, config.learning_rate) == (50, 2, 3, 0.006)
    assert TrainConfig.for_ratings(10, batch_size=999).batch_size == 999


def test_validation_rows_are_a_share_and_at_least_one():
    config = TrainConfig(validation_share=0.01)
    assert [config.num_validation(number) for number in (1, 99, 299, 900_228)] == [1, 1, 2, 9002]


def test_training_step_returns_the_loss_and_reduces_it():
    dataset, vocabularies = build(10, 10)
    paddle.seed(0)
    model = FusionModel(10, vocabularies)
    optimizer, _ = create_optimizer(model, CONFIG, 1000)
    batch = draw_batch(dataset, np.arange(100), NO_DROPOUT, np.random.default_rng(0))
    expected = np.mean((predict(model, dataset) - dataset.ratings.rating) ** 2)
    losses = [train_step(model, optimizer, batch) for _ in range(20)]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.grad is None or not weight.grad.numpy().any() for weight in model.parameters())


def test_validation_predicts_some_rows_without_dropout():
    dataset, vocabularies = build(10, 10)
    paddle.seed(0)
    model = FusionModel(10, vocabularies)
    rows = np.array([3, 50, 99])
    errors = (predict(model, dataset) - dataset.ratings.rating)[rows]
    metrics = validate(model, dataset, rows)
    assert metrics.rmse == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert metrics.mae == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)


def test_learning_rate_falls_linearly():
    _, vocabularies = build(3, 3)
    config = TrainConfig(learning_rate=0.01, final_learning_rate=0.3)
    optimizer, schedule = create_optimizer(FusionModel(3, vocabularies), config, 10)
    rates = []
    for _ in range(11):
        rates.append(optimizer.get_lr())
        schedule.step()
    np.testing.assert_allclose(rates, 0.01 * np.linspace(1, 0.3, 11), atol=1e-9)


def test_regularization_draws_id_and_word_embeddings_to_zero():
    """With a loss whose gradient is 0, the L2 regularization alone moves the weights."""
    _, vocabularies = build(3, 3)
    paddle.seed(0)
    model = FusionModel(3, vocabularies)
    optimizer, _ = create_optimizer(model, TrainConfig(l2=0.1), 10)
    before = {name: weight.numpy().copy() for name, weight in model.named_parameters()}
    loss = sum(0.0 * weight.sum() for weight in model.parameters())
    loss.backward()
    optimizer.step()
    moved = {name for name, weight in model.named_parameters() if (weight.numpy() != before[name]).any()}
    tables = ("user_tower.id_branch.embedding", "movie_tower.id_branch.embedding", "movie_tower.word_embedding")
    assert moved == {f"{table}.weight" for table in tables}
    for name, weight in model.named_parameters():
        assert (abs(weight.numpy()) <= abs(before[name]) + 0.007).all(), "no further than one step"
        if name in moved:
            assert abs(weight.numpy()).sum() < abs(before[name]).sum()


def test_ema_moves_each_weight_by_a_share_of_its_distance():
    _, vocabularies = build(3, 3)
    averaged, model = FusionModel(3, vocabularies), FusionModel(3, vocabularies)
    before, weights = weights_of(averaged), weights_of(model)
    update_ema(averaged, model, 0.25)
    for mean, old, weight in zip(averaged.parameters(), before, weights, strict=True):
        np.testing.assert_allclose(mean.numpy(), 0.75 * old + 0.25 * weight, atol=1e-7)
    assert all(map(np.array_equal, weights_of(model), weights)), "the model itself stays"
    update_ema(averaged, model, 1.0)
    assert all(map(np.allclose, weights_of(averaged), weights))


def test_stops_early_and_returns_the_best_epoch():
    random = np.random.default_rng(0)
    dataset, vocabularies = build(stars=lambda user, movie: random.integers(1, 6))  # Nothing to learn.
    seen = []
    config = dataclasses.replace(CONFIG, epochs=50, l2=0.0, patience=2)
    result = train_model(dataset, vocabularies, config, seen.append)
    assert len(seen) < 50
    assert result.epochs == seen
    assert result.chosen == min(seen, key=lambda epoch: epoch.validation.rmse)
    assert seen[-1].number == result.chosen.number + config.patience
    validation_rows = np.random.default_rng(config.seed).permutation(1600)[:160]
    assert validate(result.model, dataset, validation_rows) == pytest.approx(result.chosen.validation)
    assert result.chosen.validation != pytest.approx(seen[-1].validation), "the weights are not those of the last epoch"


def test_without_an_early_stop_the_model_is_that_of_the_last_epoch():
    random = np.random.default_rng(0)
    dataset, vocabularies = build(stars=lambda user, movie: random.integers(1, 6))  # Nothing to learn.
    result = train_model(dataset, vocabularies, dataclasses.replace(CONFIG, epochs=7, l2=0.0, patience=7))
    assert [epoch.number for epoch in result.epochs] == [1, 2, 3, 4, 5, 6, 7]
    assert result.chosen == result.epochs[-1] != min(result.epochs, key=lambda epoch: epoch.validation.rmse)
    validation_rows = np.random.default_rng(CONFIG.seed).permutation(1600)[:160]
    assert validate(result.model, dataset, validation_rows) == pytest.approx(result.chosen.validation)
    for epoch in result.epochs:
        assert epoch.validation_loss == pytest.approx(epoch.validation.rmse**2)


def train_naively(dataset, vocabularies, config):
    """Trains step by step, with a plain loop; returns the loss and the averaged weights after each epoch."""
    paddle.seed(config.seed)
    shuffler, random = np.random.default_rng(config.seed), np.random.default_rng((config.seed, 0))
    order = shuffler.permutation(len(dataset.ratings.rating))
    train_rows = order[config.num_validation(len(order)) :]
    batch_size = config.batch_size
    num_steps = -(-len(train_rows) // batch_size)
    model = FusionModel(dataset.num_users, vocabularies)
    init_from_svd(model, dataset, train_rows)
    optimizer, schedule = create_optimizer(model, config, config.epochs * num_steps)
    averaged, step, epochs = weights_of(model), 0, []
    for _ in range(config.epochs):
        shuffler.shuffle(train_rows)
        losses = []
        for start in range(0, len(train_rows), batch_size):
            rows = np.sort(train_rows[start : start + batch_size])
            losses += [train_step(model, optimizer, draw_batch(dataset, rows, config, random))] * len(rows)
            schedule.step()
            step += 1
            alpha = max(1 / step, config.ema_alpha)
            averaged = [
                mean + alpha * (weight - mean) for mean, weight in zip(averaged, weights_of(model), strict=True)
            ]
        epochs.append((np.mean(losses), averaged))
    return epochs


@pytest.mark.parametrize("ema_alpha", [0.001, 0.2])
def test_training_is_a_loop_of_steps_with_averaged_weights(ema_alpha):
    """The mean over all steps at first, then an exponential moving average; the learning rate falls with each step."""
    random = np.random.default_rng(0)
    dataset, vocabularies = build(20, 20, stars=lambda user, movie: random.integers(1, 6))
    config = dataclasses.replace(CONFIG, epochs=3, patience=3, ema_alpha=ema_alpha)
    result = train_model(dataset, vocabularies, config)
    expected = train_naively(dataset, vocabularies, config)
    assert [epoch.train_loss for epoch in result.epochs] == pytest.approx([loss for loss, _ in expected], rel=1e-3)
    for weight, other in zip(weights_of(result.model), expected[-1][1], strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-4)


def test_nan_loss_stops_with_the_original_message():
    dataset, vocabularies = build(10, 10)
    dataset = dataset._replace(ratings=dataset.ratings._replace(rating=np.full(100, np.nan)))
    model = FusionModel(10, vocabularies)
    batch = draw_batch(dataset, np.arange(100), CONFIG, np.random.default_rng(0))
    optimizer, _ = create_optimizer(model, CONFIG, 1)
    with pytest.raises(TrainingError, match=r"^got NaN loss, training failed; try a smaller --learning-rate$"):
        train_step(model, optimizer, batch)


def test_one_rating_is_too_few():
    dataset, vocabularies = build(1, 1)
    with pytest.raises(TrainingError, match="too few ratings"):
        train_model(dataset, vocabularies, CONFIG)


TRAIN_AND_PRINT_WEIGHTS = """
import hashlib, sys
from pathlib import Path
from recommender.movielens.split import held_out_rows, split_and_encode
from recommender.movielens.releases import read_movielens
from recommender.stars.processes import init_device
from recommender.stars.fusion_training import TrainConfig, train_model
init_device("cpu")
data = read_movielens(Path(sys.argv[1]))
split = split_and_encode(data, held_out_rows(len(data.ratings)))
config = TrainConfig(epochs=1, user_id_dropout=0.0, movie_id_dropout=0.0)
result = train_model(split.train, split.vocabularies, config)
weights = b"".join(weight.numpy().tobytes() for weight in result.model.parameters())
print("result", hashlib.sha256(weights).hexdigest(), result.chosen.train_loss)
"""


def test_two_processes_share_each_batch_and_end_with_the_same_weights(tmp_path):
    (tmp_path / "program.py").write_text(TRAIN_AND_PRINT_WEIGHTS)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "program.py", SAMPLE]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    results = [line.split()[1:] for log in logs for line in log.splitlines() if line.startswith("result ")]
    (weights, loss), (other_weights, other_loss) = results
    assert weights == other_weights
    assert loss != other_loss, "both processes had the same ratings"


def test_trains_whatever_the_environment_says_of_program_formats(tmp_path):
    """With `FLAGS_enable_pir_api=0` Paddle 3.3 could not save the towers."""
    command = ("train.py", "--data-dir", SAMPLE, "--epochs", 1, "--batch-size", 1000)
    done = run_process(*command, cwd=tmp_path, FLAGS_enable_pir_api="0")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Model [0-9a-f]{16} written to ", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_svd_initializes_ids_that_occur_in_the_rows_and_no_other():
    random = np.random.default_rng(0)
    dataset, vocabularies = build(stars=lambda user, movie: 3 + (1 if (user + movie) % 2 else -1) * random.integers(3))
    profile_row, movie_row, _ = dataset.ratings
    rows = np.flatnonzero((profile_row != NUM_DEMOGRAPHIC_PROFILES) & (movie_row != 0))
    paddle.seed(0)
    model = FusionModel(40, vocabularies)
    tables = [tower.id_branch.embedding.weight for tower in (model.user_tower, model.movie_tower)]
    before = [table.numpy().copy() for table in tables]
    init_from_svd(model, dataset, rows)
    for old, table in zip(before, tables, strict=True):
        changed = (table.numpy() != old).any(1)
        assert not changed[: NUM_RESERVED + 1].any(), "padding, unknown, and the id that occurs in no row"
        assert changed[NUM_RESERVED + 1 :].all()
        assert table.numpy()[NUM_RESERVED + 1 :, :30].std() == pytest.approx(0.05, rel=0.1)
    profile_row, movie_row, rating = dataset.ratings.select(rows)
    indices = dataset.profiles[profile_row, 0], dataset.movies.movie_idx[movie_row]
    for factors, table in zip(svd_init(*indices, rating, 42, 42), tables, strict=True):
        np.testing.assert_allclose(table.numpy()[3:, :31], 0.05 * factors[3:], atol=1e-6)
    even, odd = (tables[0].numpy()[NUM_RESERVED + start :: 2] for start in (2, 1))
    assert (np.sign(odd[:, 0]) == -np.sign(even[0, 0])).all(), "users of one taste are on one side"
    assert (np.sign(even[:, 0]) == np.sign(even[0, 0])).all()
