"""Quality: predicted ratings and lists of the saved model, of models for new users and new movies, and of others.

    python train.py && python get_movies_data.py -f movies_origin.txt
    python benchmarks/evaluate.py --picture tradeoff.png

Ratings and rankings are of the saved model: it ranks, for every user, all movies that the user did not rate in
training; relevant are the test rows of 4 stars or more. New users and new movies get models of their own, trained
without them. Nothing is chosen on test rows.

Columns of lists: NDCG@10 and recall@10 count relevant movies; "hits, stars" is the mean rating of these, "rated,
stars" of all movies in the lists that the user rated in the test, "1-2 stars" the share of low ratings among them;
"coverage" is the share of all movies that are in any list, "novelty" the mean of -log2 of the share of users who
rated a listed movie, "shared" how many of ten two users' lists have in common. Of options, "similarity" is the mean
cosine of the taste vectors of two movies in a list, "median ratings" the median number of training ratings of the
listed movies.
"""

if __name__ == "__main__":
    from machine import prepare

    prepare()

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import print_machine
from new_movies import evaluate_new_movies
from new_users import evaluate_new_users
from options import evaluate_options
from ours import test_split
from rankings import LISTS_NAME_WIDTH, K, ListMetrics, ListTest, print_lists
from rivals import RATING_RIVALS, applicable_rivals, load_settings
from tables import Table

from recommender.cli.arguments import MODEL_FOLDER, PipelinePaths, number_arg, path_arg
from recommender.cli.process import run_and_report, run_main
from recommender.cli.query_options import DEFAULT_MIN_RATINGS
from recommender.movielens.split import Split
from recommender.movielens.releases import MovieLens
from recommender.movielens.releases import DEFAULT_DATA_DIR, read_movielens
from recommender.evaluation.evaluate import evaluate_ratings, weighted_sum
from recommender.evaluation.metrics import Ranking, rating_metrics
from recommender.milvus.build import Catalogue, build_collection, embed_catalogue
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import SavedModel, load_model
from recommender.lists import Query, recommend
from recommender.users import RANKING_WEIGHTS, STAR_WEIGHT, UserProfile, split_vectors
from recommender.scoring import COSINE_SCALE
from recommender.picks.taste_training import taste_vectors

PARTS = ("ratings", "rankings", "options", "new-users", "new-movies")
STAR_WEIGHTS = (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1)
"""Weights of a predicted star beside the taste score."""
ANNOTATED = ("0", "0.2", "0.5", "1", "stars only")
"""Those that have a label in the picture."""
DRAWN_RIVALS = ("most popular", "implicit ALS", "EDLAE")


class Evaluated(NamedTuple):
    """A saved model with the data that it was trained on and is evaluated on."""

    model: SavedModel
    split: Split
    catalogue: Catalogue
    user_vectors: tuple[np.ndarray, np.ndarray]
    """float32[profiles, 200] twice, rating vectors and taste vectors"""

    @property
    def movie_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """float32[movies, 200] twice."""
        return split_vectors(self.catalogue.vectors)

    def ranking(self, weights: tuple[float, float], min_ratings: int = 0) -> Ranking:
        """Returns the ranking with some weights, of the movies that have enough training ratings."""
        score = weighted_sum(weights, self.user_vectors, self.movie_vectors)
        qualifies = np.array(self.catalogue.num_ratings) >= min_ratings
        return lambda rows: np.where(qualifies, score(rows), -np.inf)


def load(data: MovieLens, folder: Path) -> Evaluated:
    """Loads a model that was trained on this data."""
    model = load_model(folder)
    split = test_split(data)
    tastes = taste_vectors(split.train, split.vocabularies, model.taste)
    return Evaluated(model, split, embed_catalogue(model, data.movies), (model.profile_vectors, tastes))


def print_ratings(evaluated: Evaluated, settings: Mapping[str, Any]) -> None:
    """Prints the errors of predicted ratings."""
    split = evaluated.split
    metrics = evaluate_ratings(split, evaluated.user_vectors[0], evaluated.movie_vectors[0])
    this_model = metrics.pop("this model")
    predicted = RATING_RIVALS["CollabFNet"].fit(split, **settings["CollabFNet"])
    metrics["CollabFNet"] = rating_metrics(predicted, split.test.rating)
    table = Table(f"Ratings: {len(split.test.rating):,} test rows", {"RMSE": ".4f", "MAE": ".4f"}, LISTS_NAME_WIDTH)
    for name, values in metrics.items():
        table.add(name, *values)
    table.add("this model", *this_model)


