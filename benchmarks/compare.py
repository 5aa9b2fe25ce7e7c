"""Our models beside tuned models of others on several data sets, with intervals; and two published protocols.

    pip install -r requirements-benchmarks.txt
    python benchmarks/compare.py data/ml-100k data/ml-1m data/ml-latest-small

Ours are trained with five seeds; others have the settings that tune.py chose on validation rows. A difference has a
95 % interval from a paired bootstrap over users, of the mean over our seeds.
If the interval holds 0, the two are not distinguishable. Columns of lists are those of evaluate.py.

Protocols: of Anelli et al. (Top-N recommendation algorithms, UMAP 2022): ratings of 4 stars or more only, movies and
users with 10 or more, a fifth of each user's for the test. F. Shehzad and D. Jannach (Everyone's a winner, RecSys 2023)
published figures in it for ml-1m. Of GLocal-K (Han et al., CIKM 2021): the first tenth of numpy's permutation with seed
1234 is the test.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from machine import print_machine
from ours import StarModel, TasteRanker, both_ranking, test_split
from rankings import LISTS_NAME_WIDTH, ListMetrics, ListTest, print_differences, print_lists
from rivals import RATING_RIVALS, applicable_rivals, fit_ease, fit_edlae, fit_popularity, load_settings
from tables import Table

from recommender.cli.arguments import PipelinePaths, number_arg, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.movielens.split import RELEVANCE_THRESHOLD, Split, split_and_encode
from recommender.movielens.releases import MovieLens
from recommender.movielens.releases import read_movielens
from recommender.evaluation.metrics import rating_metrics

PARTS = ("lists", "ratings", "protocols")
MIN_CORE = 10
ANELLI_TRAIN_SHARE = 0.8
ANELLI_PUBLISHED = {
    "ml-1m": {
        "EASE, as published": (0.3433, 0.1965),
        "MultiDAE, as published": (0.3001, 0.1780),
        "GMF, as published": (0.2803, 0.1616),
        "most popular, as published": (0.1622, 0.0858),
    }
}
"""NDCG@10 and recall@10 of Shehzad and Jannach: github.com/Faisalse/RecSys2023_hyperparameter_tuning, in
`Additional material/Movielens_1m/Tuned/rec_cutoff_10_relthreshold_0_2023_02_07_15_45_29.tsv`, commit 7a36850."""
GLOCAL_SEED = 1234
GLOCAL_K_RMSE = {"ml-1m": 0.8227}
"""As its authors report it: https://github.com/usydnlp/Glocal_K"""


def compare_lists(name: str, split: Split, seeds: int) -> None:
    """Prints the metrics of lists and the differences in NDCG@10."""
    test, settings = ListTest.of(split), load_settings(name)
    found: dict[str, list[np.ndarray]] = {"picks": [], "both": []}
    for seed in range(seeds):
        taste, stars = TasteRanker.train(split, seed=seed), StarModel.train(split, seed=seed)
        found["picks"].append(test.top_lists(taste.ranking()))
        found["both"].append(test.top_lists(both_ranking(stars, taste)))
    metrics = {
        f"{ranking}, mean of {seeds} seeds": ListMetrics(*np.mean([test.evaluate(one) for one in lists], axis=0))
        for ranking, lists in found.items()
    }
    gains = {ranking: np.array([test.hits(one)[1] for one in lists]) for ranking, lists in found.items()}
    others: dict[str, np.ndarray] = {}
    for rival_name, rival in applicable_rivals(split.train):
        lists = test.top_lists(rival.fit(split.train, **settings[rival_name]))
        metrics[rival_name], others[rival_name] = test.evaluate(lists), test.hits(lists)[1]
    print_lists(f"{name}: lists of {len(test.profile_rows):,} users", metrics)
    spread = ", ".join(f"{ranking} {values.mean(1).std():.4f}" for ranking, values in gains.items())
    print(f"Standard deviation of NDCG@10 over seeds: {spread}")
    print_differences(f"{name}: NDCG@10 of picks", gains["picks"].mean(0), others, test.profile_rows)


