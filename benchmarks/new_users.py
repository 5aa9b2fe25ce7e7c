"""Quality for users that training has not seen: tables of `evaluate.py`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ours import StarModel, TasteRanker, new_users_split
from rankings import LISTS_NAME_WIDTH, ListMetrics, ListTest, liked, print_differences, print_lists
from rivals import (
    demographic_predictions,
    ease_weights,
    edlae_weights,
    fit_group_popularity,
    fit_popularity,
    interactions,
)
from tables import Table

from recommender.movielens.split import RELEVANCE_THRESHOLD, Dataset, Ratings, Split
from recommender.movielens.encoding import demographic_profile_row
from recommender.movielens.releases import MovieLens
from recommender.errors import pluralize
from recommender.evaluation.evaluate import weighted_sum
from recommender.evaluation.metrics import Ranking, RatingMetrics, rating_metrics
from recommender.users import RANKING_WEIGHTS, UserPrior, fit_user_prior

NUM_LIKED = (1, 3, 5, 10)
NUM_RATED = (5, 10)
NUM_FOLDED_IN = (3, 5, 10, 20)
"""Numbers of liked movies, of rated movies, and of ratings for the fold-in, that new users state."""
MIN_LIKED = 15
MIN_RATED = 30
"""Lower bounds on the liked or rated movies of users who state some of them."""
FIRST_EVALUATED = 20
"""Position, in a random order of a user's ratings, from which predicted ratings are evaluated."""
Settings = dict[str, dict[str, Any]]


class TrainedModels(NamedTuple):
    """Both models, trained without some users, whose ratings are `split.test`."""

    split: Split
    stars: StarModel
    """With the vector of gender, age and occupation for each user."""
    taste: TasteRanker
    prior: UserPrior

    @classmethod
    def train(cls, data: MovieLens, seed: int) -> "TrainedModels":
        """Trains both models without a tenth of the users."""
        split = new_users_split(data, seed)
        stars, taste = StarModel.train(split, seed=seed), TasteRanker.train(split, seed=seed)
        prior = fit_user_prior(stars.user_vectors, split.train.profiles)
        anonymous = stars.user_vectors[demographic_profile_row(*split.train.profiles[:, 1:].T)]
        return cls(split, stars._replace(user_vectors=anonymous), taste, prior)

    def ranking(self, name: str, stated: Ratings, folded_in: bool = False) -> Ranking:
        """Returns a ranking of `RANKING_WEIGHTS`, with the stated ratings as histories."""
        stars = self.fold_in(stated) if folded_in else self.stars
        user_vectors = stars.user_vectors, self.taste.user_vectors(stated)
        return weighted_sum(RANKING_WEIGHTS[name], user_vectors, (stars.movie_vectors, self.taste.movie_vectors))

    def fold_in(self, stated: Ratings) -> StarModel:
        """Returns the fusion model with the stated ratings folded into the users' vectors."""
        vectors = self.stars.user_vectors.copy()
        for row in np.unique(stated.profile_row):
            _, movie_row, rating = stated.select(stated.profile_row == row)
            vectors[row] = self.prior.posterior_mean(vectors[row], self.stars.movie_vectors[movie_row], rating)
        return self.stars._replace(user_vectors=vectors)


