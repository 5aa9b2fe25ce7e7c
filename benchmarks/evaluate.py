"""How good the recommendations are, beside rivals: the tables of the README.

    python train.py && python get_movies_data.py -f movies_origin.txt
    python benchmarks/evaluate.py --picture tradeoff.png

Known people: the saved model ranks, for every user, all movies that they did not rate in training; relevant are the
test rows with 4 stars or more. New people and new films, see new_people.py: models of their own, trained without them.
Nothing is chosen on test rows.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from baselines import ease_scores
from machine import print_machine
from new_people import new_films, new_people
from rankings import Judged, Scorer, judge, judge_all, liked, popularity, print_judged
from rivals import collab_predictions, tuned_als

from recommender.cli.arguments import MODEL_FOLDER, Places, run
from recommender.data.dataset import Split, split_and_encode
from recommender.data.features import NUM_ANONYMOUS, VECTOR_SIZE
from recommender.data.movielens import DEFAULT_DATA_DIR, MovieLens, held_out_rows, read_movielens
from recommender.evaluation.metrics import (
    MAX_SCORE,
    Ratings,
    baseline_predictions,
    predict_scores,
    rating_cells,
    rating_metrics,
)
from recommender.index.build import Catalogue, build_index, embed_catalogue
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus
from recommender.inference.model_folder import SavedModel, load_model
from recommender.inference.recommend import STARS_WEIGHT, WEIGHTS, Wish, person_of, recommend
from recommender.training.taste import embed_tastes

PARTS = ("ratings", "known", "people", "films")
MIN_RATINGS = 50
"""What infer_milvus.py asks of a film, by default, when it orders by stars."""
CURVE = (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1)
"""Weights of the stars beside the picks."""
SHOWN = ("0", "0.2", "0.5", "1", "stars only")
"""Those that the picture names."""
EASE_GRADED = "EASE, 0.5 rated + 0.5 liked"


class Known(NamedTuple):
    """A saved model, and the data that it was trained and is judged on."""

    model: SavedModel
    split: Split
    catalogue: Catalogue
    stars: np.ndarray
    """float32[people, 200]"""
    tastes: np.ndarray
    """float32[people, 200]"""

    def scorer(self, stars_weight: float, taste_weight: float, min_ratings: int = 0) -> Scorer:
        """Scores by the weighted sum of both inner products, as one search in Milvus does."""
        shown = np.array(self.catalogue.num_ratings) >= min_ratings

        def score(people: np.ndarray) -> np.ndarray:
            questions = np.hstack([stars_weight * self.stars[people], taste_weight * self.tastes[people]])
            return np.where(shown, questions @ self.catalogue.vectors.T, -np.inf)

        return score


def load(data: MovieLens, folder: Path) -> Known:
    """Loads a model that was trained on this data."""
    model = load_model(folder)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    tastes = embed_tastes(split.train, split.vocabularies, model.taste)
    return Known(model, split, embed_catalogue(model, data.movies), model.arrays.user_vectors, tastes)


def print_ratings(known: Known) -> None:
    """Prints how far predicted ratings are from the test rows."""
    train, test = known.split.train.ratings, known.split.test
    movie_vectors = known.catalogue.vectors[:, :VECTOR_SIZE]
    predictions = {
        **baseline_predictions(train, test),
        "CollabFNet": collab_predictions(train, test, len(known.stars), len(movie_vectors)),
        "this model": predict_scores(known.stars, movie_vectors, test.person_row, test.movie_row),
    }
    print(f"\n{f'Ratings: {len(test.rating):,} test rows':<44}{'RMSE':>9}{'MAE':>9}")
    for name, predicted in predictions.items():
        rmse, mae = rating_metrics(predicted, test.rating)
        print(f"{name:<44}{rmse:>9.4f}{mae:>9.4f}")


def print_known(known: Known, picture: Path | None) -> None:
    """Prints how good the lists of known people are."""
    train, test = known.split.train.ratings, known.split.test
    num_people, num_movies = known.split.train.people.shape[0], len(known.catalogue.movies)
    rivals = rival_scorers(train, num_people, num_movies)
    ours = {name: known.scorer(*weights) for name, weights in WEIGHTS.items()}
    ours[f"stars, films with {MIN_RATINGS} ratings or more"] = known.scorer(*WEIGHTS["stars"], MIN_RATINGS)
    judged = judge_all(ours | rivals, train, test, num_movies)
    people = np.unique(liked(test).person_row)
    for by in ("picks", "both"):
        judged[f"{by}, through Milvus Lite"] = judge(lists_from_milvus(known, people, by), people, test, num_movies)
    print(f"\nLists of {len(people):,} known people, of all films that they did not rate in training")
    print_judged(judged)
    if picture:
        weights = {str(weight): known.scorer(MAX_SCORE * weight, 1) for weight in CURVE}
        curve = judge_all(weights, train, test, num_movies) | {"stars only": judged["stars"]}
        print("\nThe same, by the weight of a star")
        print_judged(curve)
        draw(curve, {name: judged[name] for name in rivals}, picture)


def rival_scorers(train: Ratings, num_people: int, num_movies: int) -> dict[str, Scorer]:
    """Returns what else can rank films for known people."""
    everyone, counts = np.arange(num_people), popularity(train, num_movies)
    rated, likes = (rating_cells(ratings, everyone, num_movies) for ratings in (train, liked(train)))
    ease_liked, ease_graded = ease_scores(likes), ease_scores(0.5 * rated + 0.5 * likes)
    return {
        "most popular": lambda people: np.broadcast_to(counts, (len(people), num_movies)),
        "EASE, liked films": lambda people: ease_liked[people],
        EASE_GRADED: lambda people: ease_graded[people],
        "implicit ALS": tuned_als(train, num_people, num_movies),
    }


def lists_from_milvus(known: Known, people: np.ndarray, by: str) -> np.ndarray:
    """Returns int64[people, 10], what Milvus Lite finds for users, without what they rated in training."""
    model, row_of = known.model, {movie.movie_id: row for row, movie in enumerate(known.catalogue.movies)}
    users = [person_of(model, int(user_id)) for user_id in known.split.user_ids[people - NUM_ANONYMOUS]]
    with tempfile.TemporaryDirectory() as folder, Milvus(f"{folder}/movies.db", create=True) as milvus:
        build_index(milvus, known.catalogue)
        index = MovieIndex(milvus, model.fingerprint)
        answers = recommend(model, index, users, Wish(by, 10))
        return np.array([[row_of[one.movie.movie_id] for one in answer] for answer in answers])


def draw(curve: dict[str, Judged], rivals: dict[str, Judged], path: Path) -> None:
    """Draws what is gained and lost by the weight of the stars, beside rivals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([one.rated_stars for one in curve.values()], [one.ndcg for one in curve.values()], "o-", color="tab:blue")
    labels = {"0": "picks", str(STARS_WEIGHT): f"{STARS_WEIGHT} (both)"}
    for name in SHOWN:
        place = curve[name].rated_stars, curve[name].ndcg
        axes.annotate(labels.get(name, name), place, (6, 5), textcoords="offset points", color="tab:blue")
    for name, one in rivals.items():
        offset, side = ((4, 8), "right") if name == EASE_GRADED else ((0, -15), "center")
        axes.plot(one.rated_stars, one.ndcg, "s", color="tab:gray")
        axes.annotate(name, (one.rated_stars, one.ndcg), offset, textcoords="offset points", ha=side)
    axes.set(xlabel="mean rating of the films listed that the person rated, stars", ylabel="NDCG@10", ylim=(0, 0.36))
    axes.margins(x=0.22)
    axes.set_title("What people pick and how they rate it: this model by the weight of a star, and rivals", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=200)


def evaluate(data_dir: Path, folder: Path, parts: Sequence[str], splits: int, picture: Path | None) -> None:
    """Prints the tables of some parts."""
    print_machine("paddlepaddle", "pymilvus", "milvus-lite", "implicit")
    data = read_movielens(data_dir)
    if {"ratings", "known"} & set(parts):
        known = load(data, folder)
    if "ratings" in parts:
        print_ratings(known)
    if "known" in parts:
        print_known(known, picture)
    if "people" in parts:
        new_people(data, splits)
    if "films" in parts:
        new_films(data)


def main() -> int:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA_DIR)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--splits", type=int, default=3, help="of new people, a training each")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="where to draw picks against stars")
    args = parser.parse_args()
    work = (args.data_dir, args.model, args.only, args.splits, args.picture)
    return run(lambda: evaluate(*work), Places(model=args.model))


if __name__ == "__main__":
    sys.exit(main())
