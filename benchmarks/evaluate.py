"""How good the recommendations are, beside simple baselines: the tables of the README.

    python train.py && python get_movies_data.py -f movies_origin.txt
    python benchmarks/evaluate.py --data-dir data/ml-1m

Known people: the saved model ranks, for every user, all movies that they did not rate in training; relevant are the
test rows with 4 stars or more. The rival rankings learn from the training rows with 4 stars or more.

New people: a tenth of the users is held out whole and the model trained without them, in several splits. It is told
their gender, age and occupation only; all of their ratings are predicted, and all movies ranked, relevant are those
with 4 stars or more.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from machine import print_machine

from recommender.checkpoint import MODEL_FOLDER, load_model
from recommender.command import run
from recommender.evaluation import (
    MAX_SCORE,
    RankingMetrics,
    Ratings,
    baseline_predictions,
    demographic_predictions,
    ease_scores,
    predict_scores,
    ranking_metrics,
    rating_metrics,
)
from recommender.features import NUM_ANONYMOUS, anonymous_row, encode_movies
from recommender.movie_index import MovieIndex
from recommender.movielens import AGE_GROUPS, GENDERS, OCCUPATIONS, MovieLens, held_out_rows, read_movielens
from recommender.training import TrainConfig, embed_movies, embed_people, split_and_encode, train_model

GOOD = 4
MIN_RATINGS = 50


def grid(ratings: Ratings, shape: tuple[int, int], least: int = 1) -> np.ndarray:
    """Returns bool[users, movies], True where there is a rating of at least so many stars."""
    cells = np.zeros(shape, bool)
    good = ratings.rating >= least
    cells[ratings.user_row[good], ratings.movie_row[good]] = True
    return cells


def print_ratings(predictions: dict[str, np.ndarray], rating: np.ndarray) -> None:
    """Prints a table of rating metrics."""
    print(f"{'':<36}{'RMSE':>9}{'MAE':>9}")
    for name, predicted in predictions.items():
        print(f"{name:<36}{'{:>9.4f}{:>9.4f}'.format(*rating_metrics(predicted, rating))}")


def print_rankings(rows: dict[str, RankingMetrics]) -> None:
    """Prints a table of ranking metrics."""
    print(f"{'':<36}{'prec@10':>9}{'rec@10':>9}{'NDCG@10':>9}{'MRR@10':>9}")
    for name, metrics in rows.items():
        print(f"{name:<36}{''.join(f'{value:>9.4f}' for value in metrics)}")


def known_people(data: MovieLens, folder: Path) -> None:
    """Evaluates a saved model on the test rows, by exact search and through Milvus."""
    model = load_model(folder)
    train, test, _ = split_and_encode(data, held_out_rows(len(data.ratings)))
    train_ratings = train.ratings
    movie_vectors = embed_movies(model.load_tower("movie_tower"), encode_movies(data.movies, model.vocabularies))
    user_vectors = model.user_vectors[NUM_ANONYMOUS:]

    print(f"\nRatings: {len(test.rating):,} test rows")
    scores = predict_scores(user_vectors, movie_vectors, test.user_row, test.movie_row)
    print_ratings({**baseline_predictions(train_ratings, test), "this model": scores}, test.rating)

    shape = len(data.users), len(data.movies)
    seen, liked, relevant = grid(train_ratings, shape), grid(train_ratings, shape, GOOD), grid(test, shape, GOOD)
    num_ratings = seen.sum(0)
    exact = MAX_SCORE * user_vectors @ movie_vectors.T
    shown = np.where(num_ratings >= MIN_RATINGS, exact, -np.inf)
    print(f"\nRanking for {relevant.any(1).sum():,} known people: all movies they did not rate in training")
    print_rankings(
        {
            "this model, any movie": ranking_metrics(exact, relevant, seen),
            f"this model, at least {MIN_RATINGS} ratings": ranking_metrics(shown, relevant, seen),
            "the same, through Milvus Lite": ranking_metrics(
                search_all(data, user_vectors, movie_vectors, num_ratings, seen), relevant, seen
            ),
            "most popular": ranking_metrics(np.broadcast_to(liked.sum(0), shape), relevant, seen),
            "EASE": ranking_metrics(ease_scores(liked), relevant, seen),
        }
    )

    people = model.people[:NUM_ANONYMOUS]
    whole = np.flatnonzero((people[:, 1:] > 0).all(1))
    top = np.argsort(-np.where(num_ratings >= MIN_RATINGS, model.user_vectors[whole] @ movie_vectors.T, -np.inf))[
        :, :10
    ]
    random = np.random.default_rng(0)
    pairs = np.array([random.choice(len(whole), 2, replace=False) for _ in range(2000)])
    shared = np.array([len(set(top[one]) & set(top[other])) for one, other in pairs])
    print(f"\nNew people who differ in age, gender or job: {(shared < 10).mean():.0%} of 2,000 pairs differ in their")
    print(
        f"top 10, which share {shared.mean():.1f} movies on average; least rated movie in any: {num_ratings[top].min()}"
    )
    for gender, age, job in ((2, 1, 11), (1, 7, 17), (1, 2, 13)):
        row = int(np.flatnonzero((people[whole, 1:] == (gender, age, job)).all(1))[0])
        words = list(GENDERS.values())[gender - 1], list(AGE_GROUPS.values())[age - 1], OCCUPATIONS[job - 1]
        print(f"  {', '.join(words)}: {'; '.join(data.movies[movie].name for movie in top[row][:5])}")


def search_all(
    data: MovieLens, user_vectors: np.ndarray, movie_vectors: np.ndarray, num_ratings: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Returns float[users, movies]: 10 down to 1 for the ten movies that Milvus finds for a user, else 0."""
    scores = np.zeros(seen.shape)
    movie_ids = np.array([movie.movie_id for movie in data.movies])
    row_of = {movie_id: row for row, movie_id in enumerate(movie_ids.tolist())}
    with tempfile.TemporaryDirectory() as folder:
        index = MovieIndex(f"{folder}/movies.db")
        index.build(data.movies, movie_vectors, num_ratings.tolist(), "evaluation")
        index.open("evaluation", movie_vectors.shape[1])
        leave_out = [set(movie_ids[row].tolist()) for row in seen]
        started = time.perf_counter()
        found = index.search(user_vectors, 10, index.where(min_ratings=MIN_RATINGS), leave_out)
        print(f"(Milvus Lite: {len(found) / (time.perf_counter() - started):,.0f} users a second, top 10 unseen)")
        index.close()
    for user, hits in enumerate(found):
        for place, hit in enumerate(hits):
            scores[user, row_of[hit.movie.movie_id]] = 10 - place
    return scores


