"""How good recommendations are for people, and of films, that training has not seen: tables of `evaluate.py`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from baselines import demographic_predictions, ease_weights
from rankings import Judged, Scorer, judge_all, liked, popularity, print_judged, select
from recommender.inference.fold_in import Deviations, fit_deviations

from recommender.data.dataset import Split, split_and_encode
from recommender.data.features import NUM_ANONYMOUS, UNKNOWN, anonymous_row
from recommender.data.movielens import MovieLens, held_out_rows
from recommender.evaluation.metrics import (
    MAX_SCORE,
    PEOPLE_CHUNK,
    Ratings,
    predict_scores,
    rating_cells,
    rating_metrics,
)
from recommender.inference.recommend import WEIGHTS
from recommender.inference.user_vectors import Taste
from recommender.training.taste import TasteConfig, embed_tastes, train_taste
from recommender.training.two_tower import TrainConfig, embed_movies, embed_people, train_model

HELD_OUT = 0.1
"""Share of the people who are new."""
GIVEN_FILMS = (1, 3, 5, 10)
GIVEN_RATINGS = (5, 10)
GIVEN_STARS = (3, 5, 10, 20)
MIN_LIKED = 15
MIN_RATINGS = 30
JUDGED_FROM = 20
"""Predicted stars are judged on the ratings of a person from this one on, in a random order."""
NEW_FILMS = 0.05
NEW_FILM_RATINGS = 50


class Trained(NamedTuple):
    """Both models, trained without some people, whose ratings are `split.test`."""

    split: Split
    taste: Taste
    deviations: Deviations
    stars: np.ndarray
    """float32[people, 200], of people as gender, age and occupation describe them"""
    movie_stars: np.ndarray
    """float32[movies, 200]"""
    movie_tastes: np.ndarray
    """float32[movies, 200]"""

    def scorer(self, by: str, tastes: np.ndarray, stars: np.ndarray) -> Scorer:
        """Scores by what a key of `WEIGHTS` says, given both vectors of all people."""
        stars_weight, taste_weight = WEIGHTS[by]
        return lambda people: (
            stars_weight * stars[people] @ self.movie_stars.T + taste_weight * tastes[people] @ self.movie_tastes.T
        )

    def tastes_given(self, given: Ratings) -> np.ndarray:
        """Returns float32[people, 200], everybody's taste if these ratings are all that is known of anybody."""
        return embed_tastes(self.split.train._replace(ratings=given), self.split.vocabularies, self.taste)

    def stars_given(self, given: Ratings) -> np.ndarray:
        """Returns float32[people, 200], likewise, of those who gave ratings."""
        stars = self.stars.copy()
        for person in np.unique(given.person_row):
            _, movie_row, rating = select(given, given.person_row == person)
            stars[person] = self.deviations.moved(stars[person], self.movie_stars[movie_row], rating)
        return stars


def train_without(data: MovieLens, seed: int) -> Trained:
    """Trains both models without a tenth of the people."""
    is_new = np.random.default_rng(seed).random(len(data.users)) < HELD_OUT
    user_ids = np.array(sorted(user.user_id for user in data.users))
    split = split_and_encode(data, is_new[np.searchsorted(user_ids, data.ratings.user_id)])
    train = split.train
    model = train_model(train, split.vocabularies, TrainConfig(seed=seed)).model
    taste = train_taste(train, split.vocabularies, TasteConfig(seed=seed))
    user_vectors = embed_people(model.user_tower, train.people)
    known = np.concatenate([np.arange(NUM_ANONYMOUS), NUM_ANONYMOUS + np.flatnonzero(~is_new)])
    return Trained(
        split,
        taste,
        fit_deviations(user_vectors[known], train.people[known]),
        user_vectors[anonymous_row(*train.people[:, 1:].T)],
        embed_movies(model.movie_tower, train.movies),
        taste.target_of(train.movies, split.vocabularies),
    )


