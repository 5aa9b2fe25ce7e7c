"""Training of the fusion model: batches, one step, regularization, averaged weights, several processes."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from checkerboard import build_dataset
from commands import PROJECT

from recommender.errors import RecommenderError
from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    UNKNOWN,
    MovieFeatures,
    demographic_profile_row,
)
from recommender.stars.fusion import FusionModel, embed_movies, embed_profiles
from recommender.stars.fusion_training import (
    FusionConfig,
    create_optimizer,
    draw_batch,
    init_ids,
    plot_training_curve,
    train_fusion,
    train_step,
    update_ema,
)
from recommender.stars.paddle_setup import paddle
from recommender.stars.posterior import PosteriorConfig, PosteriorMean
from recommender.stars.predict import predict_ratings

SAMPLER = PosteriorConfig(num_factors=4, num_sweeps=20, burn_in=5)
CONFIG = FusionConfig(epochs=6, batch_size=64, learning_rate=0.02, posterior=SAMPLER)
RATINGS = dataclasses.replace(CONFIG, targets="ratings", final_learning_rate=0.0)
ANYONE = demographic_profile_row(0, 0, 0)


def embed(model, dataset):
    return embed_profiles(model.user_tower, dataset.profiles), embed_movies(model.movie_tower, dataset.movies)


def predict(model, dataset):
    return predict_ratings(*embed(model, dataset), dataset.ratings.profile_row, dataset.ratings.movie_row)


def weights_of(model):
    return [weight.numpy().copy() for weight in model.parameters()]


def draw_posterior(num_users=40, num_movies=40):
    random = np.random.default_rng(3)
    return PosteriorMean(
        *(random.normal(0.5, 0.3, (size, 8)).astype(np.float32) for size in (num_users, num_movies)), 1, 5
    )


@pytest.mark.parametrize("config", [CONFIG, RATINGS], ids=["posterior", "ratings"])
def test_learns_a_checkerboard_of_tastes(config):
    dataset, vocabularies = build_dataset(30, 30, share=0.7)
    everything, _ = build_dataset(30, 30)
    model, losses = train_fusion(dataset, vocabularies, config)
    assert np.abs(predict(model, everything) - everything.ratings.rating).mean() < 0.3
    assert len(losses) == config.epochs * -(-len(dataset.ratings.rating) // 64)
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    assert plot_training_curve(losses).startswith(b"\x89PNG")


def test_unknown_user_and_movie_learn_the_average():
    dataset, vocabularies = build_dataset(20, 40, lambda user, movie: 4 if movie % 2 else 2)
    model, _ = train_fusion(dataset, vocabularies, dataclasses.replace(CONFIG, movie_id_dropout=0.2, epochs=12))
    user_vectors, movie_vectors = embed(model, dataset)
    predicted = 5 * user_vectors[ANYONE] @ movie_vectors.T
    np.testing.assert_allclose(predicted[1::2], 4, atol=0.4)
    np.testing.assert_allclose(predicted[::2], 2, atol=0.4)
    first = dataset.movies.select(np.array([0]))._replace(movie_idx=np.array([UNKNOWN]))
    [unknown_movie] = embed_movies(model.movie_tower, first)
    assert 5 * user_vectors[ANYONE] @ unknown_movie == pytest.approx(3, abs=0.2)


def test_generous_and_critical_users_have_lengths_of_their_own():
    dataset, vocabularies = build_dataset(20, 40, lambda user, movie: (4.5 if user < 10 else 2) + 0.5 * (movie % 2))
    model, _ = train_fusion(dataset, vocabularies, RATINGS)
    lengths = np.linalg.norm(embed(model, dataset)[0][NUM_DEMOGRAPHIC_PROFILES:], axis=1)
    assert lengths[:10].min() > lengths[10:].max()


def test_same_seed_same_model_other_seed_another():
    dataset, vocabularies = build_dataset(10, 10)
    config = dataclasses.replace(CONFIG, epochs=2)
    first, second, other = (
        predict(train_fusion(dataset, vocabularies, dataclasses.replace(config, seed=seed))[0], dataset)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_batch_has_its_ratings_with_each_profile_and_movie_once():
    dataset, _ = build_dataset(50, 30)
    rows = np.random.default_rng(1).permutation(1500)[:1000]
    config = dataclasses.replace(RATINGS, user_id_dropout=0.0, movie_id_dropout=0.3)
    batch = draw_batch(dataset, rows, draw_posterior(50, 30), config, np.random.default_rng(0))
    assert (batch.profiles[batch.profile_row] == dataset.profiles[dataset.ratings.profile_row[rows]]).all()
    assert batch.target.tolist() == dataset.ratings.rating[rows].tolist()
    assert batch.target.dtype == np.float32
    movie_idx = batch.movies.movie_idx[batch.movie_row]
    has_id = movie_idx != UNKNOWN
    assert 0.25 < 1 - has_id.mean() < 0.35
    assert (movie_idx == dataset.movies.movie_idx[dataset.ratings.movie_row[rows]])[has_id].all()
    assert len(batch.profiles) == 50
    assert len(batch.movies.movie_idx) == 30 + 30, "each movie with its id, and each without"


def test_user_ids_are_dropped_and_demographics_kept_but_for_their_own_dropout():
    dataset, _ = build_dataset(200, 50)
    config = dataclasses.replace(RATINGS, user_id_dropout=0.5, demographic_dropout=0.25)
    before = dataset.ratings.profile_row.copy()
    batch = draw_batch(dataset, np.arange(10_000), draw_posterior(200, 50), config, np.random.default_rng(0))
    assert (dataset.ratings.profile_row == before).all(), "the dataset is unchanged"
    drawn, own = batch.profiles[batch.profile_row], dataset.profiles[before]
    dropped = drawn[:, 0] == UNKNOWN
    assert dropped.mean() == pytest.approx(0.5, abs=0.02)
    assert (drawn[~dropped] == own[~dropped]).all()
    unknown = drawn[dropped, 1:] == 0
    assert unknown[:, 1:].mean() == pytest.approx(0.25, abs=0.02)
    assert (drawn[dropped, 1:] == own[dropped, 1:])[~unknown].all()


def test_targets_are_the_posterior_mean_and_true_ratings_without_user_id():
    dataset, _ = build_dataset(50, 30, share=0.5)
    posterior, rows = draw_posterior(50, 30), np.arange(600)
    config = dataclasses.replace(CONFIG, user_id_dropout=0.3, movie_id_dropout=0.0)
    batch = draw_batch(dataset, rows, posterior, config, np.random.default_rng(0))
    users = batch.profiles[batch.profile_row, 0] - NUM_RESERVED
    movies = batch.movies.movie_idx[batch.movie_row] - NUM_RESERVED
    assert len(batch.target) == 1200
    dropped = users < 0
    assert 0.2 < dropped[:600].mean() < 0.4
    assert not dropped[600:].any(), "random pairs keep the user"
    assert (batch.target[:600][dropped[:600]] == dataset.ratings.rating[:600][dropped[:600]]).all()
    mean = (posterior.user_factors @ posterior.movie_factors.T).clip(1, 5)
    np.testing.assert_allclose(batch.target[~dropped], mean[users[~dropped], movies[~dropped]], rtol=1e-5)
    assert (movies[:600] == dataset.ratings.movie_row[:600]).all()


def test_random_pairs_are_drawn_in_proportion_to_ratings():
    dataset, _ = build_dataset(30, 20)
    often = (dataset.ratings.movie_row == 3) | (dataset.ratings.profile_row == NUM_DEMOGRAPHIC_PROFILES + 5)
    rows = np.concatenate([np.arange(600), np.repeat(np.flatnonzero(often), 4)])
    dataset = dataset._replace(ratings=dataset.ratings.select(rows))
    config = dataclasses.replace(CONFIG, user_id_dropout=0.0, movie_id_dropout=0.0)
    num_rows = len(rows)
    batch = draw_batch(dataset, np.arange(num_rows), draw_posterior(30, 20), config, np.random.default_rng(0))
    users = batch.profiles[batch.profile_row[num_rows:], 0] - NUM_RESERVED
    movies = batch.movies.movie_idx[batch.movie_row[num_rows:]] - NUM_RESERVED
    own_users = dataset.ratings.profile_row - NUM_DEMOGRAPHIC_PROFILES
    assert np.mean(users == 5) == pytest.approx(np.mean(own_users == 5), abs=0.04)
    assert np.mean(movies == 3) == pytest.approx(np.mean(dataset.ratings.movie_row == 3), abs=0.04)
    both = np.mean((users == 5) & (movies == 3))
    assert both == pytest.approx(np.mean(users == 5) * np.mean(movies == 3), abs=0.02), "independently"


def test_movies_without_id_keep_their_genres_and_words():
    dataset, _ = build_dataset(1, 8)
    features = MovieFeatures(dataset.movies.movie_idx, np.arange(2, 10)[:, None], np.arange(12, 20)[:, None])
    dataset = dataset._replace(movies=features)
    config = dataclasses.replace(RATINGS, movie_id_dropout=0.5)
    batch = draw_batch(dataset, np.arange(8), draw_posterior(1, 8), config, np.random.default_rng(0))
    drawn = batch.movies.select(batch.movie_row)
    assert 0 < (drawn.movie_idx == UNKNOWN).sum() < 8
    assert drawn.genre_idx.tolist() == features.genre_idx.tolist()
    assert drawn.word_idx.tolist() == features.word_idx.tolist()


def test_settings_follow_the_number_of_ratings():
    sizes = (20_002, 90_000, 900_228, 2_020_000, 6_000_000, 20_300_000, 10**9)
    configs = [FusionConfig.for_ratings(num_ratings, targets="ratings") for num_ratings in sizes]
    assert [config.batch_size for config in configs][-2:] == [1 << 17, 1 << 17]
    assert [config.epochs for config in configs] == [8, 8, 8, 8, 5, 4, 4]
    rates = [config.learning_rate for config in configs]
    assert rates == sorted(rates, reverse=True)
    ratios = [config.l2 / configs[2].l2 for config in configs]  # Of the regularization.
    assert ratios == pytest.approx([np.sqrt(900_228 / number) for number in sizes], rel=1e-3)
    configs = [FusionConfig.for_ratings(num_ratings) for num_ratings in sizes]
    assert [config.epochs for config in configs] == [8, 8, 4, 3, 2, 2, 2]
    assert [config.batch_size for config in configs] == [243, 1091, 5456, 9182, 18_182, 61_516, 1 << 16]
    assert [config.posterior.num_sweeps for config in configs] == [150, 150, 90, 63, 38, 22, 20]
    assert [config.posterior.max_features for config in configs] == [10_000] * 4 + [4_000] * 3


def test_settings_in_place_of_rules():
    config = FusionConfig.for_ratings(1_000_000, batch_size=50, epochs=9, seed=3)
    assert (config.batch_size, config.epochs, config.seed, config.posterior.seed) == (50, 9, 3, 3)
    assert config.targets == "posterior"
    assert FusionConfig.for_ratings(10, batch_size=999).batch_size == 999


def test_defaults_are_the_settings_of_ml1m():
    assert FusionConfig.for_ratings(900_228) == FusionConfig()
    assert PosteriorConfig.for_ratings(900_228) == PosteriorConfig()


def test_training_step_returns_the_loss_and_reduces_it():
    dataset, vocabularies = build_dataset(10, 10)
    paddle.seed(0)
    model = FusionModel(10, vocabularies)
    optimizer, _ = create_optimizer(model, RATINGS, 1000)
    config = dataclasses.replace(RATINGS, user_id_dropout=0.0, movie_id_dropout=0.0)
    batch = draw_batch(dataset, np.arange(100), draw_posterior(10, 10), config, np.random.default_rng(0))
    expected = np.mean((predict(model, dataset) - dataset.ratings.rating) ** 2)
    losses = [train_step(model, optimizer, batch) for _ in range(20)]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.grad is None or not weight.grad.numpy().any() for weight in model.parameters())


def test_learning_rate_falls_linearly():
    _, vocabularies = build_dataset(3, 3)
    config = FusionConfig(learning_rate=0.01, final_learning_rate=0.3)
    optimizer, schedule = create_optimizer(FusionModel(3, vocabularies), config, 10)
    rates = []
    for _ in range(11):
        rates.append(optimizer.get_lr())
        schedule.step()
    np.testing.assert_allclose(rates, 0.01 * np.linspace(1, 0.3, 11), atol=1e-9)


def test_regularization_draws_id_and_word_embeddings_to_zero():
    """With a loss whose gradient is 0, the L2 regularization alone moves the weights."""
    _, vocabularies = build_dataset(3, 3)
    paddle.seed(0)
    model = FusionModel(3, vocabularies)
    optimizer, _ = create_optimizer(model, FusionConfig(l2=0.1), 10)
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
    _, vocabularies = build_dataset(3, 3)
    averaged, model = FusionModel(3, vocabularies), FusionModel(3, vocabularies)
    before, weights = weights_of(averaged), weights_of(model)
    update_ema(averaged, model, 0.25)
    for mean, old, weight in zip(averaged.parameters(), before, weights, strict=True):
        np.testing.assert_allclose(mean.numpy(), 0.75 * old + 0.25 * weight, atol=1e-7)
    assert all(map(np.array_equal, weights_of(model), weights)), "the model itself stays"
    update_ema(averaged, model, 1.0)
    assert all(map(np.allclose, weights_of(averaged), weights))


def train_naively(dataset, vocabularies, config, posterior):
    """Trains step by step, with a plain loop; returns the losses and the averaged weights."""
    paddle.seed(config.seed)
    shuffler, random = np.random.default_rng(config.seed), np.random.default_rng((config.seed, 0))
    num_ratings = len(dataset.ratings.rating)
    num_steps = -(-num_ratings // config.batch_size)
    model = FusionModel(dataset.num_users, vocabularies)
    init_ids(model, dataset, posterior)
    optimizer, schedule = create_optimizer(model, config, config.epochs * num_steps)
    averaged, losses = weights_of(model), []
    for _ in range(config.epochs):
        order = shuffler.permutation(num_ratings)
        for start in range(0, num_ratings, config.batch_size):
            batch = draw_batch(dataset, np.sort(order[start : start + config.batch_size]), posterior, config, random)
            losses.append(train_step(model, optimizer, batch))
            schedule.step()
            alpha = max(1 / len(losses), config.ema_alpha)
            averaged = [
                mean + alpha * (weight - mean) for mean, weight in zip(averaged, weights_of(model), strict=True)
            ]
    return losses, averaged


@pytest.mark.parametrize("targets", ["posterior", "ratings"])
@pytest.mark.parametrize("ema_alpha", [0.001, 0.2])
def test_training_is_a_loop_of_steps_with_averaged_weights(ema_alpha, targets):
    """The mean over all steps at first, then an exponential moving average; the learning rate falls with each step."""
    dataset, vocabularies = build_dataset(20, 20)
    posterior = draw_posterior(20, 20)
    config = dataclasses.replace(CONFIG, targets=targets, epochs=3, ema_alpha=ema_alpha)
    model, trained_losses = train_fusion(dataset, vocabularies, config, posterior)
    losses, averaged = train_naively(dataset, vocabularies, config, posterior)
    assert trained_losses == pytest.approx(losses, rel=1e-3)
    for weight, other in zip(weights_of(model), averaged, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-4)


def test_embeddings_of_known_ids_start_from_the_factors_of_the_posterior_mean():
    dataset, vocabularies = build_dataset(40, 30)
    dataset.profiles[NUM_DEMOGRAPHIC_PROFILES + 7, 0] = UNKNOWN
    posterior = draw_posterior(40, 30)
    paddle.seed(0)
    model = FusionModel(40, vocabularies)
    tables = [tower.id_branch.embedding.weight for tower in (model.user_tower, model.movie_tower)]
    before = [table.numpy().copy() for table in tables]
    init_ids(model, dataset, posterior)
    for old, table, factors, unknown in zip(before, tables, posterior[:2], ([7], []), strict=True):
        weights = table.numpy()
        assert np.flatnonzero((weights == old).all(1)).tolist() == [
            0,
            UNKNOWN,
            *(NUM_RESERVED + row for row in unknown),
        ]
        known = np.delete(np.arange(len(factors)), unknown)
        expected = factors[known] - factors[known].mean(0)
        np.testing.assert_allclose(weights[NUM_RESERVED + known, :8], 0.05 * expected / expected.std(), atol=1e-6)
        assert (weights[:, 8:] == old[:, 8:]).all()


def test_nan_loss_stops_with_the_original_message():
    dataset, vocabularies = build_dataset(10, 10)
    dataset = dataset._replace(ratings=dataset.ratings._replace(rating=np.full(100, np.nan)))
    model = FusionModel(10, vocabularies)
    batch = draw_batch(dataset, np.arange(100), draw_posterior(10, 10), RATINGS, np.random.default_rng(0))
    optimizer, _ = create_optimizer(model, RATINGS, 1)
    with pytest.raises(RecommenderError, match=r"^got NaN loss, training failed; try a smaller --learning-rate$"):
        train_step(model, optimizer, batch)


TRAIN_AND_PRINT_WEIGHTS = """
import hashlib
from checkerboard import build_dataset
from recommender.stars.fusion_training import FusionConfig, init_device, train_fusion
from recommender.stars.posterior import PosteriorConfig
init_device("cpu")
config = FusionConfig(epochs=1, batch_size=101, posterior=PosteriorConfig(num_factors=2, num_sweeps=3, burn_in=1))
model, losses = train_fusion(*build_dataset(20, 20), config)
weights = b"".join(weight.numpy().tobytes() for weight in model.parameters())
print("result", hashlib.sha256(weights).hexdigest(), losses[0])
"""


@pytest.mark.server
def test_two_processes_share_each_batch_and_end_with_the_same_weights(tmp_path):
    (tmp_path / "program.py").write_text(TRAIN_AND_PRINT_WEIGHTS)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "program.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    logs = [(tmp_path / "log" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    results = [line.split()[1:] for log in logs for line in log.splitlines() if line.startswith("result ")]
    (weights, loss), (other_weights, other_loss) = results
    assert weights == other_weights
    assert loss != other_loss, "both processes had the same ratings"


def test_a_process_number_without_other_processes_means_nothing(tmp_path):
    """A cluster's job may have set PADDLE_TRAINER_ID; the only process still does what process 0 does."""
    program = "from recommender.stars.fusion_training import init_device; print(init_device('cpu'))"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PADDLE_TRAINER_ID": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n", "")
