"""Chooses the settings of other models on validation rows, and shows what each choice and technique of ours is worth.

    pip install -r requirements-benchmarks.txt
    python benchmarks/tune.py rivals data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py taste data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py stars data/ml-100k data/ml-1m data/ml-latest-small

Test rows are not looked at: a tenth of the training rows are held out, and for new users a tenth of the users, none of
whom is in a split of new users that evaluate.py tests on. `rivals` writes the chosen settings to
benchmarks/settings.json, which compare.py and evaluate.py read. `taste` and `stars`, for our two models, print a row
for each setting that is changed and for each technique that is left out.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from machine import print_machine
from new_users import liked_split
from ours import StarModel, TasteRanker, new_users_validation_split, validation_split
from rankings import ListTest
from rivals import RANKING_RIVALS, RATING_RIVALS, SETTINGS, Rival
from tables import Table

from recommender.cli.arguments import PipelinePaths, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.split import Dataset, Split
from recommender.movielens.releases import MovieLens
from recommender.movielens.releases import read_movielens
from recommender.evaluation.metrics import rating_metrics
from recommender import users as user_vectors
from recommender.stars import fusion as two_tower_model
from recommender.picks import closed_form as edlae_init, taste_training as taste
from recommender.stars import fusion_training as two_tower

NUM_STATED = 3
"""Number of liked movies that new users state."""
NAME_WIDTH = 44


def tune_rivals(name: str, data: MovieLens, names: Sequence[str]) -> None:
    """Chooses the settings of each model and writes them down, one by one."""
    split = validation_split(data)
    test = ListTest.of(split)
    tables = (
        ("NDCG@10", RANKING_RIVALS, split.train, lambda ranking: test.gains(ranking).mean(), max),
        ("RMSE", RATING_RIVALS, split, lambda predicted: rating_metrics(predicted, split.test.rating).rmse, min),
    )
    for metric, rivals, fitted_to, evaluate, best_of in tables:
        columns = {metric: ".4f", "tried": "d", "seconds": ".1f", "settings": ""}
        table = Table(f"{name}: settings of other models, chosen on {len(split.test.rating):,} rows", columns, 32)
        for rival_name, rival in rivals.items():
            if not names or rival_name in names:
                chosen = choose(rival, fitted_to, evaluate, best_of)
                table.add(rival_name, *chosen[1:3], chosen[3], describe(chosen[0]))
                save_settings(name, rival_name, chosen[0])


def choose(
    rival: Rival, fitted_to: Dataset | Split, evaluate: Callable[[Any], float], best_of: Callable[..., Any]
) -> tuple[dict[str, Any], float, int, float]:
    """Returns the best settings of a model, their metric, how many were tried, and the seconds of one fit."""
    tried = []
    for settings in rival.grid:
        started = time.perf_counter()
        fitted = rival.fit(fitted_to, **settings)
        seconds = time.perf_counter() - started
        tried.append((float(evaluate(fitted)), settings, seconds))
    metric, settings, seconds = best_of(tried, key=lambda one: one[0])
    return settings, metric, len(tried), seconds


def describe(settings: dict[str, Any]) -> str:
    """Returns settings in words, without those that are always the same."""
    shown = {name: value for name, value in settings.items() if name not in ("algorithm", "bsl_options", "verbose")}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def save_settings(data_name: str, rival_name: str, settings: dict[str, Any]) -> None:
    """Writes the settings of one model into settings.json."""
    chosen = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
    chosen.setdefault(data_name, {})[rival_name] = settings
    SETTINGS.write_text(json.dumps(chosen, indent=1, sort_keys=True) + "\n")


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of a module for a while."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def random_init(histories: Any, demographics: Any, *_: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns random embeddings in place of `edlae_init`'s."""
    random = np.random.default_rng(0)
    sizes = histories.shape[1] + demographics.shape[1], histories.shape[1]
    inputs, outputs = (random.normal(0, 0.01, (size, 200)).astype(np.float32) for size in sizes)
    return inputs, outputs


class UntiedModel(two_tower_model.FusionModel):
    """The fusion model whose towers start with id weights of their own."""

    def __init__(self, num_users: int, vocabularies: Any) -> None:
        super().__init__(num_users, vocabularies)
        other = two_tower_model.MovieTower(vocabularies.movies.size, vocabularies.genres.size, vocabularies.words.size)
        self.movie_tower.set_state_dict(other.state_dict())