def compare_ratings(name: str, split: Split, seeds: int) -> None:
    """Prints the errors of predicted ratings and the differences in squared error."""
    settings, rating = load_settings(name), split.test.rating
    predictions = np.array([StarModel.train(split, seed=seed).predict(split.test) for seed in range(seeds)])
    rmse = [rating_metrics(predicted, rating).rmse for predicted in predictions]
    table = Table(f"{name}: {len(rating):,} test ratings", {"RMSE": ".4f", "MAE": ".4f"}, LISTS_NAME_WIDTH)
    metrics = np.mean([rating_metrics(predicted, rating) for predicted in predictions], axis=0)
    table.add(f"this model, mean of {seeds} seeds", *metrics)
    others = {}
    for rival_name, rival in RATING_RIVALS.items():
        predicted = rival.fit(split, **settings[rival_name])
        others[rival_name] = (predicted - rating) ** 2
        table.add(rival_name, *rating_metrics(predicted, rating))
    print(f"Standard deviation of the RMSE over seeds: {np.std(rmse):.4f}")
    errors = ((predictions - rating) ** 2).mean(0)
    users = split.test.profile_row
    print_differences(f"{name}: squared error of predicted ratings", errors, others, users, lower_is_better=True)


def anelli_split(data: MovieLens) -> Split:
    """Returns the split of Anelli et al.: see the beginning of this file."""
    ratings = data.ratings[data.ratings.rating >= RELEVANCE_THRESHOLD]
    size = -1
    while size != len(ratings):
        size = len(ratings)
        for column in ("user_id", "movie_id"):
            ratings = ratings[ratings.groupby(column)[column].transform("size") >= MIN_CORE]
    ratings = ratings.reset_index(drop=True)
    users, movies = set(ratings.user_id), set(ratings.movie_id)
    order = pd.Series(np.random.default_rng(42).random(len(ratings))).groupby(ratings.user_id).rank(method="first")
    num_train = np.floor(ANELLI_TRAIN_SHARE * ratings.groupby("user_id").user_id.transform("size"))
    data = data._replace(
        ratings=ratings,
        users=[user for user in data.users if user.user_id in users],
        movies=[movie for movie in data.movies if movie.movie_id in movies],
    )
    return split_and_encode(data, (order > num_train).to_numpy())


def glocal_split(data: MovieLens) -> Split:
    """Returns the split of GLocal-K."""
    random = np.random.RandomState(GLOCAL_SEED)
    order = random.permutation(len(data.ratings))
    held_out = np.zeros(len(order), bool)
    held_out[order[: len(order) // 10]] = True
    return split_and_encode(data, held_out)


def print_protocols(name: str, data: MovieLens) -> None:
    """Prints our figures and those of others in two published protocols."""
    settings: dict[str, Any] = load_settings(name)
    split = anelli_split(data)
    test = ListTest.of(split)
    rankings = {
        "picks": TasteRanker.train(split).ranking(),
        "EASE": fit_ease(split.train, **settings["EASE"]),
        "EDLAE": fit_edlae(split.train, **settings["EDLAE"]),
        "most popular": fit_popularity(split.train),
    }
    shape = f"{len(split.user_ids):,} users, {len(split.train.ratings.rating):,} training ratings"
    title = f"{name}: protocol of Anelli et al., {shape}"
    table = Table(title, {"NDCG@10": ".4f", "recall@10": ".4f"}, LISTS_NAME_WIDTH)
    for ranking, metrics in test.evaluate_all(rankings).items():
        table.add(ranking, metrics.ndcg, metrics.recall)
    for ranking, published in ANELLI_PUBLISHED.get(name, {}).items():
        table.add(ranking, *published)
    split = glocal_split(data)
    table = Table(
        f"{name}: split of GLocal-K, {len(split.test.rating):,} test ratings", {"RMSE": ".4f"}, LISTS_NAME_WIDTH
    )
    table.add("this model", StarModel.train(split).rmse(split.test))
    if name in GLOCAL_K_RMSE:
        table.add("GLocal-K, as published", GLOCAL_K_RMSE[name])


def compare(args: argparse.Namespace) -> None:
    """Prints the tables that the options ask for."""
    print_machine("paddlepaddle", "implicit", "scikit-surprise")
    for path in args.data_dirs:
        data = read_movielens(path)
        split = test_split(data)
        if "lists" in args.only:
            compare_lists(path.name, split, args.seeds)
        if "ratings" in args.only:
            compare_ratings(path.name, split, args.seeds)
        if "protocols" in args.only:
            print_protocols(path.name, data)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dirs", type=path_arg, nargs="+")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=number_arg(int, 1), default=5)
    args = parser.parse_args(argv)
    return run_and_report(lambda: compare(args), PipelinePaths().command)


if __name__ == "__main__":
    run_main(main)
