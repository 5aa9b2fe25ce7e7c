"""Quality for users that training has not seen: tables of `evaluate.py`."""

from typing import NamedTuple

import numpy as np
from baselines import demographic_predictions, ease_weights
from rankings import LISTS_NAME_WIDTH, ListMetrics, evaluate_top_lists, liked, most_popular, print_lists, weighted_sum
from tables import Table

from recommender.data.dataset import Ratings, Split, split_and_encode
from recommender.data.features import DEMOGRAPHIC_SIZES, demographic_profile_row
from recommender.data.movielens import MovieLens
from recommender.errors import pluralize
from recommender.evaluation.metrics import Ranking, RatingMetrics, interaction_mask, rating_metrics
from recommender.inference.user_vectors import RANKING_WEIGHTS, TasteParameters, UserPrior, fit_user_prior
from recommender.models.embed import embed_movies, embed_profiles
from recommender.scoring import predict_ratings
from recommender.training.taste import TasteConfig, taste_vectors, train_taste
from recommender.training.two_tower import TrainConfig, train_model

NEW_SHARE = 0.1
"""Share of the users that training does not see."""
NUM_LIKED = (1, 3, 5, 10)
NUM_RATED = (5, 10)
NUM_FOLDED_IN = (3, 5, 10, 20)
"""Numbers of liked movies, of rated movies, and of ratings for the fold-in, that new users state."""
MIN_LIKED = 15
MIN_RATED = 30
"""Lower bounds on the liked or rated movies of users who state some of them."""
FIRST_EVALUATED = 20
"""Position, in a random order of a user's ratings, from which predicted ratings are evaluated."""


class TrainedModels(NamedTuple):
    """Both models, trained without some users, whose ratings are `split.test`."""

    split: Split
    taste: TasteParameters
    prior: UserPrior
    rating_vectors: np.ndarray
    """float32[profiles, 200], each user's as that of gender, age and occupation"""
    movie_vectors: tuple[np.ndarray, np.ndarray]
    """float32[movies, 200] twice, rating vectors and taste vectors"""

    @property
    def num_movies(self) -> int:
        """Number of movies."""
        return len(self.movie_vectors[0])

    def ranking(self, name: str, stated: Ratings, folded_in: bool = False) -> Ranking:
        """Returns a ranking of `RANKING_WEIGHTS`, with the stated ratings as histories."""
        rating_vectors = self.fold_in(stated) if folded_in else self.rating_vectors
        user_vectors = rating_vectors, self.taste_vectors(stated)
        return weighted_sum(RANKING_WEIGHTS[name], user_vectors, self.movie_vectors)

    def taste_vectors(self, stated: Ratings) -> np.ndarray:
        """Returns float32[profiles, 200], the taste vectors with the stated ratings as histories."""
        return taste_vectors(self.split.train._replace(ratings=stated), self.split.vocabularies, self.taste)

    def fold_in(self, stated: Ratings) -> np.ndarray:
        """Returns float32[profiles, 200], the rating vectors with the stated ratings folded in."""
        vectors = self.rating_vectors.copy()
        for row in np.unique(stated.profile_row):
            _, movie_row, rating = stated.select(stated.profile_row == row)
            vectors[row] = self.prior.posterior_mean(vectors[row], self.movie_vectors[0][movie_row], rating)
        return vectors

    def predict(self, rating_vectors: np.ndarray, ratings: Ratings) -> np.ndarray:
        """Returns float32[ratings], predicted ratings."""
        return predict_ratings(rating_vectors, self.movie_vectors[0], ratings.profile_row, ratings.movie_row)


def train_without_new_users(data: MovieLens, seed: int) -> TrainedModels:
    """Trains both models without a tenth of the users."""
    is_new = np.random.default_rng(seed).random(len(data.users)) < NEW_SHARE
    user_ids = np.array(sorted(user.user_id for user in data.users))
    split = split_and_encode(data, is_new[np.searchsorted(user_ids, data.ratings.user_id)])
    train = split.train
    config = TrainConfig.for_ratings(len(train.ratings.rating), seed=seed)
    model = train_model(train, split.vocabularies, config).model
    taste = train_taste(train, split.vocabularies, TasteConfig(seed=seed))
    profile_vectors = embed_profiles(model.user_tower, train.profiles)
    return TrainedModels(
        split,
        taste,
        fit_user_prior(profile_vectors, train.profiles),
        profile_vectors[demographic_profile_row(*train.profiles[:, 1:].T)],
        (
            embed_movies(model.movie_tower, train.movies),
            taste.outputs.lookup(train.movies, split.vocabularies.genres.size),
        ),
    )