Variant = tuple[dict[str, Any], tuple[Any, str, Any] | None]
"""Settings, and an attribute of a module to replace."""
TASTE_VARIANTS: dict[str, Variant] = {
    "as it is": ({}, None),
    "ridge 0.3": ({"ridge": 0.3}, None),
    "ridge 1.5": ({"ridge": 1.5}, None),
    "movie dropout 0.4": ({"movie_dropout": 0.4}, None),
    "movie dropout 0.7": ({"movie_dropout": 0.7}, None),
    "history dropout 0.2": ({"history_dropout": 0.2}, None),
    "history dropout 0.6": ({"history_dropout": 0.6}, None),
    "15 steps": ({"num_steps": 15}, None),
    "60 steps of half the rate": ({"num_steps": 60, "learning_rate": 0.0005}, None),
    "twice the learning rate": ({"learning_rate": 0.002}, None),
    "taste noise 0.1": ({}, (user_vectors, "TASTE_NOISE", 0.1)),
    "taste noise 0.6": ({}, (user_vectors, "TASTE_NOISE", 0.6)),
    "ratings count 0.5 and 1": ({}, (user_vectors, "RATING_WEIGHTS", (0.5, 0.5, 0.5, 1, 1))),
    "ratings count 0 to 1.5": ({}, (user_vectors, "RATING_WEIGHTS", (0, 0, 0.5, 1, 1.5))),
    "without steps: the closed form alone": ({"num_steps": 0}, None),
    "without the closed form: 420 steps": (
        {"num_steps": 420, "learning_rate": 0.005},
        (taste, "edlae_init", random_init),
    ),
    "without movie dropout": ({"movie_dropout": 0.0}, None),
    "without history dropout": ({"history_dropout": 0.0}, None),
    "without shrinkage": ({}, (user_vectors, "TASTE_NOISE", 1e-9)),
    "closed form of 1,000 movies": ({}, (edlae_init, "MAX_MOVIES", 1000)),
}
STAR_VARIANTS: dict[str, Variant] = {
    "as it is": ({}, None),
    "half the L2": ({"l2": 0.5}, None),
    "twice the L2": ({"l2": 2.0}, None),
    "learning rate 0.004": ({"learning_rate": 0.004}, None),
    "learning rate 0.012": ({"learning_rate": 0.012}, None),
    "learning rate falls to 0": ({"final_learning_rate": 0.0}, None),
    "constant learning rate": ({"final_learning_rate": 1.0}, None),
    "half the epochs": ({"epochs": 4}, None),
    "user id dropout 0.2": ({"user_id_dropout": 0.2}, None),
    "movie id dropout 0.1": ({"movie_id_dropout": 0.1}, None),
    "without user id dropout": ({"user_id_dropout": 0.0}, None),
    "without movie id dropout": ({"movie_id_dropout": 0.0}, None),
    "without EMA": ({"ema_alpha": 1.0}, None),
    "without the SVD": ({}, (two_tower, "init_from_svd", lambda *_: None)),
    "without equal id weights at first": ({}, (two_tower, "FusionModel", UntiedModel)),
    "without L2": ({"l2": 0.0}, None),
}
"""A value of `l2` is a factor on that of the rules."""


def show_taste_variants(names: Sequence[str], data_sets: Sequence[MovieLens]) -> None:
    """Prints the NDCG@10 of the taste model with one setting changed or one technique left out."""
    splits = [(validation_split(data), new_users_validation_split(data)) for data in data_sets]
    columns = [column for name in names for column in ((name, ".4f"), (f"{NUM_STATED} liked", ".4f"), ("s", ".1f"))]
    title = f"Taste model: NDCG@10 of users, of new users with {NUM_STATED} liked movies, and seconds"
    show_variants(title, columns, TASTE_VARIANTS, splits, evaluate_taste)


def show_star_variants(names: Sequence[str], data_sets: Sequence[MovieLens]) -> None:
    """Prints the RMSE of the fusion model with one setting changed or one technique left out."""
    splits = [(validation_split(data),) for data in data_sets]
    columns = [column for name in names for column in ((name, ".4f"), ("s", ".1f"))]
    show_variants("Fusion model: RMSE, and seconds", columns, STAR_VARIANTS, splits, evaluate_stars)


def show_variants(
    title: str,
    columns: Sequence[tuple[str, str]],
    variants: Mapping[str, Variant],
    splits: Sequence[tuple[Split, ...]],
    evaluate: Callable[..., tuple[float, ...]],
) -> None:
    """Prints a row for each variant: the values that `evaluate` returns for the splits of each data set."""
    table = Table(title, columns, NAME_WIDTH)
    for variant, (settings, patch) in variants.items():
        with replaced(*patch) if patch else nullcontext():
            table.add(variant, *(value for one in splits for value in evaluate(*one, settings)))


def evaluate_taste(split: Split, new_users: Split, settings: dict[str, Any]) -> tuple[float, float, float]:
    """Returns the NDCG@10 of users, that of new users who state some movies, and the seconds of training."""
    started = time.perf_counter()
    model = TasteRanker.train(split, **settings)
    seconds = time.perf_counter() - started
    test = ListTest.of(split)
    known = test.gains(model.ranking()).mean()
    model = TasteRanker.train(new_users, **settings)
    stated, rest = liked_split(new_users, NUM_STATED)
    test = ListTest.of(new_users, rest, stated)
    return known, test.gains(model.ranking(stated)).mean(), seconds


def evaluate_stars(split: Split, settings: dict[str, Any]) -> tuple[float, float]:
    """Returns the RMSE and the seconds of training."""
    if "l2" in settings:
        rule = two_tower.TrainConfig.for_ratings(len(split.train.ratings.rating)).l2
        settings = {**settings, "l2": settings["l2"] * rule}
    started = time.perf_counter()
    model = StarModel.train(split, **settings)
    return model.rmse(split.test), time.perf_counter() - started


def tune(args: argparse.Namespace) -> None:
    """Tunes the other models, or shows the variants of one of ours."""
    print_machine("paddlepaddle", "implicit", "scikit-surprise")
    names = [path.name for path in args.data_dirs]
    data_sets = [read_movielens(path) for path in args.data_dirs]
    if args.subject == "rivals":
        for name, data in zip(names, data_sets, strict=True):
            tune_rivals(name, data, args.only)
    elif args.subject == "taste":
        show_taste_variants(names, data_sets)
    else:
        show_star_variants(names, data_sets)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=["rivals", "taste", "stars"])
    parser.add_argument("data_dirs", type=path_arg, nargs="+")
    parser.add_argument("--only", nargs="+", default=[], choices=[*RANKING_RIVALS, *RATING_RIVALS], metavar="MODEL")
    args = parser.parse_args(argv)
    return run_and_report(lambda: tune(args), PipelinePaths().command)


if __name__ == "__main__":
    run_main(main)
