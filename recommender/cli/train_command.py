"""Step one: trains the fusion model (stars) and the taste model (picks) on MovieLens."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recommender.cli.options import Parser, path_arg
from recommender.errors import RecommenderError, Step
from recommender.evaluation import evaluate_model_rankings, evaluate_ratings
from recommender.files import FileError, atomic_write
from recommender.movielens.catalogue import format_movies
from recommender.movielens.releases import DEFAULT_DATA_DIR, ensure_downloaded, read_movielens
from recommender.movielens.split import Split, group_ratings_by_user, held_out_rows, split_and_encode
from recommender.picks.closed_form import TasteConfig
from recommender.picks.taste import TasteParameters
from recommender.picks.taste_training import taste_vectors, train_taste
from recommender.stars.fusion import embed_movies, embed_profiles, save_towers
from recommender.stars.fusion_training import FusionConfig, barrier, init_device, plot_training_curve, train_fusion
from recommender.stars.predict import fit_user_prior, predict_ratings
from recommender.store import CATALOGUE, CURVE, Facts, check_output, save_model

LIMITS = {"epochs": (1, 10_000), "batch_size": (1, 10**9), "learning_rate": (1e-9, 10), "seed": (0, 2**31 - 1)}
"""Lowest and highest values of options."""


EXAMPLES = """\
examples:
  python train.py                                  ml-1m, downloaded to data/ml-1m if it is not there
  python train.py --workdir small --data-dir data/ml-latest-small
                                                   films to 2018, in a folder of their own
  python train.py --workdir quick --targets ratings
                                                   as the original: the towers learn the ratings themselves
  python train.py --workdir sample --data-dir data/sample
                                                   the small, invented data set that comes with the project
  python -m paddle.distributed.launch --nproc_per_node 2 train.py
                                                   several processes, each with a share of every batch

MovieLens releases, a folder or a zip, recognized by their files: ml-100k (films to 1998), ml-1m (2000), ml-10m (2008),
ml-20m (2015), ml-25m (2019), ml-32m (2023), ml-latest-small (2018), ml-latest (2023). Only ml-100k and ml-1m have age,
gender and job of the users; with others, infer_milvus.py refuses -a, -g and -j.

