"""Who asks: a profile of what is known of a user, and the question that it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from recommender.errors import UsageError
from recommender.films.matching import FilmHistory
from recommender.milvus.collection import StoredMovie
from recommender.movielens.encoding import (
    AGE_LABELS,
    GENDER_LABELS,
    OCCUPATIONS,
    UNKNOWN,
    demographic_profile_row,
    encode_movies,
)
from recommender.picks.taste import (
    LIKED_WEIGHT,
    SEEN_WEIGHT,
    History,
    anyone_share,
    history_weights,
    known_demographics,
)
from recommender.store import SavedModel
from recommender.vectors import RANKINGS, join, similar_to, split

DEMOGRAPHIC_LABELS = (("anyone", *GENDER_LABELS), ("any age", *AGE_LABELS), ("any job", *OCCUPATIONS))
"""Labels of gender, age and occupation by index; index 0 is "unknown"."""
StoredMovies = Mapping[int, StoredMovie]
"""Movies of the catalogue by id."""
ANYONE_ROW = 0
"""The profile row of a user of whom nothing is known."""
FEW_LIKED = 10
"""Number of liked films up to which they are asked about one by one, and not taken for a taste."""


@dataclass(frozen=True)
class UserProfile:
    """Whom to recommend for: demographics or a user of the training data, and what is known of their taste."""

    row: int
    """The profile's row in the model."""
    description: str
    user_id: int | None = None
    """The id of a user of the training data."""
    history: Mapping[int, float] = field(default_factory=dict)
    """Weights of the movies in the user's history by id, see `history_weights`."""
    new_ratings: Mapping[int, float] = field(default_factory=dict)
    """Stars by movie id of ratings that training has not seen; they are folded into the rating vector."""
    exclude_ids: frozenset[int] = frozenset()
    """Ids of movies that are not recommended."""
    has_training_ratings: bool = False
    """Whether the rating vector is trained on the user's own ratings."""

    @classmethod
    def from_user(cls, model: SavedModel, user_id: int, include_seen: bool = False) -> "UserProfile":
        """Returns the profile of a user of the training data, with their training ratings as history.

        Raises:
            ModelError: There is no such user.
        """
        row = model.profile_row(user_id)
        ratings = model.ratings_of(user_id)
        ratings = ratings[~ratings["held_out"]]
        weights = history_weights(ratings["rating"])
        history = dict(zip(ratings["movie_id"].tolist(), weights.tolist(), strict=True))
        exclude_ids = frozenset[int]() if include_seen else frozenset(history)
        return cls(row, f"user {user_id}: {_describe(model, row)}", user_id, history, {}, exclude_ids, bool(history))

    @classmethod
    def from_demographics(
        cls, model: SavedModel, gender: int | None = None, age: int | None = None, occupation: int | None = None
    ) -> "UserProfile":
        """Returns the profile of a new user; each label is numbered from 0, and None is unknown.

        Raises:
            UsageError: The training data have no demographics, so that these profiles are not trained.
        """
        if not model.facts.has_demographics and (gender, age, occupation) != (None, None, None):
            problem = "this model was trained on data without age, gender and job; leave them out"
            raise UsageError(f"{problem}, or train on ml-1m or ml-100k")
        indices = [0 if label is None else 1 + label for label in (gender, age, occupation)]
        row = int(demographic_profile_row(*np.array(indices)))
        return cls(row, _describe(model, row))

    @property
    def liked(self) -> list[int]:
        """The ids of the movies in the history that the user likes."""
        return [movie_id for movie_id, weight in self.history.items() if weight >= LIKED_WEIGHT]

    @property
    def default_ranking(self) -> str:
        """The key of `RANKINGS` that suits what is known: ratings, a few liked films alone, other films, or neither."""
        if self.new_ratings or self.has_training_ratings:
            return "both"
        if 0 < len(self.liked) == len(self.history) <= FEW_LIKED and self.row == ANYONE_ROW:
            return "similar"
        return "picks" if self.history else "stars"

    def with_films(self, films: FilmHistory) -> "UserProfile":
        """Returns the profile with films that the user rated, liked, or has seen, and that are not recommended.

        A rated film that the profile has already weighs at least 1 if it is liked besides and at most 0.5 if seen. Its
        rating still counts for the rating vector.
        """
        history = dict(self.history)
        history |= {movie_id: min(history.get(movie_id, SEEN_WEIGHT), SEEN_WEIGHT) for movie_id in films.seen}
        weights = history_weights(np.array([*films.rated.values()], np.float32))
        history |= zip(films.rated, weights.tolist(), strict=True)
        history |= {movie_id: max(history.get(movie_id, 0), LIKED_WEIGHT) for movie_id in films.liked}
        new_ratings = {**self.new_ratings, **films.rated}
        exclude_ids = self.exclude_ids | films.exclude | films.watched
        return replace(self, history=history, new_ratings=new_ratings, exclude_ids=exclude_ids)