def print_rankings(evaluated: Evaluated, settings: Mapping[str, Any], picture: Path | None) -> None:
    """Prints the metrics of the lists of all users, and draws them."""
    test, train = ListTest.of(evaluated.split), evaluated.split.train
    rankings = {name: evaluated.ranking(weights) for name, weights in RANKING_WEIGHTS.items()}
    well_known = evaluated.ranking(RANKING_WEIGHTS["stars"], DEFAULT_MIN_RATINGS)
    rankings[f"stars, movies with {DEFAULT_MIN_RATINGS} ratings or more"] = well_known
    metrics = test.evaluate_all(rankings)
    for name in ("picks", "both"):
        metrics[f"{name}, through Milvus Lite"] = test.evaluate(lists_from_milvus(evaluated, test.profile_rows, name))
    others = {
        name: test.evaluate(test.top_lists(rival.fit(train, **settings[name])))
        for name, rival in applicable_rivals(train)
    }
    print_lists(f"Lists of {len(test.profile_rows):,} users, of movies not rated in training", metrics | others)
    if picture:
        by_weight = {str(weight): evaluated.ranking((COSINE_SCALE * weight, 1)) for weight in STAR_WEIGHTS}
        curve = test.evaluate_all(by_weight) | {"stars only": metrics["stars"]}
        print_lists("The same lists by the weight of a predicted star beside the taste score", curve)
        draw(curve, {name: others[name] for name in DRAWN_RIVALS}, picture)


def lists_from_milvus(evaluated: Evaluated, profile_rows: np.ndarray, ranking: str) -> np.ndarray:
    """Returns int64[profiles, 10], what Milvus Lite finds for users, without the movies that they rated in training."""
    model = evaluated.model
    row_of = {movie.movie_id: row for row, movie in enumerate(evaluated.catalogue.movies)}
    first_user = len(evaluated.split.train.profiles) - evaluated.split.train.num_users
    user_ids = evaluated.split.user_ids[profile_rows - first_user].tolist()
    profiles = [UserProfile.from_user(model, user_id) for user_id in user_ids]
    with tempfile.TemporaryDirectory() as folder, MilvusConnection(f"{folder}/movies.db", create=True) as connection:
        build_collection(connection, evaluated.catalogue)
        collection = MovieCollection(connection, model.fingerprint)
        found = recommend(model, collection, profiles, Query(ranking, K))
        return np.array([[row_of[one.movie.movie_id] for one in recommendations] for recommendations in found])


def draw(curve: Mapping[str, ListMetrics], others: Mapping[str, ListMetrics], path: Path) -> None:
    """Draws NDCG against the ratings of the listed movies, by the weight of a star, beside other methods."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    points = {name: (metrics.list_rating, metrics.ndcg) for name, metrics in {**curve, **others}.items()}
    axes.plot(*zip(*(points[name] for name in curve), strict=True), "o-", color="tab:blue")
    labels = {"0": "picks", str(STAR_WEIGHT): f"{STAR_WEIGHT} (both)"}
    for name in ANNOTATED:
        label = labels.get(name, name)
        axes.annotate(label, points[name], (6, 5), textcoords="offset points", color="tab:blue")
    for name in others:
        offset, side = ((4, 8), "right") if name == "EDLAE" else ((0, -15), "center")
        axes.plot(*points[name], "s", color="tab:gray")
        axes.annotate(name, points[name], offset, textcoords="offset points", ha=side)
    axes.set(xlabel="mean rating of the listed movies that the user rated, stars", ylabel="NDCG@10", ylim=(0, 0.36))
    axes.margins(x=0.27)
    axes.set_title("Lists of ten: this model by the weight of a predicted star, and other methods", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=200)


def evaluate(args: argparse.Namespace) -> None:
    """Prints the tables that the options ask for."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite", "implicit")
    data = read_movielens(args.data_dir)
    settings = load_settings(args.data_dir.name)
    if {"ratings", "rankings", "options"} & set(args.only):
        evaluated = load(data, args.model)
    if "ratings" in args.only:
        print_ratings(evaluated, settings)
    if "rankings" in args.only:
        print_rankings(evaluated, settings, args.picture)
    if "options" in args.only:
        evaluate_options(evaluated.split, evaluated.catalogue, evaluated.user_vectors)
    if "new-users" in args.only:
        evaluate_new_users(data, args.splits, settings)
    if "new-movies" in args.only:
        evaluate_new_movies(data)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=path_arg, default=DEFAULT_DATA_DIR)
    parser.add_argument("--model", type=path_arg, default=MODEL_FOLDER)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--splits", type=number_arg(int, 1), default=3, help="splits of new users, a training each")
    parser.add_argument("--picture", type=path_arg, metavar="FILE.png", help="where to draw NDCG against ratings")
    args = parser.parse_args(argv)
    return run_and_report(lambda: evaluate(args), PipelinePaths(model=args.model).command)


if __name__ == "__main__":
    run_main(main)
