"""Our models beside tuned models of others: lists and predicted ratings, with intervals, and two published protocols.

    pip install -r requirements-benchmarks.txt
    python benchmarks/compare.py data/ml-100k data/ml-1m data/ml-latest-small

Ours are means over five seeds; others have the settings that tune.py chose on validation rows. Picks are ordered as
infer_milvus.py orders them. A difference has a 95 % interval from a paired bootstrap over users; where the interval
holds 0, neither is better. Columns of lists: see list_metrics.py. "CPU s" is the processor time of one fit.

Protocols, of data sets with published figures (ml-1m): the split of GLocal-K, whose test is the first tenth of numpy's
permutation with seed 1234; ratings of 4 stars or more only, as Anelli et al. (Top-N recommendation algorithms, UMAP
2022) use them: movies and users with 10 or more, a fifth of each user's for the test.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import loader
import numpy as np
import pandas as pd
from list_metrics import COLUMNS, ListTest, print_differences
from rivals import LIST_RIVALS, RATING_RIVALS, Rival, fit_ease, fit_edlae, fit_popularity, load_settings
from tables import Table

from recommender.evaluation import Ranking, rating_metrics
from recommender.movielens.releases import MovieLens
from recommender.movielens.split import RELEVANCE_THRESHOLD, Split, split_and_encode

PARTS = ("lists", "ratings", "protocols")
OURS = ("picks", "both", "stars")
MIN_CORE = 10
ANELLI_TRAIN_SHARE = 0.8
ANELLI_PUBLISHED = {"EASE, as published": (0.3433, 0.1965), "most popular, as published": (0.1622, 0.0858)}
"""NDCG@10 and recall@10 on ml-1m of F. Shehzad and D. Jannach (Everyone's a winner, RecSys 2023), in
github.com/Faisalse/RecSys2023_hyperparameter_tuning, `Additional material/Movielens_1m/Tuned`, commit 7a36850."""
GLOCAL_SEED = 1234
RMSE_PUBLISHED = {
    "GLocal-K, as published": 0.8227,
    "SparseFC, as published, its own split": 0.824,
    "I-AutoRec, as published, its own split": 0.831,
}
"""On ml-1m: S. Han et al. (CIKM 2021), L. Müller et al. (ICML 2018), S. Sedhain et al. (WWW 2015)."""


def timed(fit: Callable[[], object]) -> tuple[object, float]:
    """Returns what a function returns, and its seconds of processor time."""
    started = time.process_time()
    return fit(), time.process_time() - started


def compare_lists(name: str, split: Split, all_stars: list[loader.Stars], all_picks: list[loader.Taste]) -> None:
    """Prints the metrics of lists and the differences in NDCG@10."""
    test, settings = ListTest.of(split), load_settings(name)
    title = f"{name}: lists of {len(test.profile_rows):,} users"
    table = Table(title, COLUMNS | {"CPU s": ".1f"})
    gains = {}
    for ranking in OURS:
        found = [
            test.top_lists(loader.mixed_ranking(ranking, *pair)) for pair in zip(all_stars, all_picks, strict=True)
        ]
        gains[ranking] = np.array([test.hits(lists)[1] for lists in found])
        seconds = (ranking != "picks") * all_stars[0].cpu_seconds + (ranking != "stars") * all_picks[0].cpu_seconds
        table.add(ranking, *np.mean([test.evaluate(lists) for lists in found], axis=0), seconds)
    others = {}
    for rival_name, rival in LIST_RIVALS.items():
        ranking, seconds = timed(lambda rival=rival, own=settings[rival_name]: rival.fit(split.train, **own))
        lists = test.top_lists(ranking)
        others[rival_name] = test.hits(lists)[1]
        table.add(rival_name, *test.evaluate(lists), seconds)
    spread = ", ".join(f"{ranking} {values.mean(1).std():.4f}" for ranking, values in gains.items())
    print(f"standard deviation of NDCG@10 over seeds: {spread}")
    others |= {ranking: gains[ranking].mean(0) for ranking in ("both", "stars")}
    print_differences(f"{title}; NDCG@10 of picks", gains["picks"].mean(0), others, test.profile_rows)


def compare_ratings(
    name: str, split: Split, all_stars: list[loader.Stars], cache: Path, rivals: dict[str, Rival]
) -> None:
    """Prints the errors of predicted ratings and the differences in squared error."""
    rating, settings = split.test.rating, load_settings(name)
    title = f"{name}: {len(rating):,} test ratings"
    table = Table(title, {"RMSE": ".4f", "MAE": ".4f", "CPU s": ".0f"})
    faithful = [loader.train_stars(split, cache, seed=seed, targets="ratings") for seed in range(len(all_stars))]
    errors = {}
    for row, models in (("stars", all_stars), ("stars, --targets ratings", faithful)):
        predictions = np.array([stars.predict(split.test) for stars in models])
        metrics = [rating_metrics(predicted, rating) for predicted in predictions]
        table.add(row, *np.mean(metrics, axis=0), np.mean([stars.cpu_seconds for stars in models]))
        errors[row] = ((predictions - rating) ** 2).mean(0)
        if row == "stars":
            spread = np.std(metrics, axis=0)
    for rival_name, rival in rivals.items():
        predicted, seconds = timed(lambda rival=rival, own=settings[rival_name]: rival.fit(split, **own))
        predicted = predicted.clip(min(1, rating.min()), 5)
        errors[rival_name] = (predicted - rating) ** 2
        table.add(rival_name, *rating_metrics(predicted, rating), seconds)
    print(f"standard deviation of stars over seeds: RMSE {spread[0]:.4f}, MAE {spread[1]:.4f}")
    ours = errors.pop("stars")
    print_differences(f"{title}; squared error of stars", ours, errors, split.test.profile_row, lower_is_better=True)


def anelli_split(data: MovieLens) -> Split:
    """Returns the split of Anelli et al.: see the beginning of this file."""
    ratings = data.ratings[data.ratings.rating >= RELEVANCE_THRESHOLD]
    size = -1
    while size != len(ratings):
        size = len(ratings)
        for column in ("user_id", "movie_id"):
            ratings = ratings[ratings.groupby(column)[column].transform("size") >= MIN_CORE]
    ratings = ratings.reset_index(drop=True)
    kept_users, kept_movies = set(ratings.user_id), set(ratings.movie_id)
    order = pd.Series(np.random.default_rng(42).random(len(ratings))).groupby(ratings.user_id).rank(method="first")
    num_train = np.floor(ANELLI_TRAIN_SHARE * ratings.groupby("user_id").user_id.transform("size"))
    data = data._replace(
        ratings=ratings,
        users=[user for user in data.users if user.user_id in kept_users],
        movies=[movie for movie in data.movies if movie.movie_id in kept_movies],
    )
    return split_and_encode(data, (order > num_train).to_numpy())


def glocal_split(data: MovieLens) -> Split:
    """Returns the split of GLocal-K, see github.com/usydnlp/Glocal_K."""
    order = np.random.RandomState(GLOCAL_SEED).permutation(len(data.ratings))
    held_out = np.zeros(len(order), bool)
    held_out[order[: len(order) // 10]] = True
    return split_and_encode(data, held_out)


def print_protocols(name: str, data: MovieLens, options: argparse.Namespace, rivals: dict[str, Rival]) -> None:
    """Prints our figures and those of others in two published protocols."""
    settings = load_settings(name)
    split = glocal_split(data)
    title = f"{name}: split of GLocal-K, {len(split.test.rating):,} test ratings"
    table = Table(title, {"RMSE": ".4f", "MAE": ".4f"})
    models = [loader.train_stars(split, options.cache, seed=seed) for seed in range(options.seeds)]
    metrics = [rating_metrics(stars.predict(split.test), split.test.rating) for stars in models]
    table.add("stars", *np.mean(metrics, axis=0))
    for rival_name in rivals.keys() & {"myFM"}:
        predicted = rivals[rival_name].fit(split, **settings[rival_name]).clip(1, 5)
        table.add(rival_name, *rating_metrics(predicted, split.test.rating))
    for row, rmse in RMSE_PUBLISHED.items():
        table.add(row, rmse, np.nan)

    split = anelli_split(data)
    test = ListTest.of(split)
    shape = f"{len(split.user_ids):,} users, {len(split.train.ratings.rating):,} training ratings"
    table = Table(f"{name}: protocol of Anelli et al., {shape}", {"NDCG@10": ".4f", "recall@10": ".4f"})
    rankings: dict[str, Ranking] = {
        "picks": loader.train_picks(split, options.cache).ranking(),
        "EDLAE": fit_edlae(split.train, **settings["EDLAE"]),
        "EASE": fit_ease(split.train, **settings["EASE"]),
        "most popular": fit_popularity(split.train),
    }
    for row, ranking in rankings.items():
        table.add(row, *test.evaluate(test.top_lists(ranking))[:2])
    for row, published in ANELLI_PUBLISHED.items():
        table.add(row, *published)


def main() -> None:
    """Prints the tables that the options ask for."""
    options = loader.parser(__doc__, 5)
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--without", nargs="+", choices=RATING_RIVALS, default=[], metavar="MODEL", help="slow ones")
    args = options.parse_args()
    rivals = {name: rival for name, rival in RATING_RIVALS.items() if name not in args.without}
    for name, data in loader.read_data(args):
        split, seeds = loader.test_split(data), range(args.seeds)
        if {"lists", "ratings"} & set(args.only):
            all_stars = [loader.train_stars(split, args.cache, seed=seed) for seed in seeds]
        if "lists" in args.only:
            compare_lists(name, split, all_stars, [loader.train_picks(split, args.cache, seed=seed) for seed in seeds])
        if "ratings" in args.only:
            compare_ratings(name, split, all_stars, args.cache, rivals)
        if "protocols" in args.only and name == "ml-1m":
            print_protocols(name, data, args, rivals)


if __name__ == "__main__":
    main()