class UserVectors(NamedTuple):
    """What a profile is worth in the three parts of the joined vector."""

    rating: np.ndarray
    """float32[200]; with new ratings folded in, if there are any"""
    taste: np.ndarray
    """float32[200], less a share of anyone's taste, see `anyone_share`"""
    similar: np.ndarray
    """float32[similar], the mean of the questions "like this one" of the liked movies"""

    def query(self, ranking: str) -> np.ndarray:
        """Returns float32[dim], the question whose inner product with a movie's joined vector ranks the movie."""
        return join(*(weight * part for weight, part in zip(RANKINGS[ranking], self, strict=True)))


def needed_movies(model: SavedModel, profile: UserProfile, ranking: str) -> set[int]:
    """Returns the ids of the movies that `encode_user` reads for a ranking."""
    movie_ids = np.fromiter(profile.history, np.int64, len(profile.history))
    unknown = movie_ids[model.movie_idx(movie_ids) == UNKNOWN].tolist()
    return {*profile.new_ratings, *unknown, *(profile.liked if ranking == "similar" else ())}


def encode_user(
    model: SavedModel, profile: UserProfile, stored: StoredMovies, dim: int, novelty: float, is_personal: bool
) -> UserVectors:
    """Returns a profile's vectors.

    Args:
        model: The saved model.
        profile: The user.
        stored: At least the movies in `needed_movies` that are in the catalogue, by id.
        dim: The length of a joined vector.
        novelty: See `anyone_share`.
        is_personal: Whether that share grows with the history; else it is `novelty` alone.
    """
    rated = [split(stored[movie_id].vector)[0] for movie_id in profile.new_ratings]
    rating = rating_vector(model, profile, model.profile_vectors[profile.row], rated)
    history = load_history(model, profile, stored)
    anyone = load_history(model, UserProfile(ANYONE_ROW, ""), {})
    share = anyone_share(history.squared_norm, novelty) if is_personal else novelty
    liked = np.reshape([stored[movie_id].vector for movie_id in profile.liked if movie_id in stored], (-1, dim))
    similar = similar_to(liked).sum(0) / max(len(liked), 1)
    return UserVectors(rating, history.vector() - share * anyone.vector(), similar)


def rating_vector(model: SavedModel, profile: UserProfile, own: np.ndarray, rated: Sequence[np.ndarray]) -> np.ndarray:
    """Returns float32[200], the vector that predicts a user's ratings: the new ones are folded in.

    Args:
        model: The saved model.
        profile: The user.
        own: float32[200], the user tower's vector of the profile
        rated: float32[200] each, the rating vectors of the movies in `new_ratings`
    """
    if not profile.new_ratings:
        return own
    return model.user_prior.posterior_mean(own, np.array(rated), new_stars(model, profile))


def new_stars(model: SavedModel, profile: UserProfile) -> np.ndarray:
    """Returns float[ratings], the new ratings on the scale of the training data."""
    return np.fromiter(profile.new_ratings.values(), float).clip(min=model.facts.min_rating)


def load_history(model: SavedModel, profile: UserProfile, stored: StoredMovies) -> History:
    """Returns a profile's history with the embeddings of its movies and demographics.

    Args:
        model: The saved model.
        profile: The user.
        stored: At least the movies without training ratings, by id.
    """
    movie_ids = np.fromiter(profile.history, np.int64, len(profile.history))
    movie_idx = model.movie_idx(movie_ids)
    embeddings = np.array(model.taste.inputs.by_id[movie_idx])
    unknown = np.flatnonzero(movie_idx == UNKNOWN)
    if len(unknown):
        movies = [stored[movie_id].movie for movie_id in movie_ids[unknown].tolist()]
        features = encode_movies(movies, model.vocabularies)
        embeddings[unknown] = model.taste.inputs.lookup(features, model.vocabularies.genres.size)
    weights = np.fromiter(profile.history.values(), np.float32, len(profile.history))
    demographics = known_demographics(model.taste.demographics, model.profiles[profile.row, 1:])
    return History(embeddings, weights, demographics, model.taste.variances)


def demographic_labels(model: SavedModel, row: int) -> list[tuple[str, int]]:
    """Returns the labels of gender, age and occupation of a profile, with their indices; index 0 is unknown."""
    indices = model.profiles[row, 1:].tolist()
    return [(labels[index], index) for labels, index in zip(DEMOGRAPHIC_LABELS, indices, strict=True)]


def _describe(model: SavedModel, row: int) -> str:
    if not model.facts.has_demographics:
        return DEMOGRAPHIC_LABELS[0][0]
    return ", ".join(label for label, _ in demographic_labels(model, row))
