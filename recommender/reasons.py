"""Reasons: the parts of a query vector that differ between users, and how much each adds to a movie's place."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recommender.movielens.encoding import demographic_profile_row
from recommender.films.titles import display_name
from recommender.store import SavedModel
from recommender.users import (
    RANKING_WEIGHTS,
    UserProfile,
    demographic_labels,
    join_vectors,
    load_history,
    split_vectors,
)
from recommender.scoring import COSINE_SCALE

if TYPE_CHECKING:
    from recommender.milvus.collection import MovieCollection

MAX_REASONS = 3


class Reason(NamedTuple):
    """A part of the value by which a movie is ranked."""

    label: str
    """A movie of the user's history, or one of their demographics."""
    contribution: float
    """In stars where the ranking is by stars, else in points of the taste score."""


class Contributions(NamedTuple):
    """The parts of a query vector that are shown as reasons, without those that all users share."""

    vectors: np.ndarray
    """float[parts, 400], in the layout of a query vector"""
    label: Callable[[int], str]
    """Returns the label of a part."""
    largest_only: bool
    """Whether the `MAX_REASONS` largest positive parts are reasons, or all parts."""

    def reasons(self, movie_vector: np.ndarray) -> list[Reason]:
        """Returns what contributes to a movie's place, given its float32[400]; largest contribution first."""
        values = self.vectors @ movie_vector
        order = np.argsort(-values, kind="stable").tolist()
        if self.largest_only:
            order = [part for part in order[:MAX_REASONS] if values[part] > 0]
        return [Reason(self.label(part), float(values[part])) for part in order]


def split_query(model: SavedModel, collection: "MovieCollection", profile: UserProfile, ranking: str) -> Contributions:
    """Splits a profile's query vector into movies of the history or, if none counts, into demographics.

    The taste half of a part is what the movie or label adds to the taste vector. The rating half is what folding in the
    movie's rating adds or, of a label, the difference from the profile without it.
    """
    rating_weight, taste_weight = RANKING_WEIGHTS[ranking]
    if ranking == "stars":
        rating_weight = COSINE_SCALE
    movie_ids = list(profile.history)
    taste_parts = taste_weight * load_history(model, collection, profile).contributions()
    if _is_by_movies(profile, ranking):
        rating_parts = rating_weight * _folded_in_parts(model, collection, profile)
        vectors = join_vectors(rating_parts, taste_parts[: len(movie_ids)])
        return Contributions(vectors, lambda part: _movie_name(model, collection, movie_ids[part]), True)
    labels, differences = _demographic_parts(model, profile)
    stated_parts = taste_parts[len(movie_ids) : -1]
    label_parts = np.zeros_like(differences)
    label_parts[: len(stated_parts)] = stated_parts
    return Contributions(join_vectors(rating_weight * differences, label_parts), labels.__getitem__, False)


def has_reasons(model: SavedModel, profile: UserProfile, ranking: str) -> bool:
    """Returns whether anything that is known of a user determines the ranking."""
    return _is_by_movies(profile, ranking) or bool(_demographic_parts(model, profile)[0])


def _is_by_movies(profile: UserProfile, ranking: str) -> bool:
    """Returns whether the reasons are movies of the history, and not demographics."""
    return bool(profile.new_ratings if ranking == "stars" else profile.history)


def _folded_in_parts(model: SavedModel, collection: "MovieCollection", profile: UserProfile) -> np.ndarray:
    """Returns float[history, 200], by how much each new rating moves the rating vector; 0 for other movies."""
    own_vector = model.profile_vectors[profile.row]
    parts = np.zeros((len(profile.history), len(own_vector)))
    if profile.new_ratings:
        stored = collection.fetch_all(profile.new_ratings)
        rated = np.array([split_vectors(stored[movie_id].vector)[0] for movie_id in profile.new_ratings])
        row_of = {movie_id: row for row, movie_id in enumerate(profile.history)}
        rows = [row_of[movie_id] for movie_id in profile.new_ratings]
        parts[rows] = model.user_prior.contributions(own_vector, rated, profile.stars(model))
    return parts


def _demographic_parts(model: SavedModel, profile: UserProfile) -> tuple[list[str], np.ndarray]:
    """Returns the stated demographics and, float[labels, 200], what each changes in the rating vector.

    A user with training ratings has one part more, these: the difference from the profile without id.
    """
    indices = model.profiles[profile.row, 1:]
    anonymous = model.profile_vectors[demographic_profile_row(*indices)]
    labels, parts = [], []
    for column, (label, index) in enumerate(demographic_labels(model, profile.row)):
        if index:
            others = np.where(np.arange(len(indices)) == column, 0, indices)
            labels.append(label)
            parts.append(anonymous - model.profile_vectors[demographic_profile_row(*others)])
    if profile.has_training_ratings:
        labels.append("own ratings")
        parts.append(model.profile_vectors[profile.row] - anonymous)
    return labels, np.array(parts).reshape(len(parts), len(anonymous))


def _movie_name(model: SavedModel, collection: "MovieCollection", movie_id: int) -> str:
    """Returns a movie's name; of a movie that the catalogue no longer has, its name in the training data."""
    stored = collection.fetch([movie_id])
    movie = stored[movie_id].movie if stored else model.movies[movie_id]
    return display_name(movie.name)