def new_people(data: MovieLens, num_splits: int) -> None:
    """Prints how good the answers are that new people get: from demographics alone, and when they tell some films."""
    errors: list[dict[str, Sequence[float]]] = []
    judged: list[dict[str, Judged]] = []
    told: dict[str, dict[str, Judged]] = {}
    moved: dict[str, Sequence[float]] = {}
    for seed in range(num_splits):
        trained = train_without(data, seed)
        errors.append(judge_stars(trained))
        judged.append(judge_lists(trained))
        if seed == 0:
            told = judge_given(trained)
            moved = judge_given_stars(trained)

    print(f"\nNew people, of whom gender, age and occupation are known: {num_splits} splits, mean and each")
    print(f"{'':<28}{'RMSE':>9}{'MAE':>9}   RMSE of each")
    for name in errors[0]:
        rmse, mae = np.mean([one[name] for one in errors], axis=0)
        print(f"{name:<28}{rmse:>9.4f}{mae:>9.4f}   " + ", ".join(f"{one[name][0]:.4f}" for one in errors))
    print("\nTheir lists, of all films")
    print_judged({name: Judged(*np.mean([one[name] for one in judged], axis=0)) for name in judged[0]})
    print("NDCG@10 of each split")
    for name in judged[0]:
        print(f"{name:<44}" + ", ".join(f"{one[name].ndcg:.4f}" for one in judged))
    for title, table in told.items():
        print(f"\nFirst split: {title}")
        print_judged(table)
    print(f"\nFirst split: RMSE of the stars of people with {MIN_RATINGS} ratings or more, some of which they tell")
    print(f"{'ratings told':<28}" + "".join(f"{number:>9}" for number in (0, *GIVEN_STARS)))
    for name, row in moved.items():
        print(f"{name:<28}" + "".join(f"{rmse:>9.4f}" for rmse in row))


