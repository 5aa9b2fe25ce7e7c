"""Shows what settings of the posterior mean and of the towers are worth, on validation rows.

    python benchmarks/tune_stars.py posterior data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune_stars.py towers data/ml-100k data/ml-1m data/ml-latest-small

Test rows are not looked at: a tenth of the training rows are held out. Each row of the table changes the settings that
it names and leaves the others as they are.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES
from recommender.movielens.releases import read_movielens
from recommender.movielens.split import Split, held_out_rows, split_and_encode
from recommender.stars.fusion import embed_movies, embed_profiles
from recommender.stars.fusion_training import FusionConfig, train_fusion
from recommender.stars.posterior import PosteriorConfig, PosteriorMean, sample_posterior
from recommender.stars.predict import predict_ratings

VALIDATION_SHARE = 0.1
POSTERIOR_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"num_factors": number} for number in (8, 12, 16, 20, 24)),
    *({"ridge": ridge} for ridge in (0.3, 1.0, 3.0, 10.0, 30.0)),
    *({"num_sweeps": number} for number in (60, 100, 150, 200)),
    *({"burn_in": number} for number in (5, 10, 30)),
    *({"sketch_size": size} for size in (60, 160)),
]
TOWER_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"epochs": number} for number in (1, 2, 3, 5)),
    *({"learning_rate": rate} for rate in (0.003, 0.006, 0.012)),
    *({"batch_size": size} for size in (500, 1000, 2000, 4000, 8000)),
    *({"final_learning_rate": share} for share in (0.01, 0.3)),
    *({"l2": l2} for l2 in (1e-5, 1e-4)),
    *({"ema_alpha": alpha} for alpha in (0.003, 0.03)),
    {"targets": "ratings"},
]


def validation_split(data_dir: Path) -> Split:
    """Returns the training rows of the default split, of which a tenth are for choosing settings."""
    data = read_movielens(data_dir)
    train = data.ratings[~held_out_rows(len(data.ratings))].reset_index(drop=True)
    is_validation = np.random.default_rng(0).random(len(train)) < VALIDATION_SHARE
    return split_and_encode(data._replace(ratings=train), is_validation)


def evaluate_posterior(split: Split, settings: dict[str, Any]) -> float:
    """Returns the validation RMSE of the posterior mean."""
    return posterior_rmse(split, fit_posterior(split, settings))


def fit_posterior(split: Split, settings: dict[str, Any]) -> PosteriorMean:
    """Samples the posterior mean with some settings changed."""
    return sample_posterior(split.train, PosteriorConfig.for_ratings(len(split.train.ratings.rating), **settings))


def posterior_rmse(split: Split, posterior: PosteriorMean) -> float:
    """Returns the validation RMSE of a posterior mean."""
    return rmse(split, posterior.predict(split.test.profile_row - NUM_DEMOGRAPHIC_PROFILES, split.test.movie_row))


def evaluate_towers(split: Split, settings: dict[str, Any], posterior: PosteriorMean) -> float:
    """Returns the validation RMSE of the towers, trained on a posterior mean that all settings share."""
    config = FusionConfig.for_ratings(len(split.train.ratings.rating), **settings)
    model = train_fusion(split.train, split.vocabularies, config, posterior if config.targets == "posterior" else None)
    users = embed_profiles(model.model.user_tower, split.train.profiles)
    movies = embed_movies(model.model.movie_tower, split.train.movies)
    return rmse(split, predict_ratings(users, movies, split.test.profile_row, split.test.movie_row))


def rmse(split: Split, predicted: np.ndarray) -> float:
    """Returns the RMSE of predictions, within the stars there are."""
    stars = split.train.ratings.rating
    return float(np.sqrt(np.mean((predicted.clip(stars.min(), stars.max()) - split.test.rating) ** 2)))


def main() -> None:
    """Prints the table: RMSE and seconds of processor time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=["posterior", "towers"])
    parser.add_argument("data_dirs", type=Path, nargs="+")
    args = parser.parse_args()
    splits = [validation_split(path) for path in args.data_dirs]
    rows: list[Callable[[dict[str, Any]], float]] = []
    for split in splits:
        if args.subject == "posterior":
            rows.append(lambda settings, split=split: evaluate_posterior(split, settings))
        else:
            mean = fit_posterior(split, {})
            rows.append(lambda settings, split=split, mean=mean: evaluate_towers(split, settings, mean))
    print(f"{args.subject + ', validation RMSE and seconds':<44}" + "".join(f"{p.name:>20}" for p in args.data_dirs))
    for settings in POSTERIOR_SETTINGS if args.subject == "posterior" else TOWER_SETTINGS:
        print(f"{', '.join(f'{name} {value}' for name, value in settings.items()) or 'as it is':<44}", end="")
        for evaluate in rows:
            started = time.process_time()
            value = evaluate(settings)
            print(f"{value:>13.4f}{time.process_time() - started:>6.0f}s", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