def evaluate_new_users(data: MovieLens, num_splits: int) -> None:
    """Prints the quality for new users: by demographics alone, and with movies or ratings that they state."""
    ratings: list[dict[str, RatingMetrics]] = []
    lists: list[dict[str, ListMetrics]] = []
    for seed in range(num_splits):
        models = train_without_new_users(data, seed)
        ratings.append(evaluate_demographic_ratings(models))
        lists.append(evaluate_demographic_lists(models))
        if seed == 0:
            first = models
    print_splits(ratings, lists)
    likes, rated = with_at_least(liked(first.split.test), MIN_LIKED), with_at_least(first.split.test, MIN_RATED)
    random = np.random.default_rng(0)
    for number in NUM_LIKED:
        title = f"New users with {MIN_LIKED} liked movies or more, {number} of them stated; first split"
        print_lists(title, evaluate_stated_lists(first, likes, number, random, has_stars=False))
    for number in NUM_RATED:
        title = f"New users with {MIN_RATED} ratings or more, {number} of them stated; first split"
        print_lists(title, evaluate_stated_lists(first, rated, number, random, has_stars=True))
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
        "this model": models.predict(models.rating_vectors, test),
    }
    return {name: rating_metrics(predicted, test.rating) for name, predicted in predictions.items()}


def evaluate_demographic_lists(models: TrainedModels) -> dict[str, ListMetrics]:
    """Evaluates the lists of new users, by gender, age and occupation."""
    train, test = models.split.train, models.split.test
    nothing = test.select(np.zeros(len(test.rating), bool))
    likes = liked(train.ratings)
    group = np.ravel_multi_index(train.profiles[:, 1:3].T, DEMOGRAPHIC_SIZES[:2])
    counts = np.zeros((group.max() + 1, models.num_movies))
    np.add.at(counts, (group[likes.profile_row], likes.movie_row), 1)
    rankings: dict[str, Ranking] = {
        **{name: models.ranking(name, nothing) for name in RANKING_WEIGHTS},
        "most popular": most_popular(train.ratings, models.num_movies),
        "most popular by gender and age": lambda rows: counts[group[rows]],
    }
    return evaluate_top_lists(rankings, nothing, test, models.num_movies)


def evaluate_stated_lists(
    models: TrainedModels, ratings: Ratings, number: int, random: np.random.Generator, has_stars: bool
) -> dict[str, ListMetrics]:
    """Evaluates the lists of new users who state some movies, which are not in the lists.

    Args:
        models: The models, trained without these users.
        ratings: The ratings of these users.
        number: The number of ratings that each states, at random.
        random: The random generator.
        has_stars: Whether they state stars as with --ratings, which are folded in, or titles as with --like.
    """
    is_stated = random_positions(ratings.profile_row, random) < number
    stated, test = ratings.select(is_stated), ratings.select(~is_stated)
    nothing = stated.select(np.zeros(len(stated.rating), bool))
    train, num_movies = models.split.train.ratings, models.num_movies
    weights = ease_weights(graded_interactions(train, np.arange(len(models.rating_vectors)), num_movies))
    rankings: dict[str, Ranking] = {
        "picks": models.ranking("picks", stated, has_stars),
        "both": models.ranking("both", stated, has_stars),
        "picks, gender, age and occupation alone": models.ranking("picks", nothing),
        "EASE": lambda rows: graded_interactions(stated, rows, num_movies).astype(np.float32) @ weights,
        "most popular": most_popular(train, num_movies),
    }
    return evaluate_top_lists(rankings, stated, test, num_movies)


def graded_interactions(ratings: Ratings, profile_rows: np.ndarray, num_movies: int) -> np.ndarray:
    """Returns float64[profiles, movies]: 1 for a liked movie, 0.5 for another rated one, else 0."""
    rated, likes = (interaction_mask(rows, profile_rows, num_movies) for rows in (ratings, liked(ratings)))
    return 0.5 * rated + 0.5 * likes


def print_fold_in(models: TrainedModels) -> None:
    """Prints the RMSE of predicted ratings by the number of ratings that new users state."""
    ratings = with_at_least(models.split.test, MIN_RATED)
    position = random_positions(ratings.profile_row, np.random.default_rng(0))
    evaluated = ratings.select(position >= FIRST_EVALUATED)

    def rmse(rating_vectors: np.ndarray) -> float:
        predicted = np.clip(models.predict(rating_vectors, evaluated), 1, 5)
        return rating_metrics(predicted, evaluated.rating).rmse

    numbers = (0, *NUM_FOLDED_IN)
    title = f"New users with {MIN_RATED} ratings or more: RMSE by the number of stated ratings; first split"
    table = Table(title, {str(number): ".4f" for number in numbers}, LISTS_NAME_WIDTH)
    table.add("this model", *(rmse(models.fold_in(ratings.select(position < number))) for number in numbers))
    table.add("this model, gender, age and occupation", *[rmse(models.rating_vectors)] * len(numbers))


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