def evaluate_new_users(data: MovieLens, num_splits: int, settings: Settings) -> None:
    """Prints the quality for new users: by demographics alone, and with movies or ratings that they state.

    Args:
        data: The data set.
        num_splits: The number of splits for demographics alone; stated movies are evaluated on the first.
        settings: The settings of EASE and EDLAE, see `load_settings`.
    """
    ratings: list[dict[str, RatingMetrics]] = []
    lists: list[dict[str, ListMetrics]] = []
    gains: list[dict[str, np.ndarray]] = []
    users: list[np.ndarray] = []
    for seed in range(num_splits):
        models = TrainedModels.train(data, seed)
        ratings.append(evaluate_demographic_ratings(models))
        rankings = demographic_rankings(models)
        test = ListTest.of(models.split, exclude=no_ratings(models.split.test))
        found = test.all_top_lists(rankings)
        lists.append({name: test.evaluate(one) for name, one in found.items()})
        gains.append({name: test.hits(one)[1] for name, one in found.items()})
        users.append(test.profile_rows)
        if seed == 0:
            first = models
    print_splits(ratings, lists)
    all_gains = {name: np.concatenate([one[name] for one in gains]) for name in gains[0]}
    print_differences("NDCG@10 of picks, all splits", all_gains.pop("picks"), all_gains, np.concatenate(users))
    likes, rated = with_at_least(liked(first.split.test), MIN_LIKED), with_at_least(first.split.test, MIN_RATED)
    random = np.random.default_rng(0)
    autoencoders = {
        name: (weights_of(first.split.train, **settings[name]), settings[name]["weights"])
        for name, weights_of in (("EASE", ease_weights), ("EDLAE", edlae_weights))
    }
    for number in NUM_LIKED:
        title = f"New users with {MIN_LIKED} liked movies or more, {number} of them stated; first split"
        print_stated_lists(title, first, likes, number, random, autoencoders, has_stars=False)
    for number in NUM_RATED:
        title = f"New users with {MIN_RATED} ratings or more, {number} of them stated; first split"
        print_stated_lists(title, first, rated, number, random, autoencoders, has_stars=True)
    print_fold_in(first)


def print_splits(ratings: list[dict[str, RatingMetrics]], lists: list[dict[str, ListMetrics]]) -> None:
    """Prints the metrics by demographics alone: means over splits, and each split."""
    splits = {f"split {number}": ".4f" for number in range(1, len(ratings) + 1)}
    mean = f"mean of {pluralize(len(ratings), 'split')}"
    title = f"New users by gender, age and occupation: ratings, {mean}, RMSE of each"
    table = Table(title, {"RMSE": ".4f", "MAE": ".4f", **splits}, LISTS_NAME_WIDTH)
    for name in ratings[0]:
        values = [metrics[name] for metrics in ratings]
        table.add(name, *np.mean(values, axis=0), *(metrics.rmse for metrics in values))
    means = {name: ListMetrics(*np.mean([metrics[name] for metrics in lists], axis=0)) for name in lists[0]}
    print_lists(f"New users by gender, age and occupation: lists of all movies, {mean}", means)
    table = Table("New users by gender, age and occupation: NDCG@10 of each split", splits, LISTS_NAME_WIDTH)
    for name in lists[0]:
        table.add(name, *(metrics[name].ndcg for metrics in lists))