environment: OMP_NUM_THREADS sets the number of threads, 1 by default; more are slower on some machines."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = Parser(__doc__, EXAMPLES)
    add = parser.add_argument
    data_dir = "folder or zip of a release; downloaded if missing (default: %(default)s)"
    add("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR, metavar="PATH", help=data_dir)
    targets = "what the towers learn: posterior means or, as in the original, the ratings (default: %(default)s)"
    add("--targets", choices=["posterior", "ratings"], default="posterior", help=targets)
    add("--epochs", "--num_epochs", type=int, help="of the towers (default: by targets and number of ratings)")
    add("--batch-size", type=int, help="ratings per step (default: by their number)")
    rate = "of Adam at first (default: 0.006, more on small data with --targets ratings)"
    add("--learning-rate", type=float, help=rate)
    add("--seed", type=int, default=0, help="same seed, same model (default: %(default)s)")
    add("--device", choices=["cpu", "gpu"], default="cpu", help="(default: %(default)s)")
    add("--use_gpu", type=int, choices=[0, 1], help="the original's option: 1 means --device gpu")
    options = parser.parse(argv)
    for name, (lowest, highest) in LIMITS.items():
        value = getattr(options, name)
        if value is not None and not lowest <= value <= highest:
            parser.error(f"--{name.replace('_', '-')}: it must be from {lowest:,} to {highest:,}")
    return options


def execute(options: argparse.Namespace) -> None:
    """Reads the data, trains both models, evaluates and saves them."""
    workdir = options.workdir
    rank = init_device("gpu" if options.use_gpu else options.device)
    if rank == 0:
        check_output(workdir.model)
        ensure_downloaded(options.data_dir)
    barrier()
    data = read_movielens(options.data_dir)
    catalogue = format_movies(data.movies).encode()
    if rank == 0:
        check_movies_origin(workdir.movies_origin, workdir.model, catalogue, options.data_dir)
    held_out = held_out_rows(len(data.ratings))
    split = split_and_encode(data, held_out)
    num_train, num_test = len(split.train.ratings.rating), len(split.test.rating)
    if num_test == 0:
        raise RecommenderError("too few ratings: none falls to the test; train on at least some hundreds")

    given = {name: getattr(options, name) for name in LIMITS if getattr(options, name) is not None}
    config = FusionConfig.for_ratings(num_train, targets=options.targets, **given)
    print(f"ratings for training: {num_train:,}; test: {num_test:,}; batch size {config.batch_size:,}", flush=True)
    model, losses = train_fusion(split.train, split.vocabularies, config)
    if rank > 0:
        return
    taste_config = TasteConfig(seed=config.seed)
    taste = train_taste(split.train, split.vocabularies, taste_config)
    profile_vectors = embed_profiles(model.user_tower, split.train.profiles)
    movie_vectors = embed_movies(model.movie_tower, split.train.movies)
    lowest = min(1.0, float(data.ratings.rating.min()))
    facts = Facts(data.has_demographics, data.has_links, lowest, 5.0, data.notice)
    metrics = evaluate(split, profile_vectors, movie_vectors, taste, facts)

    check_movies_origin(workdir.movies_origin, workdir.model, catalogue, options.data_dir)  # It may be edited by now.
    arrays = to_arrays(split, profile_vectors, taste)
    arrays["ratings"], arrays["ratings_indptr"] = group_ratings_by_user(data.ratings, held_out, split.user_ids)
    metadata = {
        "data": facts._asdict(),
        "data_dir": str(options.data_dir),
        "config": dataclasses.asdict(config),
        "taste_config": dataclasses.asdict(taste_config),
        "metrics": metrics,
    }
    files = {CATALOGUE: catalogue, CURVE: plot_training_curve(losses)}
    towers = partial(save_towers, model=model)
    fingerprint = save_model(workdir.model, arrays, split.vocabularies, files, towers, metadata)
    with atomic_write(workdir.movies_origin) as file:
        file.write(catalogue.decode())
    print(f"\nModel {fingerprint} written to {workdir.model}/\nNext: {workdir.command(Step.ENCODE)}")


def evaluate(
    split: Split, profile_vectors: np.ndarray, movie_vectors: np.ndarray, taste: TasteParameters, facts: Facts
) -> dict[str, Any]:
    """Evaluates both models on the test rows, prints tables, and returns the metrics for the manifest."""
    predicted = predict_ratings(profile_vectors, movie_vectors, split.test.profile_row, split.test.movie_row)
    ratings = evaluate_ratings(split, predicted.clip(facts.min_rating, facts.max_rating))
    profile_tastes = taste_vectors(split.train, split.vocabularies, taste)
    movie_tastes = taste.outputs.lookup(split.train.movies, split.vocabularies.genres.size)
    rankings = evaluate_model_rankings(split, (profile_vectors, profile_tastes), (movie_vectors, movie_tastes))
    print_table("test rows, in stars; lower is better", ("RMSE", "MAE"), ratings)
    print_table("test rows of 4 or 5 stars; higher is better", ("NDCG@10", "recall@10"), rankings)
    if ratings["this model"].rmse >= ratings["movie mean"].rmse:
        print("warning: it is no better than the mean of each movie; train it for longer", file=sys.stderr)
    return {
        "test_rmse": ratings["this model"].rmse,
        "test_mae": ratings["this model"].mae,
        "test_baselines": {name: metrics._asdict() for name, metrics in ratings.items()},
        "test_ndcg": {name: metrics.ndcg for name, metrics in rankings.items()},
    }


def to_arrays(split: Split, profile_vectors: np.ndarray, taste: TasteParameters) -> dict[str, np.ndarray]:
    """Returns the arrays of a model folder by name, except the ratings."""
    prior = fit_user_prior(profile_vectors, split.train.profiles)
    return {
        "user_ids": split.user_ids,
        "profiles": split.train.profiles,
        "profile_vectors": profile_vectors,
        "prior_covariance": prior.covariance,
        **{f"taste_inputs_{part}": array for part, array in taste.inputs._asdict().items()},
        **{f"taste_outputs_{part}": array for part, array in taste.outputs._asdict().items()},
        "taste_demographics": taste.demographics,
        "taste_variances": taste.variances,
    }


def check_movies_origin(file: Path, model_folder: Path, catalogue: bytes, data_dir: Path) -> None:
    """Raises where an edited catalogue would be overwritten.

    Raises:
        FileError: The file holds what no training in this folder wrote.
    """
    written = model_folder / CATALOGUE
    if file.is_file() and file.read_bytes() not in (catalogue, written.read_bytes() if written.is_file() else b""):
        problem = f"{file}: it holds other movies than {data_dir}, or was edited, and would be overwritten"
        raise FileError(f"{problem}; move it away, or train in another folder: --workdir DIR")


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Prints a table of two figures per row."""
    print(f"\n{title:<46}" + "".join(f"{column:>10}" for column in columns))
    for name, values in rows.items():
        print(f"{name:<46}" + "".join(f"{value:>10.4f}" for value in values))
