"""Step one: trains the fusion model and the taste model; writes recommender_system.inference.model/."""

if __name__ == "__main__":
    from recommender.cli.process import prepare_process

    prepare_process()

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recommender.cli.arguments import (
    LITE_URI,
    MODEL_FOLDER,
    MOVIES_ORIGIN,
    PipelinePaths,
    create_parser,
    number_arg,
    path_arg,
    refuse_overwriting,
)
from recommender.cli.process import run_and_report, run_main
from recommender.errors import RecommenderError, Step
from recommender.evaluation.evaluate import evaluate_model_rankings, evaluate_ratings
from recommender.evaluation.metrics import RankingMetrics, RatingMetrics
from recommender.files import FileError, check_writable, read_bytes
from recommender.movielens.catalogue import MovieLens, format_movies
from recommender.movielens.download import RELEASES, ensure_downloaded
from recommender.movielens.releases import DEFAULT_DATA_DIR, read_movielens
from recommender.movielens.split import Split, group_ratings_by_user, held_out_rows, split_and_encode
from recommender.picks.taste_training import TasteConfig, taste_vectors, train_taste
from recommender.save import ModelData, ServingArrays, check_output, save_model
from recommender.stars.fusion import embed_movies, embed_profiles, save_towers
from recommender.stars.fusion_training import (
    FusionConfig,
    TrainResult,
    barrier,
    init_device,
    plot_training_curve,
    train_fusion,
)
from recommender.stars.paddle_setup import paddle
from recommender.stars.predict import fit_user_prior
from recommender.store import saved_catalogues


def _releases() -> str:
    lines = [f"  {'release':<16}{'movies':>8}{'to':>6}{'ratings':>12}{'MB':>6}"]
    for name, release in RELEASES.items():
        ratings = f"{release.num_ratings:,}"
        lines.append(f"  {name:<16}{release.num_movies:>8,}{release.last_year:>6}{ratings:>12}{release.megabytes:>6}")
    return "\n".join(lines)


EXAMPLES = f"""\
examples:
  python train.py                                  ml-1m, downloaded to data/ml-1m if it is not there
  python train.py --data-dir data/ml-latest-small  films to 2018; the release is downloaded if it is not there
  python train.py --data-dir ~/ml-1m.zip --epochs 4 --output quick.model
  python train.py --data-dir data/sample --output sample.model --movies-origin sample.txt
                                                   the small, invented data set that comes with the project
  python -m paddle.distributed.launch --nproc_per_node 2 train.py
                                                   several processes, each with a share of every batch

MovieLens releases, recognized by their files, in a folder or as a zip:
{_releases()}
Only ml-100k and ml-1m have age, gender and job of the users; with others, infer_milvus.py refuses -a, -g and -j.

environment: OMP_NUM_THREADS sets the number of threads, 1 by default; more are slower on some machines.

next: python get_movies_data.py -f movies_origin.txt"""


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """The command line of train.py."""

    data_dir: Path
    output: Path
    movies_origin: Path
    settings: dict[str, Any]
    """Fields of `FusionConfig` that are set in place of its rules."""
    device: str

    @property
    def paths(self) -> PipelinePaths:
        """The paths that later steps need."""
        return PipelinePaths(model=self.output, movies_origin=self.movies_origin)