def evaluate_demographic_ratings(models: TrainedModels) -> dict[str, RatingMetrics]:
    """Evaluates the predicted ratings of new users, by gender, age and occupation."""
    train, test = models.split.train, models.split.test
    predictions = {
        **demographic_predictions(train.ratings, test, train.profiles[:, 1:]),
        "this model": models.stars.predict(test),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def demographic_rankings(models: TrainedModels) -> dict[str, Ranking]:
    """Returns the rankings for new users, by gender, age and occupation."""
    train, nothing = models.split.train, no_ratings(models.split.test)
    return {
        **{name: models.ranking(name, nothing) for name in RANKING_WEIGHTS},
        "most popular": fit_popularity(train),
        "most popular by gender and age": fit_group_popularity(train),
    }


def no_ratings(ratings: Ratings) -> Ratings:
    """Returns none of some ratings."""
    return ratings.select(np.zeros(len(ratings.rating), bool))


def print_stated_lists(
    title: str,
    models: TrainedModels,
    ratings: Ratings,
    number: int,
    random: np.random.Generator,
    autoencoders: Mapping[str, tuple[np.ndarray, str]],
    has_stars: bool,
) -> None:
    """Prints the metrics of the lists of new users who state some movies, which are not in the lists.

    Args:
        title: The title of the table.
        models: The models, trained without these users.
        ratings: The ratings of these users.
        number: The number of ratings that each states, at random.
        random: The random generator.
        autoencoders: The weights of EASE and EDLAE, float32[movies, movies], and how they weigh a history.
        has_stars: Whether they state stars as with --ratings, which are folded in, or titles as with --like.
    """
    stated, test = split_stated(ratings, number, random)
    if not has_stars:
        stated = as_liked(stated)
    train = models.split.train
    rankings: dict[str, Ranking] = {
        "picks": models.ranking("picks", stated, has_stars),
        "both": models.ranking("both", stated, has_stars),
        "picks, gender, age and occupation alone": models.ranking("picks", no_ratings(stated)),
        **{name: stated_ranking(train, stated, *autoencoder) for name, autoencoder in autoencoders.items()},
        "most popular": fit_popularity(train),
    }
    lists = ListTest.of(models.split, test, stated)
    found = lists.all_top_lists(rankings)
    print_lists(title, {name: lists.evaluate(one) for name, one in found.items()})
    gains = {name: lists.hits(one)[1] for name, one in found.items()}
    print_differences("NDCG@10 of picks", gains.pop("picks"), gains, lists.profile_rows)


def stated_ranking(train: Dataset, stated: Ratings, matrix: np.ndarray, weights: str) -> Ranking:
    """Returns the ranking by stated ratings times a matrix of movies."""
    histories = interactions(train._replace(ratings=stated), weights)
    return lambda rows: histories[rows] @ matrix


def print_fold_in(models: TrainedModels) -> None:
    """Prints the RMSE of predicted ratings by the number of ratings that new users state."""
    ratings = with_at_least(models.split.test, MIN_RATED)
    position = random_positions(ratings.profile_row, np.random.default_rng(0))
    evaluated = ratings.select(position >= FIRST_EVALUATED)

    def rmse(stars: StarModel) -> float:
        predicted = np.clip(stars.predict(evaluated), ratings.rating.min(), 5)
        return rating_metrics(predicted, evaluated.rating).rmse

    numbers = (0, *NUM_FOLDED_IN)
    title = f"New users with {MIN_RATED} ratings or more: RMSE by the number of stated ratings; first split"
    table = Table(title, {str(number): ".4f" for number in numbers}, LISTS_NAME_WIDTH)
    table.add("this model", *(rmse(models.fold_in(ratings.select(position < number))) for number in numbers))
    table.add("this model, gender, age and occupation", *[rmse(models.stars)] * len(numbers))


def as_liked(ratings: Ratings) -> Ratings:
    """Returns ratings with 4 stars each, which weigh as much as a liked movie without stars."""
    return ratings._replace(rating=np.full_like(ratings.rating, RELEVANCE_THRESHOLD))


def liked_split(split: Split, number: int) -> tuple[Ratings, Ratings]:
    """Returns the liked test ratings of users with enough, in some that each states at random, and the rest."""
    likes = with_at_least(liked(split.test), MIN_LIKED)
    stated, rest = split_stated(likes, number, np.random.default_rng(0))
    return as_liked(stated), rest


def split_stated(ratings: Ratings, number: int, random: np.random.Generator) -> tuple[Ratings, Ratings]:
    """Returns some ratings that each user states, at random, and the rest."""
    is_stated = random_positions(ratings.profile_row, random) < number
    return ratings.select(is_stated), ratings.select(~is_stated)


def random_positions(profile_row: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns int64[ratings], the position of each rating, from 0, in a random order of its user's ratings."""
    order = np.lexsort([random.random(len(profile_row)), profile_row])
    ordered = profile_row[order]
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return positions


def with_at_least(ratings: Ratings, minimum: int) -> Ratings:
    """Returns the ratings of users who have at least so many."""
    return ratings.select(np.bincount(ratings.profile_row)[ratings.profile_row] >= minimum)
