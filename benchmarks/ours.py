"""Both models of the project, trained on any split, and the splits that settings are chosen on."""

from typing import Any, NamedTuple

import numpy as np

from recommender.movielens.split import Ratings, Split, held_out_rows, split_and_encode
from recommender.movielens.releases import MovieLens
from recommender.evaluation.evaluate import weighted_sum
from recommender.evaluation.metrics import Ranking, rating_metrics
from recommender.users import RANKING_WEIGHTS, TasteParameters
from recommender.stars.embed import embed_movies, embed_profiles
from recommender.scoring import predict_ratings
from recommender.picks.taste_training import TasteConfig, taste_vectors, train_taste
from recommender.stars.fusion_training import TrainConfig, train_model

VALIDATION_SHARE = 0.1
NEW_SHARE = 0.1
"""Share of the users that a split of new users holds out."""
NUM_TEST_SPLITS = 3
"""Splits of new users that are for testing; settings are chosen on users that none of them holds out."""
VALIDATION_SEED = 100


class StarModel(NamedTuple):
    """A trained fusion model."""

    user_vectors: np.ndarray
    """float32[profiles, 200]"""
    movie_vectors: np.ndarray
    """float32[movies, 200]"""

    @classmethod
    def train(cls, split: Split, **settings: Any) -> "StarModel":
        """Trains on the training rows of a split; `settings` are fields of `TrainConfig`."""
        config = TrainConfig.for_ratings(len(split.train.ratings.rating), **settings)
        model = train_model(split.train, split.vocabularies, config).model
        return cls(
            embed_profiles(model.user_tower, split.train.profiles), embed_movies(model.movie_tower, split.train.movies)
        )

    def predict(self, ratings: Ratings) -> np.ndarray:
        """Returns float32[ratings], predicted ratings in stars."""
        return predict_ratings(self.user_vectors, self.movie_vectors, ratings.profile_row, ratings.movie_row)

    def rmse(self, ratings: Ratings) -> float:
        """Returns the root mean squared error on some ratings, in stars."""
        return rating_metrics(self.predict(ratings), ratings.rating).rmse


class TasteRanker(NamedTuple):
    """A trained taste model with the data that it was trained on."""

    split: Split
    parameters: TasteParameters
    movie_vectors: np.ndarray
    """float32[movies, 200]"""

    @classmethod
    def train(cls, split: Split, **settings: Any) -> "TasteRanker":
        """Trains on the training rows of a split; `settings` are fields of `TasteConfig`."""
        taste = train_taste(split.train, split.vocabularies, TasteConfig(**settings))
        return cls(split, taste, taste.outputs.lookup(split.train.movies, split.vocabularies.genres.size))

    def user_vectors(self, histories: Ratings | None = None) -> np.ndarray:
        """Returns float32[profiles, 200], by default with the training ratings as histories."""
        train = self.split.train if histories is None else self.split.train._replace(ratings=histories)
        return taste_vectors(train, self.split.vocabularies, self.parameters)

    def ranking(self, histories: Ratings | None = None) -> Ranking:
        """Returns the ranking by picks."""
        users = self.user_vectors(histories)
        return lambda rows: users[rows] @ self.movie_vectors.T


def both_ranking(stars: StarModel, taste: TasteRanker) -> Ranking:
    """Returns the ranking by stars and picks, as one search in Milvus ranks."""
    users, movies = (stars.user_vectors, taste.user_vectors()), (stars.movie_vectors, taste.movie_vectors)
    return weighted_sum(RANKING_WEIGHTS["both"], users, movies)


def test_split(data: MovieLens) -> Split:
    """Returns the default split of `train.py`."""
    return split_and_encode(data, held_out_rows(len(data.ratings)))


def validation_split(data: MovieLens) -> Split:
    """Returns the training rows of the default split, of which a tenth are for choosing settings."""
    train = data.ratings[~held_out_rows(len(data.ratings))].reset_index(drop=True)
    is_validation = np.random.default_rng(0).random(len(train)) < VALIDATION_SHARE
    return split_and_encode(data._replace(ratings=train), is_validation)


def new_users_split(data: MovieLens, seed: int) -> Split:
    """Returns a split that holds out a tenth of the users with all their ratings."""
    return _split_users(data, is_new_user(data, seed))


def new_users_validation_split(data: MovieLens) -> Split:
    """Returns a split of users that are in no split for testing, for choosing settings."""
    is_tested = np.any([is_new_user(data, seed) for seed in range(NUM_TEST_SPLITS)], axis=0)
    return _split_users(data, is_new_user(data, VALIDATION_SEED) & ~is_tested)


def is_new_user(data: MovieLens, seed: int) -> np.ndarray:
    """Returns bool[users], True for those that a split holds out."""
    return np.random.default_rng(seed).random(len(data.users)) < NEW_SHARE


def _split_users(data: MovieLens, is_new: np.ndarray) -> Split:
    user_ids = np.array(sorted(user.user_id for user in data.users))
    return split_and_encode(data, is_new[np.searchsorted(user_ids, data.ratings.user_id)])
