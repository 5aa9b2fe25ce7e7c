"""From a profile and a query to recommendations and their reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recommender.movielens.encoding import INDEX_DIM
from recommender.movielens.catalogue import Movie
from recommender.reasons import Contributions, Reason, split_query
from recommender.store import SavedModel
from recommender.rerank import diversify, fuse_ranks, normalize_rows, num_candidates
from recommender.users import RANKING_WEIGHTS, UserProfile, join_vectors, load_history, split_vectors
from recommender.scoring import COSINE_SCALE

if TYPE_CHECKING:
    from recommender.milvus.collection import MovieCollection, StoredMovie

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
    variety: float = 0
    """0 to 1, see `diversify`; 0 is the order of the ranking."""


class Recommendation(NamedTuple):
    """A recommended movie."""

    movie: Movie
    num_ratings: int
    """Number of training ratings."""
    predicted_rating: float
    """Stars."""
    taste_score: float
    """Trained towards `RATING_WEIGHTS`, such as 1 for a movie that the user rates 4 stars, and 0 for all not rated."""
    reasons: list[Reason]
    """Largest contribution first."""


class UserVectors(NamedTuple):
    """The vectors of one profile."""

    rating: np.ndarray
    """float32[200], of unit length unless new ratings are folded in"""
    taste: np.ndarray
    """float32[200]"""

    def query(self, ranking: str) -> np.ndarray:
        """Returns float32[400], the query vector, whose inner product with a movie's vector is what ranks the movie."""
        rating_weight, taste_weight = RANKING_WEIGHTS[ranking]
        return join_vectors(rating_weight * self.rating, taste_weight * self.taste)


def recommend(
    model: SavedModel, collection: "MovieCollection", profiles: Iterable[UserProfile], query: Query
) -> Iterator[list[Recommendation]]:
    """Finds the best movies for each of some profiles; reads `USER_BATCH` profiles at a time.

    Args:
        model: The saved model.
        collection: The movie collection to search.
        profiles: Whom to recommend for.
        query: Ranking, k and filter.

    Yields:
        Each profile's recommendations, best first.
    """
    depth = num_candidates(query.k) if query.variety else query.k
    remaining = iter(profiles)
    while batch := list(islice(remaining, USER_BATCH)):
        collection.fetch({movie_id for profile in batch for movie_id in profile.new_ratings})  # All in one read.
        users = [compute_vectors(model, collection, profile) for profile in batch]
        queries = np.array([user.query(query.ranking) for user in users])
        found = collection.search(queries, depth, query.filter, [profile.exclude_ids for profile in batch])
        stored = collection.fetch({hit.movie_id for hits in found for hit in hits})
        for profile, user, hits in zip(batch, users, found, strict=True):
            movies = [stored[hit.movie_id] for hit in hits if hit.movie_id in stored]
            if query.variety:
                order = diversify(user.query(query.ranking), join_rows(movies), query.variety, query.k)
                movies = [movies[position] for position in order]
            parts = split_query(model, collection, profile, query.ranking) if query.explain else None
            yield [_to_recommendation(model, profile, user, movie, parts) for movie in movies]


def recommend_together(
    model: SavedModel, collection: "MovieCollection", profiles: Sequence[UserProfile], query: Query
) -> list[list[Recommendation]]:
    """Finds the best movies for several users together: one search for the mean of their queries, then ranks fused.

    Args:
        model: The saved model.
        collection: The movie collection to search.
        profiles: The users; movies that any of them has seen are excluded.
        query: Ranking, k and filter.

    Returns:
        Of each movie, best first, one recommendation per user.
    """
    users = [compute_vectors(model, collection, profile) for profile in profiles]
    queries = np.array([user.query(query.ranking) for user in users])
    exclude_ids = excluded_for_any(profiles)
    [hits] = collection.search(queries.mean(0)[None], num_candidates(query.k), query.filter, [exclude_ids])
    stored = collection.fetch(hit.movie_id for hit in hits)
    candidates = [stored[hit.movie_id] for hit in hits if hit.movie_id in stored]
    order = fuse_ranks(queries @ join_rows(candidates).T)
    best = [candidates[position] for position in order[: query.k]]
    pairs = list(zip(profiles, users, strict=True))
    return [[_to_recommendation(model, profile, user, movie, None) for profile, user in pairs] for movie in best]


def excluded_for_any(profiles: Iterable[UserProfile]) -> frozenset[int]:
    """Returns the ids of movies that are not recommended to one of some users."""
    return frozenset[int]().union(*(profile.exclude_ids for profile in profiles))


def taste_similarities(model: SavedModel, collection: "MovieCollection", profiles: Sequence[UserProfile]) -> np.ndarray:
    """Returns float64[profiles, profiles], how alike tastes are: -1 to 1, 0 if they share only what everyone likes.

    It is the cosine of those parts of the taste vectors that are orthogonal to the vector of an unknown user.
    """
    anyone = UserProfile.from_demographics(model)
    tastes = np.array([compute_vectors(model, collection, profile).taste for profile in (anyone, *profiles)], float)
    [average], tastes = np.split(normalize_rows(tastes), [1])
    unit = normalize_rows(tastes - np.outer(tastes @ average, average))
    similarities: np.ndarray = unit @ unit.T
    return similarities


def join_rows(movies: Sequence["StoredMovie"]) -> np.ndarray:
    """Returns float32[movies, 400], the vectors of movies."""
    return np.array([movie.vector for movie in movies]).reshape(-1, INDEX_DIM)


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


def compute_vectors(model: SavedModel, collection: "MovieCollection", profile: UserProfile) -> UserVectors:
    """Returns the rating vector and the taste vector of a profile.

    Raises:
        MilvusError: A movie that the user rated is not in the collection.
    """
    rated = collection.fetch_all(profile.new_ratings)
    movie_vectors = {movie_id: split_vectors(stored.vector)[0] for movie_id, stored in rated.items()}
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
