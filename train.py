"""Step one: trains the fusion model on MovieLens and writes recommender_system.inference.model/."""

if __name__ == "__main__":
    from recommender.process import start

    start()

import argparse
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from recommender import Step
from recommender.checkpoint import ModelData, ModelError, check_output, load_model, save_model, sort_ratings
from recommender.command import MODEL_FOLDER, MOVIES_ORIGIN, Places, create_parser, number, run
from recommender.download import ensure_movielens
from recommender.evaluation import RatingMetrics, baseline_predictions, predict_scores, rating_metrics
from recommender.files import FileError, check_writable, read_bytes, written_whole
from recommender.model import FusionModel
from recommender.movielens import DEFAULT_DATA_DIR, format_movies, held_out_rows, read_movielens
from recommender.process import finish
from recommender.training import (
    Epoch,
    Split,
    TrainConfig,
    Trained,
    TrainingError,
    embed_movies,
    embed_people,
    plot_training_curve,
    set_device,
    split_and_encode,
    train_model,
    wait_for_all,
)

EXAMPLES = """\
examples:
  python train.py                                  ml-1m, downloaded to data/ml-1m if it is not there
  python train.py --data-dir ~/ml-1m.zip --epochs 4 --output quick.model
  python train.py --data-dir data/sample --output sample.model --movies-origin sample.txt
                                                   the small, invented data set that comes with the project
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
    parser.add_argument(
        "--movies-origin",
        type=Path,
        default=MOVIES_ORIGIN,
        metavar="FILE",
        help="where to write movies.dat in UTF-8 for step two (default: %(default)s)",
    )
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
    for name in ("data_dir", "output", "movies_origin"):
        setattr(args, name, getattr(args, name).expanduser())
    args.places = Places(model=args.output, movies_origin=args.movies_origin)
    return args


def train(args: argparse.Namespace) -> None:
    """Reads, trains, evaluates and saves."""
    rank = set_device(args.device)
    if rank == 0:
        check_output(args.output)
        if args.data_dir == DEFAULT_DATA_DIR:
            ensure_movielens()
    wait_for_all()
    data = read_movielens(args.data_dir)
    movies_origin = format_movies(data.movies)
    if rank == 0:
        check_movies_origin(args, movies_origin.encode())
    held_out = held_out_rows(len(data.ratings))
    split = split_and_encode(data, held_out)
    if len(split.test.rating) == 0:
        raise TrainingError("too few ratings: none falls to the test; train on at least some hundreds")
    num_ratings = len(split.train.ratings.rating)
    config = TrainConfig(args.epochs, args.batch_size, args.learning_rate, seed=args.seed).fit(num_ratings)
    print_plan(num_ratings, config, len(split.test.rating))
    trained = train_model(split.train, split.vocabularies, config, print_epoch)
    if rank > 0:
        return
    print_ending(trained, config)
    user_vectors = embed_people(trained.model.user_tower, split.train.people)
    metrics = evaluate(split, trained.model, user_vectors)
    print_metrics(metrics)
    model_data = ModelData(
        split.vocabularies,
        movies_origin.encode(),
        split.user_ids,
        split.train.people,
        user_vectors,
        *sort_ratings(data.ratings, held_out, split.user_ids),
    )
    with written_whole(args.movies_origin) as file:
        file.write(movies_origin)
    curve = plot_training_curve(trained.epochs)
    fingerprint = save_model(args.output, trained.model, model_data, curve, facts(trained, config, metrics))
    print(f"\nModel {fingerprint} written to {args.output}/")
    if metrics["this model"].rmse >= metrics["movie mean"].rmse:
        print("warning: it is no better than the mean of each movie; train it for longer", file=sys.stderr)
    print(f"Next: {args.places.command(Step.ENCODE)}")


def check_movies_origin(args: argparse.Namespace, content: bytes) -> None:
    """Makes sure, before training, that no movies of somebody's own would be overwritten.

    Raises:
        FileError: The file cannot be written, or holds what neither this training nor the last one wrote to it.
    """
    path = args.movies_origin
    check_writable(path)
    if not path.is_file():
        return
    known = [content]
    with contextlib.suppress(ModelError):
        known.append(load_model(args.output).data.movies_origin)
    if read_bytes(path) not in known:
        problem = f"{path}: it holds other movies than {args.data_dir}, or was edited, and would be overwritten"
        raise FileError(f"{problem}; write to another file: --movies-origin FILE, or move it away")


def print_plan(num_ratings: int, config: TrainConfig, num_test: int) -> None:
    """Says which ratings are for what."""
    num_validation = config.num_validation(num_ratings)
    teach = f"{num_ratings - num_validation:,} ratings teach, in batches of {config.batch_size:,}"
    print(f"{teach}; {num_validation:,} choose the best epoch; {num_test:,} are held out as the test.")


def print_ending(trained: Trained, config: TrainConfig) -> None:
    """Says which epoch is kept, and why there are no more."""
    count = len(trained.epochs)
    why = "as many as asked for" if count == config.epochs else f"the last {config.patience} brought nothing better"
    print(f"Kept: epoch {trained.best.number} of {count}, {why}.")


def print_epoch(epoch: Epoch) -> None:
    """Prints a line of the training log."""
    rmse, mae = epoch.validation
    losses = f"train loss {epoch.train_loss:.4f}, validation RMSE {rmse:.4f}, MAE {mae:.4f} stars"
    print(f"epoch {epoch.number}: {losses}", flush=True)


def evaluate(split: Split, model: FusionModel, user_vectors: np.ndarray) -> dict[str, RatingMetrics]:
    """Judges the model, and simpler ones, on the test rows."""
    test = split.test
    movie_vectors = embed_movies(model.movie_tower, split.train.movies)
    predictions = {
        **baseline_predictions(split.train.ratings, test),
        "this model": predict_scores(user_vectors, movie_vectors, test.person_row, test.movie_row),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def print_metrics(metrics: dict[str, RatingMetrics]) -> None:
    """Prints the table of ratings."""
    print(f"\n{'test rows, in stars':<20}{'RMSE':>8}{'MAE':>8}")
    for name, (rmse, mae) in metrics.items():
        print(f"{name:<20}{rmse:>8.4f}{mae:>8.4f}")


def facts(trained: Trained, config: TrainConfig, metrics: dict[str, RatingMetrics]) -> dict[str, Any]:
    """Returns what the manifest says of a training."""
    ours = metrics["this model"]
    return {
        "config": dataclasses.asdict(config),
        "metrics": {
            "test_rmse": ours.rmse,
            "test_mae": ours.mae,
            "test_baselines": {name: metric._asdict() for name, metric in metrics.items() if metric is not ours},
            "best_epoch": trained.best.number,
            "validation_rmse": trained.best.validation.rmse,
            "validation_mae": trained.best.validation.mae,
        },
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: train(args), args.places)


if __name__ == "__main__":
    finish(main)