def judge_stars(trained: Trained) -> dict[str, Sequence[float]]:
    """Returns RMSE and MAE of all ratings of new people."""
    train, test = trained.split.train, trained.split.test
    predictions = {
        **demographic_predictions(train.ratings, test, train.people[:, 1:]),
        "this model": predict_scores(trained.stars, trained.movie_stars, test.person_row, test.movie_row),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def judge_lists(trained: Trained) -> dict[str, Judged]:
    """Judges lists from gender, age and occupation alone."""
    train, test, num_movies = trained.split.train, trained.split.test, len(trained.movie_stars)
    nothing = select(test, np.zeros(len(test.rating), bool))
    tastes = trained.tastes_given(nothing)
    likes = liked(train.ratings)
    counts, by_group = popularity(train.ratings, num_movies), np.ravel_multi_index(train.people[:, 1:3].T, (3, 8))
    group_counts = np.zeros((by_group.max() + 1, num_movies))
    np.add.at(group_counts, (by_group[likes.person_row], likes.movie_row), 1)
    scorers: dict[str, Scorer] = {
        **{by: trained.scorer(by, tastes, trained.stars) for by in WEIGHTS},
        "most popular": lambda people: np.broadcast_to(counts, (len(people), num_movies)),
        "most popular by gender and age": lambda people: group_counts[by_group[people]],
    }
    return judge_all(scorers, nothing, test, num_movies)


def place_within(person_row: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns int64[ratings], the place of each rating, from 0, in a random order of its person's."""
    order = np.lexsort([random.random(len(person_row)), person_row])
    in_order = person_row[order]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.searchsorted(in_order, in_order)
    return place


def of_people_with(ratings: Ratings, least: int) -> Ratings:
    """Returns the ratings of people who have so many."""
    return select(ratings, np.bincount(ratings.person_row)[ratings.person_row] >= least)


def judge_given(trained: Trained) -> dict[str, dict[str, Judged]]:
    """Judges lists for new people who tell films that they liked, or ratings of any films; these are left out."""
    test, random = trained.split.test, np.random.default_rng(0)
    likes, rated = of_people_with(liked(test), MIN_LIKED), of_people_with(test, MIN_RATINGS)
    plans = [(likes, number, f"films that they liked, of {MIN_LIKED} or more") for number in GIVEN_FILMS]
    plans += [(rated, number, f"ratings, of {MIN_RATINGS} or more") for number in GIVEN_RATINGS]
    num_people, num_movies = len(trained.stars), len(trained.movie_stars)
    known, everyone = trained.split.train.ratings, np.arange(num_people)
    cells, liked_cells = (rating_cells(one, everyone, num_movies) for one in (known, liked(known)))
    weights = ease_weights(0.5 * cells + 0.5 * liked_cells)
    counts = popularity(known, num_movies)
    tables = {}
    for ratings, number, title in plans:
        is_given = place_within(ratings.person_row, random) < number
        given, rest = select(ratings, is_given), select(ratings, ~is_given)
        tastes = trained.tastes_given(given)
        stars = trained.stars if ratings is likes else trained.stars_given(given)  # As --like and --ratings do.
        nothing = trained.tastes_given(select(given, np.zeros(len(given.rating), bool)))

        def ease(people: np.ndarray, given: Ratings = given) -> np.ndarray:
            both = [rating_cells(one, people, num_movies) for one in (given, liked(given))]
            return (0.5 * both[0] + 0.5 * both[1]).astype(np.float32) @ weights

        scorers: dict[str, Scorer] = {
            "picks": trained.scorer("picks", tastes, stars),
            "both": trained.scorer("both", tastes, stars),
            "picks, gender, age and occupation alone": trained.scorer("picks", nothing, stars),
            "EASE": ease,
            "most popular": lambda people: np.broadcast_to(counts, (len(people), num_movies)),
        }
        tables[f"{number} {title}"] = judge_all(scorers, given, rest, num_movies)
    return tables


def judge_given_stars(trained: Trained) -> dict[str, Sequence[float]]:
    """Returns the RMSE of predicted stars, clipped, after 0 ratings and more, and without using them."""
    ratings = of_people_with(trained.split.test, MIN_RATINGS)
    place = place_within(ratings.person_row, np.random.default_rng(0))
    judged = select(ratings, place >= JUDGED_FROM)

    def rmse(stars: np.ndarray) -> float:
        scores = predict_scores(stars, trained.movie_stars, judged.person_row, judged.movie_row)
        return rating_metrics(np.clip(scores, 1, MAX_SCORE), judged.rating).rmse

    without = rmse(trained.stars)
    moved = [rmse(trained.stars_given(select(ratings, place < number))) for number in GIVEN_STARS]
    return {"this model": [without, *moved], "without using them": [without] * (1 + len(moved))}


def new_films(data: MovieLens) -> None:
    """Prints how high the taste places films that training has not seen, of which only genres and title are known."""
    movie_row = np.searchsorted([movie.movie_id for movie in data.movies], data.ratings.movie_id)
    held_out = held_out_rows(len(data.ratings))
    often = np.flatnonzero(np.bincount(movie_row[~held_out]) >= NEW_FILM_RATINGS)
    films = np.random.default_rng(7).choice(often, int(NEW_FILMS * len(often)), replace=False)
    split = split_and_encode(data, held_out | np.isin(movie_row, films))
    train, num_movies = split.train, len(data.movies)
    taste = train_taste(train, split.vocabularies, TasteConfig())
    tastes = embed_tastes(train, split.vocabularies, taste)
    targets = taste.target_of(train.movies, split.vocabularies)
    assert (train.movies.movie_index[films] == UNKNOWN).all()
    likes = liked(select(split.test, np.isin(split.test.movie_row, films)))
    everyone, places = np.unique(likes.person_row), []
    for start in range(0, len(everyone), PEOPLE_CHUNK):
        people = everyone[start : start + PEOPLE_CHUNK]
        order = np.argsort(-tastes[people] @ targets.T, axis=1, kind="stable")
        place = np.argsort(order, axis=1) / num_movies
        places.append(place[rating_cells(likes, people, num_movies)])
    median, count = np.median(np.concatenate(places)), sum(map(len, places))
    print(
        f"\nNew films: {len(films)} lose their ratings. Median place by picks, among all {num_movies:,} films (0 first,"
    )
    print(f"1 last; chance 0.5), of the {count:,} that somebody liked: {median:.3f}", flush=True)
