"""Reasons: the parts of a question that differ between users, and how much each adds to a movie's place."""

from typing import NamedTuple

import numpy as np

from recommender.films.titles import display_name
from recommender.milvus.collection import MovieCollection
from recommender.movielens.encoding import demographic_profile_row
from recommender.store import SavedModel
from recommender.users import UserProfile, UserVectors, demographic_labels, load_history, new_stars
from recommender.vectors import similar_to, split

MAX_REASONS = 3


class Reason(NamedTuple):
    """A part of the value by which a movie is ranked."""

    label: str
    """A movie of the user's history, or one of their demographics."""
    contribution: float
    """In stars where the ranking is by stars, else in points of Pick, or of similarity."""


class Parts(NamedTuple):
    """The parts of a question that are shown as reasons, without those that all users share."""

    labels: list[str]
    vectors: np.ndarray
    """float[parts, dim], in the layout of a question"""
    kin: np.ndarray | None
    """float32[parts, similar], of movies of a history the question "like this one"; None for demographics."""

    def reasons(self, movie_vector: np.ndarray) -> list[Reason]:
        """Returns what contributes to a movie's place, given its joined vector; largest contribution first.

        Of a history, these are the `MAX_REASONS` movies that contribute to it and are like it: those with the largest
        product of contribution and squared similarity.
        """
        values = self.vectors @ movie_vector
        chosen = np.arange(len(values))
        if self.kin is not None:
            likeness = np.maximum(self.kin @ split(movie_vector)[2], 0)
            # Squared, as otherwise the same few movies are named throughout.
            links = np.maximum(values, 0) * likeness**2
            chosen = np.argsort(-links, kind="stable")[:MAX_REASONS]
            chosen = chosen[values[chosen] > 0]
        chosen = chosen[np.argsort(-values[chosen], kind="stable")]
        return [Reason(self.labels[part], float(values[part])) for part in chosen]


def split_question(model: SavedModel, collection: MovieCollection, profile: UserProfile, ranking: str) -> Parts:
    """Splits a profile's question into movies of the history or, if none counts, into demographics.

    The taste part of a movie or label is what it adds to the taste vector. The rating part is what folding in the
    movie's rating adds or, of a label, the difference from the profile without it.
    """
    if not has_movie_reasons(profile, ranking):
        return _split_by_demographics(model, profile, ranking, collection.dim)
    stored = collection.fetch(profile.history)
    tastes = load_history(model, profile, stored).contributions()[: len(profile.history)]  # [movies, 200]
    vectors = np.zeros((len(profile.history), collection.dim), np.float32)  # Of a movie that left the catalogue: 0.
    records = [model.movies[key] if key not in stored else stored[key].movie for key in profile.history]
    row_of = {movie_id: row for row, movie_id in enumerate(profile.history)}
    for movie_id, found in stored.items():
        vectors[row_of[movie_id]] = found.vector

    ratings = np.zeros_like(tastes)
    if profile.new_ratings:
        rows = [row_of[movie_id] for movie_id in profile.new_ratings]
        own = model.profile_vectors[profile.row]
        ratings[rows] = model.user_prior.contributions(own, split(vectors[rows])[0], new_stars(model, profile))

    kin = similar_to(vectors)
    similar = np.zeros_like(kin)
    rows = [row_of[movie_id] for movie_id in profile.liked]
    similar[rows] = kin[rows] / max(len(stored.keys() & set(profile.liked)), 1)
    labels = [display_name(movie.name) for movie in records]
    return Parts(labels, UserVectors(ratings, tastes, similar).query(ranking), kin)


def has_reasons(model: SavedModel, profile: UserProfile, ranking: str) -> bool:
    """Returns whether anything that is known of a user determines the ranking."""
    has_labels = profile.has_training_ratings or any(index for _, index in demographic_labels(model, profile.row))
    return has_movie_reasons(profile, ranking) or has_labels


def has_movie_reasons(profile: UserProfile, ranking: str) -> bool:
    """Returns whether the reasons are movies of the history, and not demographics."""
    return bool(profile.new_ratings if ranking == "stars" else profile.history)


def _split_by_demographics(model: SavedModel, profile: UserProfile, ranking: str, dim: int) -> Parts:
    """Splits by the known demographics; a user with training ratings has one part more, these."""
    indices = model.profiles[profile.row, 1:]
    known = np.flatnonzero(indices)
    without = np.where(np.eye(len(indices), dtype=bool)[known], 0, indices)  # [known, 3], each without one of them
    anonymous = model.profile_vectors[demographic_profile_row(*indices)]
    ratings = anonymous - model.profile_vectors[demographic_profile_row(*without.T)]
    labels = [label for label, index in demographic_labels(model, profile.row) if index]
    if profile.has_training_ratings:
        labels.append("own ratings")
        ratings = np.vstack([ratings, model.profile_vectors[profile.row] - anonymous])
    tastes = np.zeros_like(ratings)  # With a history, these reasons are for stars alone.
    if not profile.history:
        tastes = load_history(model, profile, {}).contributions()[:-1]
    similar = np.zeros((len(labels), dim - ratings.shape[1] - tastes.shape[1]))
    return Parts(labels, UserVectors(ratings, tastes, similar).query(ranking), None)
