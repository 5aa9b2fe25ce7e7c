"""From a profile and a query to recommendations and their reasons."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recommender.data.movielens import Movie
from recommender.inference.explain import Contributions, Reason, split_query
from recommender.inference.model_folder import SavedModel
from recommender.inference.user_vectors import RANKING_WEIGHTS, UserProfile, join_vectors, load_history, split_vectors
from recommender.scoring import COSINE_SCALE

if TYPE_CHECKING:
    from recommender.index.collection import MovieCollection, StoredMovie

USER_BATCH = 1000
"""Number of profiles that are searched for at once."""


class Query(NamedTuple):
    """What to recommend."""

    ranking: str
    """A key of `RANKING_WEIGHTS`."""
    k: int
    """Number of movies."""
    filter: str = ""
    """An expression from `MovieCollection.build_filter`."""
    explain: bool = False
    """Whether to give reasons."""


class Recommendation(NamedTuple):
    """A recommended movie."""

    movie: Movie
    num_ratings: int
    """Number of training ratings."""
    predicted_rating: float
    """Stars."""
    taste_score: float
    """Trained towards 0.5, 1 and 1.5 for movies that the user rates 3, 4 and 5 stars, and 0 for all others."""
    reasons: list[Reason]
    """Largest contribution first."""


class UserVectors(NamedTuple):
    """The vectors of one profile."""

    rating: np.ndarray
    """float32[200], of unit length unless new ratings are folded in"""
    taste: np.ndarray
    """float32[200]"""


def recommend(
    model: SavedModel, collection: "MovieCollection", profiles: Sequence[UserProfile], query: Query
) -> Iterator[list[Recommendation]]:
    """Finds the best movies for each of some profiles, `USER_BATCH` profiles at a time.

    Args:
        model: The saved model.
        collection: The movie collection to search.
        profiles: Whom to recommend for.
        query: Ranking, k and filter.

    Yields:
        Each profile's recommendations, best first.
    """
    weights = RANKING_WEIGHTS[query.ranking]
    for start in range(0, len(profiles), USER_BATCH):
        batch = profiles[start : start + USER_BATCH]
        collection.fetch({movie_id for profile in batch for movie_id in profile.new_ratings})
        vectors = [user_vectors(model, collection, profile) for profile in batch]
        queries = np.array([join_vectors(weights[0] * user.rating, weights[1] * user.taste) for user in vectors])
        found = collection.search(queries, query.k, query.filter, [profile.exclude_ids for profile in batch])
        stored = collection.fetch({hit.movie_id for hits in found for hit in hits})
        for profile, user, hits in zip(batch, vectors, found, strict=True):
            movies = [stored[hit.movie_id] for hit in hits if hit.movie_id in stored]
            parts = split_query(model, collection, profile, query.ranking) if query.explain else None
            yield [_to_recommendation(model, profile, user, movie, parts) for movie in movies]


def _to_recommendation(
    model: SavedModel, profile: UserProfile, user: UserVectors, stored: "StoredMovie", parts: Contributions | None
) -> Recommendation:
    rating_vector, taste_vector = split_vectors(stored.vector)
    return Recommendation(
        stored.movie,
        stored.num_ratings,
        predict_rating(model, profile, user.rating, rating_vector),
        float(user.taste @ taste_vector),
        parts.reasons(stored.vector) if parts else [],
    )


def user_vectors(model: SavedModel, collection: "MovieCollection", profile: UserProfile) -> UserVectors:
    """Returns the rating vector and the taste vector of a profile."""
    movie_vectors = {
        movie_id: split_vectors(stored.vector)[0] for movie_id, stored in collection.fetch(profile.new_ratings).items()
    }
    rating = rating_vector(model, profile, model.profile_vectors[profile.row], movie_vectors)
    return UserVectors(rating, load_history(model, collection, profile).vector())


def rating_vector(
    model: SavedModel, profile: UserProfile, profile_vector: np.ndarray, movie_vectors: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Returns float32[200], the vector that predicts a user's ratings.

    Args:
        model: The saved model.
        profile: The user.
        profile_vector: float32[200], the user tower's vector for `profile.row`
        movie_vectors: float32[200] by id, the rating vectors of the movies in `profile.new_ratings`
    """
    if not profile.new_ratings:
        return profile_vector
    rated = np.array([movie_vectors[movie_id] for movie_id in profile.new_ratings])
    return model.user_prior.posterior_mean(profile_vector, rated, profile.stars(model))


def predict_rating(model: SavedModel, profile: UserProfile, user_vector: np.ndarray, movie_vector: np.ndarray) -> float:
    """Returns the predicted rating in stars; with new ratings it is clipped, as the vector may be longer than 1."""
    rating = COSINE_SCALE * float(user_vector @ movie_vector)
    return min(max(rating, model.min_rating), COSINE_SCALE) if profile.new_ratings else rating