def new_people(data: MovieLens, num_splits: int) -> None:
    """Trains without a tenth of the users, several times, and evaluates on them."""
    print("\nNew people, a tenth of the users, told apart by gender, age and occupation only; a row a split")
    print(f"{'':<8}{'this model':>16}{'movie mean':>18}{'+ demographics':>18}   (RMSE MAE)")
    rankings: dict[str, list[RankingMetrics]] = {}
    errors = []
    user_row_of = {user.user_id: row for row, user in enumerate(data.users)}
    user_row = data.ratings.user_id.map(user_row_of).to_numpy()
    for seed in range(num_splits):
        is_new = np.random.default_rng(seed).random(len(data.users)) < 0.1
        dataset, test, vocabularies = split_and_encode(data, is_new[user_row])
        model = train_model(dataset, vocabularies, TrainConfig(seed=seed)).model
        demographics = dataset.people[NUM_ANONYMOUS:, 1:]
        vectors = embed_people(model.user_tower, dataset.people)[anonymous_row(*demographics.T)]
        movie_vectors = embed_movies(model.movie_tower, dataset.movies)
        predictions = {
            "this model": predict_scores(vectors, movie_vectors, test.user_row, test.movie_row),
            **demographic_predictions(dataset.ratings, test, demographics),
        }
        errors.append([rating_metrics(predicted, test.rating) for predicted in predictions.values()])
        print(f"split {seed}   " + "   ".join("{:.4f} {:.4f}".format(*one) for one in errors[-1]), flush=True)

        shape = len(data.users), len(data.movies)
        relevant, nothing = grid(test, shape, GOOD), np.zeros(shape, bool)
        rated = grid(dataset.ratings, shape)
        liked = grid(dataset.ratings, shape, GOOD)
        exact = vectors @ movie_vectors.T
        group = demographics[:, 0] * 10 + demographics[:, 1]
        by_group = np.array([liked[group == one].sum(0) for one in range(group.max() + 1)])[group]
        for name, scores in {
            f"this model, at least {MIN_RATINGS} ratings": np.where(rated.sum(0) >= MIN_RATINGS, exact, -np.inf),
            "most popular": np.broadcast_to(liked.sum(0), shape),
            "most popular by gender and age": by_group,
        }.items():
            rankings.setdefault(name, []).append(ranking_metrics(scores, relevant, nothing))
    print("mean      " + "   ".join("{:.4f} {:.4f}".format(*one) for one in np.mean(errors, axis=0)))
    print_rankings({name: RankingMetrics(*np.mean(values, axis=0)) for name, values in rankings.items()})


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data/ml-1m"))
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--splits", type=int, default=3, help="of new people, a training each; 0 for none")
    args = parser.parse_args()
    data = read_movielens(args.data_dir)
    print_machine("paddlepaddle", "pymilvus", "milvus-lite")
    known_people(data, args.model)
    if args.splits:
        new_people(data, args.splits)


if __name__ == "__main__":
    sys.exit(run(main))
