"""Step one: learns what people rate how and what they pick; writes recommender_system.inference.model/."""

if __name__ == "__main__":
    from recommender.cli.process import start

    start()

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recommender.cli.arguments import MODEL_FOLDER, MOVIES_ORIGIN, Places, create_parser, number, path, run
from recommender.cli.process import finish
from recommender.data.dataset import Split, split_and_encode
from recommender.data.download import ensure_movielens
from recommender.data.features import sort_ratings
from recommender.data.movielens import DEFAULT_DATA_DIR, format_movies, held_out_rows, read_movielens
from recommender.errors import Step
from recommender.evaluation.metrics import (
    LIKED_FROM,
    baseline_predictions,
    judge_rankings,
    predict_scores,
    rating_metrics,
)
from recommender.files import FileError, check_writable, read_bytes, written_whole
from recommender.inference.fold_in import fit_deviations
from recommender.inference.model_folder import Arrays, ModelData, ModelError, check_output, load_model, save_model
from recommender.inference.recommend import WEIGHTS
from recommender.inference.user_vectors import Taste
from recommender.training.curve import plot_training_curve
from recommender.training.taste import TasteConfig, embed_tastes, train_taste
from recommender.training.two_tower import (
    Epoch,
    TrainConfig,
    Trained,
    TrainingError,
    embed_movies,
    embed_people,
    set_device,
    train_model,
    wait_for_all,
)

Table = dict[str, tuple[float, float]]
"""Two figures a row."""
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
    defaults = TrainConfig()
    add = parser.add_argument
    add("--data-dir", type=path, default=DEFAULT_DATA_DIR, help="with users.dat, movies.dat, ratings.dat; or ml-1m.zip")
    add("--output", type=path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    add("--movies-origin", type=path, default=MOVIES_ORIGIN, metavar="FILE", help="movies.dat for step two, in UTF-8")
    add("--epochs", "--num_epochs", type=number(int, 1), default=defaults.epochs, help="at most (default: %(default)s)")
    add("--batch-size", type=number(int, 1), default=defaults.batch_size, help="most ratings a step")
    add("--learning-rate", type=number(float, 1e-6, 10), default=defaults.learning_rate, help="(default: %(default)s)")
    add("--seed", type=number(int, 0), default=defaults.seed, help="same seed, same model (default: %(default)s)")
    add("--device", choices=["cpu", "gpu"], default="cpu", help="where to train (default: %(default)s)")
    add("--use_gpu", type=int, choices=[0, 1], help="the original's name: 1 means --device gpu")
    args = parser.parse_args(argv)
    if args.use_gpu:
        args.device = "gpu"
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
    taste = train_taste(split.train, split.vocabularies, TasteConfig(seed=args.seed))
    user_vectors = embed_people(trained.model.user_tower, split.train.people)
    movie_vectors = embed_movies(trained.model.movie_tower, split.train.movies)
    rating_table = judge_ratings(split, user_vectors, movie_vectors)
    print_table("test rows, in stars", ("RMSE", "MAE"), rating_table)
    ranking_table = judge_picks(split, user_vectors, movie_vectors, taste)
    print_table("test rows with 4 or 5 stars", ("NDCG@10", "recall@10"), ranking_table)
    arrays = Arrays(
        split.user_ids,
        np.array(split.vocabularies.movies.tokens),
        split.train.people,
        user_vectors,
        *sort_ratings(data.ratings, held_out, split.user_ids),
        *fit_deviations(user_vectors, split.train.people),
        *taste,
    )
    with written_whole(args.movies_origin) as file:
        file.write(movies_origin)
    model_data = ModelData(split.vocabularies, movies_origin.encode(), arrays)
    curve = plot_training_curve(trained.epochs)
    about = facts(trained, config, rating_table, ranking_table)
    fingerprint = save_model(args.output, trained.model, model_data, curve, about)
    print(f"\nModel {fingerprint} written to {args.output}/")
    if rating_table["this model"][0] >= rating_table["movie mean"][0]:
        print("warning: it is no better than the mean of each movie; train it for longer", file=sys.stderr)
    print(f"Next: {args.places.command(Step.ENCODE)}")


def check_movies_origin(args: argparse.Namespace, content: bytes) -> None:
    """Makes sure, before training, that no movies of somebody's own would be overwritten.

    Raises:
        FileError: The file cannot be written, or holds what neither this training nor the last one wrote to it.
    """
    file = args.movies_origin
    check_writable(file)
    if not file.is_file():
        return
    known = [content]
    with contextlib.suppress(ModelError):
        known.append(load_model(args.output).movies_origin)
    if read_bytes(file) not in known:
        problem = f"{file}: it holds other movies than {args.data_dir}, or was edited, and would be overwritten"
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


def judge_ratings(split: Split, user_vectors: np.ndarray, movie_vectors: np.ndarray) -> Table:
    """Judges the predicted ratings, and simpler ones, on the test rows: RMSE and MAE."""
    test = split.test
    predictions = {
        **baseline_predictions(split.train.ratings, test),
        "this model": predict_scores(user_vectors, movie_vectors, test.person_row, test.movie_row),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def judge_picks(split: Split, user_vectors: np.ndarray, movie_vectors: np.ndarray, taste: Taste) -> Table:
    """Judges how high what people liked is among all movies that they did not rate in training: NDCG and recall."""
    train, num_movies = split.train, len(movie_vectors)
    tastes = embed_tastes(train, split.vocabularies, taste)
    targets = taste.target_of(train.movies, split.vocabularies)
    liked = train.ratings.movie_row[train.ratings.rating >= LIKED_FROM]
    popularity = np.bincount(liked, minlength=num_movies)

    def by(order: str) -> Callable[[np.ndarray], np.ndarray]:
        stars_weight, taste_weight = WEIGHTS[order]
        return lambda rows: (
            stars_weight * user_vectors[rows] @ movie_vectors.T + taste_weight * tastes[rows] @ targets.T
        )

    rankings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "most popular": lambda rows: np.broadcast_to(popularity, (len(rows), num_movies)),
        "this model by stars": by("stars"),
        "this model by picks": by("picks"),
        "this model by both": by("both"),
    }
    judged = judge_rankings(rankings, train.ratings, split.test, num_movies)
    return {name: (metrics.ndcg, metrics.recall) for name, metrics in judged.items()}


def print_table(title: str, columns: Sequence[str], table: Table) -> None:
    """Prints a table of two figures a row."""
    print(f"\n{title:<28}" + "".join(f"{column:>10}" for column in columns))
    for name, figures in table.items():
        print(f"{name:<28}" + "".join(f"{figure:>10.4f}" for figure in figures))


def facts(trained: Trained, config: TrainConfig, ratings: Table, rankings: Table) -> dict[str, Any]:
    """Returns what the manifest says of a training."""
    rmse, mae = ratings["this model"]
    picks = {name.removeprefix("this model by "): figures for name, figures in rankings.items()}
    return {
        "config": dataclasses.asdict(config),
        "taste_config": dataclasses.asdict(TasteConfig(seed=config.seed)),
        "metrics": {
            "test_rmse": rmse,
            "test_mae": mae,
            "test_baselines": {name: {"rmse": one[0], "mae": one[1]} for name, one in ratings.items()},
            "test_ndcg": {name: ndcg for name, (ndcg, _) in picks.items()},
            "test_recall": {name: recall for name, (_, recall) in picks.items()},
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
