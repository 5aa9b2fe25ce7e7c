"""Step one: trains the fusion model on MovieLens and writes recommender_system.inference.model/."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

import numpy as np

from recommender.checkpoint import MODEL_FOLDER, RATING, check_output, save_model
from recommender.command import create_parser, number, run
from recommender.evaluation import baseline_predictions, predict_scores, rating_metrics
from recommender.features import NUM_ANONYMOUS
from recommender.movielens import (
    DEFAULT_DATA_DIR,
    Movie,
    MovieLens,
    download_movielens,
    has_movielens,
    held_out_rows,
    read_movielens,
    written_whole,
)
from recommender.training import (
    Epoch,
    TrainConfig,
    TrainingError,
    embed_movies,
    embed_people,
    plot_training_curve,
    set_device,
    split_and_encode,
    train_model,
)

MOVIES_ORIGIN = Path("movies_origin.txt")

EXAMPLES = """\
examples:
  python train.py                                  ml-1m, downloaded to data/ml-1m if it is not there
  python train.py --data-dir data/sample           the small, invented data set that comes with the project
  python train.py --data-dir ~/ml-1m.zip --epochs 4 --output quick.model
  python -m paddle.distributed.launch --nproc_per_node 2 train.py     several processes, each with a share of a batch

next: python get_movies_data.py -f movies_origin.txt"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=DEFAULT_DATA_DIR,
        help="folder with users.dat, movies.dat and ratings.dat, or ml-1m.zip (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    defaults = TrainConfig()
    parser.add_argument(
        "--epochs",
        "--num_epochs",
        type=number(int, 1),
        default=defaults.epochs,
        help="most passes over the ratings (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=number(int, 1),
        default=defaults.batch_size,
        help="ratings a step; less on small data (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=number(float, 1e-6, 10),
        default=defaults.learning_rate,
        help="Adam's, at the start (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=number(int, 0), default=defaults.seed, help="same seed, same model (default: %(default)s)"
    )
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="where to train (default: %(default)s)")
    parser.add_argument("--use_gpu", type=int, choices=[0, 1], help="the original's name: 1 means --device gpu")
    args = parser.parse_args(argv)
    if args.use_gpu:
        args.device = "gpu"
    args.data_dir, args.output = args.data_dir.expanduser(), args.output.expanduser()
    return args


def train(args: argparse.Namespace) -> None:
    """Reads, trains, evaluates and saves."""
    rank = set_device(args.device)
    if rank == 0:
        check_output(args.output)
    data = _read(args.data_dir, download=rank == 0)
    held_out = held_out_rows(len(data.ratings))
    dataset, test, vocabularies = split_and_encode(data, held_out)
    if len(test.rating) == 0:
        raise TrainingError("too few ratings: none falls to the test; train on at least some hundreds")
    print(f"Training on {len(dataset.ratings.rating):,} ratings; {len(test.rating):,} are held out as the test.")

    config = TrainConfig(args.epochs, args.batch_size, args.learning_rate, seed=args.seed)

    def report(epoch: Epoch) -> None:
        rmse, mae = epoch.validation
        print(
            f"epoch {epoch.number}: train loss {epoch.train_loss:.4f}, validation RMSE {rmse:.4f}, MAE {mae:.4f} stars",
            flush=True,
        )

    result = train_model(dataset, vocabularies, config, report)
    if rank > 0:
        return
    if result.interrupted:
        print(f"Interrupted: going on with the model of epoch {result.best.number}.")

    user_vectors = embed_people(result.model.user_tower, dataset.people)
    movie_vectors = embed_movies(result.model.movie_tower, dataset.movies)
    scores = predict_scores(user_vectors, movie_vectors, test.user_row + NUM_ANONYMOUS, test.movie_row)
    predictions = {**baseline_predictions(dataset.ratings, test), "this model": scores}
    table = {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}
    print(f"\n{'test rows, in stars':<20}{'RMSE':>8}{'MAE':>8}")
    for name, (rmse, mae) in table.items():
        print(f"{name:<20}{rmse:>8.4f}{mae:>8.4f}")

    rmse, mae = table.pop("this model")
    fingerprint = save_model(
        args.output,
        result.model,
        vocabularies,
        dataset.people,
        user_vectors,
        np.rec.fromarrays([*data.ratings.to_numpy().T, held_out], RATING),
        lambda path: plot_training_curve(result.epochs, path),
        config=dataclasses.asdict(config),
        metrics={
            "test_rmse": rmse,
            "test_mae": mae,
            "test_baselines": {name: metrics._asdict() for name, metrics in table.items()},
            "best_epoch": result.best.number,
            "validation_rmse": result.best.validation.rmse,
            "validation_mae": result.best.validation.mae,
        },
    )
    write_movies_origin(data.movies)
    print(f"\nModel {fingerprint} written to {args.output}/")
    if rmse >= table["movie mean"].rmse:
        print("warning: it is no better than the mean of each movie; train it for longer", file=sys.stderr)
    model = "" if args.output == MODEL_FOLDER else f" --model {shlex.quote(str(args.output))}"
    print(f"Next: python get_movies_data.py -f {MOVIES_ORIGIN}{model}")


def _read(data_dir: Path, download: bool) -> MovieLens:
    if download and data_dir == DEFAULT_DATA_DIR and not has_movielens(data_dir):
        download_movielens(data_dir)
    return read_movielens(data_dir)


def write_movies_origin(movies: list[Movie]) -> None:
    """Writes movies_origin.txt: movies.dat in UTF-8, whole or not at all."""
    with written_whole(MOVIES_ORIGIN) as file:
        file.writelines(f"{movie.movie_id}::{movie.title}::{'|'.join(movie.genres)}\n" for movie in movies)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: train(args))


if __name__ == "__main__":
    sys.exit(main())