def parse_args(argv: list[str] | None) -> TrainOptions:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    data_dir = "folder or zip of a release; downloaded if missing (default: %(default)s)"
    add("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR, help=data_dir)
    add("--output", type=path_arg, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    origin = "catalogue for step two (default: %(default)s)"
    add("--movies-origin", type=path_arg, default=MOVIES_ORIGIN, metavar="FILE", help=origin)
    targets = "what the towers learn: the posterior mean, or the ratings as in the original (default: %(default)s)"
    add("--targets", choices=["posterior", "ratings"], default="posterior", help=targets)
    epochs = "passes over the ratings (default: by their number)"
    add("--epochs", "--num_epochs", type=number_arg(int, 1), help=epochs)
    batch_size = "ratings per step (default: by their number, 8,120 for ml-1m)"
    add("--batch-size", type=number_arg(int, 1), help=batch_size)
    learning_rate = "of Adam at first (default: by the number of ratings, 0.006 for ml-1m)"
    add("--learning-rate", type=number_arg(float, 1e-6, 10), help=learning_rate)
    add("--seed", type=number_arg(int, 0), default=0, help="same seed, same model (default: %(default)s)")
    add("--device", choices=["cpu", "gpu"], default="cpu", help="(default: %(default)s)")
    add("--use_gpu", type=int, choices=[0, 1], help="the original's option: 1 means --device gpu")
    args = parser.parse_args(argv)
    refuse_overwriting(parser, args.output, [Path(LITE_URI)])
    refuse_overwriting(parser, args.movies_origin, [args.output, Path(LITE_URI)], "--movies-origin")
    names = ("targets", "epochs", "batch_size", "learning_rate", "seed")
    settings = {name: vars(args)[name] for name in names if vars(args)[name] is not None}
    device = "gpu" if args.use_gpu else args.device
    return TrainOptions(args.data_dir, args.output, args.movies_origin, settings, device)


def train(options: TrainOptions) -> None:
    """Reads, trains, evaluates and saves."""
    rank = init_device(options.device)
    if rank == 0:
        check_output(options.output)
        ensure_downloaded(options.data_dir)
    barrier()
    data = read_movielens(options.data_dir)
    catalogue = format_movies(data.movies).encode()
    if rank == 0:
        check_movies_origin(options, catalogue)
    held_out = held_out_rows(len(data.ratings))
    split = split_and_encode(data, held_out)
    if len(split.test.rating) == 0:
        raise RecommenderError("too few ratings: none falls to the test; train on at least some hundreds")
    config = FusionConfig.for_ratings(len(split.train.ratings.rating), **options.settings)
    print_plan(split, config)
    result = train_fusion(split.train, split.vocabularies, config)
    if rank == 0:
        finish_model(options, config, data, held_out, split, result)


def finish_model(
    options: TrainOptions,
    config: FusionConfig,
    data: MovieLens,
    held_out: np.ndarray,
    split: Split,
    result: TrainResult,
) -> None:
    """Trains the taste model, evaluates both models and saves them."""
    taste_config = TasteConfig(seed=config.seed)
    taste = train_taste(split.train, split.vocabularies, taste_config)
    profile_vectors = embed_profiles(result.model.user_tower, split.train.profiles)
    movie_vectors = embed_movies(result.model.movie_tower, split.train.movies)
    movie_tastes = taste.outputs.lookup(split.train.movies, split.vocabularies.genres.size)
    profile_tastes = taste_vectors(split.train, split.vocabularies, taste)
    ratings = evaluate_ratings(split, profile_vectors, movie_vectors)
    rankings = evaluate_model_rankings(split, (profile_vectors, profile_tastes), (movie_vectors, movie_tastes))
    print_table("test rows, in stars; lower is better", ("RMSE", "MAE"), ratings)
    shown = {name: (metrics.ndcg, metrics.recall) for name, metrics in rankings.items()}
    print_table("test rows of 4 or 5 stars; higher is better", ("NDCG@10", "recall@10"), shown)
    arrays = ServingArrays(
        split.user_ids,
        split.train.profiles,
        profile_vectors,
        group_ratings_by_user(data.ratings, held_out, split.user_ids),
        fit_user_prior(profile_vectors, split.train.profiles),
        taste,
    )
    model_data = ModelData(split.vocabularies, format_movies(data.movies).encode(), arrays, plot_training_curve(result))
    metadata = {
        "notice": data.notice,
        "data": {
            "has_demographics": data.has_demographics,
            "has_links": data.has_links,
            "min_rating": min(1.0, float(data.ratings.rating.min())),
        },
        "config": dataclasses.asdict(config),
        "taste_config": dataclasses.asdict(taste_config),
        "metrics": to_metadata(ratings, rankings),
        "libraries": {"paddle": paddle.__version__, "numpy": np.__version__},
    }
    towers = partial(save_towers, model=result.model)
    fingerprint = save_model(options.output, model_data, towers, metadata, options.movies_origin)
    print(f"\nModel {fingerprint} written to {options.output}/")
    if ratings["this model"].rmse >= ratings["movie mean"].rmse:
        print("warning: it is no better than the mean of each movie; train it for longer", file=sys.stderr)
    print(f"Next: {options.paths.command(Step.ENCODE)}")


def check_movies_origin(options: TrainOptions, catalogue: bytes) -> None:
    """Raises, before training, where an edited catalogue would be overwritten.

    Raises:
        FileError: The file cannot be written, or holds what no training into this model folder wrote.
    """
    file = options.movies_origin
    check_writable(file)
    if file.is_file() and read_bytes(file) not in (catalogue, *saved_catalogues(options.output)):
        problem = f"{file}: it holds other movies than {options.data_dir}, or was edited, and would be overwritten"
        raise FileError(f"{problem}; write to another file: --movies-origin FILE, or move it away")


def print_plan(split: Split, config: FusionConfig) -> None:
    """Prints how many ratings are for training and for the test."""
    rows = f"{len(split.train.ratings.rating):,}; test: {len(split.test.rating):,}"
    print(f"ratings for training: {rows}; batch size {config.batch_size:,}")


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Prints a table of two figures per row."""
    print(f"\n{title:<46}" + "".join(f"{column:>10}" for column in columns))
    for name, values in rows.items():
        print(f"{name:<46}" + "".join(f"{value:>10.4f}" for value in values))


def to_metadata(ratings: Mapping[str, RatingMetrics], rankings: Mapping[str, RankingMetrics]) -> dict[str, Any]:
    """Returns the metrics for the manifest."""
    return {
        "test_rmse": ratings["this model"].rmse,
        "test_mae": ratings["this model"].mae,
        "test_baselines": {name: metrics._asdict() for name, metrics in ratings.items()},
        "test_ndcg": {name: metrics.ndcg for name, metrics in rankings.items()},
        "test_recall": {name: metrics.recall for name, metrics in rankings.items()},
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse_args(argv)
    return run_and_report(lambda: train(options), options.paths.command)


if __name__ == "__main__":
    run_main(main)
