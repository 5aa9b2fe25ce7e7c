"""Profiles, histories and new ratings to vectors: the fold-in, the taste vector, the two joined. Plain numpy.

A movie is stored as `[rating vector 200 | taste vector 200]`. A user's query vector has the same layout, each half
multiplied by the weight of its score, so that one inner product gives the weighted sum of both scores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recommender.movielens.encoding import (
    DEMOGRAPHIC_SIZES,
    EMBEDDING_DIM,
    NUM_DEMOGRAPHIC_PROFILES,
    UNKNOWN,
    MovieFeatures,
    demographic_profile_row,
    encode_movies,
)
from recommender.movielens.encoding import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.scoring import COSINE_SCALE

if TYPE_CHECKING:
    from recommender.milvus.collection import MovieCollection
    from recommender.store import SavedModel

STAR_WEIGHT = 0.2
"""Weight of a predicted star beside the taste score, chosen on validation rows of ml-1m."""
RANKING_WEIGHTS = {"stars": (1.0, 0.0), "picks": (0.0, 1.0), "both": (COSINE_SCALE * STAR_WEIGHT, 1.0)}
"""Weights of the two inner products, rating and taste, by the name of the ranking."""

WHOLE_STARS, RATING_WEIGHTS = (1, 2, 3, 4, 5), (0.1, 0.3, 0.6, 1.0, 1.4)
"""Weights of a movie in a history by its stars, and the scores that the taste model is trained towards."""
LIKED_WEIGHT = 1.0
SEEN_WEIGHT = 0.5
PRIOR_WEIGHT = 1.0
"""Weight of demographics beside a history: that of one movie with 4 stars."""
TASTE_NOISE = 0.3
"""Noise variance of the taste vector of a user without history, see `shrinkage`."""
DEMOGRAPHIC_OFFSETS = np.cumsum((0, *DEMOGRAPHIC_SIZES[:-1]))
"""First rows of gender, age and occupation in a table of demographic embeddings."""
EVERYONE = sum(DEMOGRAPHIC_SIZES)
"""Last row of that table, which counts for every user."""

RATING_VARIANCE = 0.75
"""Variance of a rating around its prediction, in stars squared; this and the next two were chosen on held-out users."""
PRIOR_COV_SCALE = 1.5
"""Factor on the covariance of the learnt user vectors, which regularization draws together."""
PRIOR_MEAN_SCALE = 0.5
"""Factor on the mean offset of the learnt user vectors."""


DEMOGRAPHIC_LABELS = (GENDER_LABELS, AGE_LABELS, OCCUPATIONS)
"""Labels of gender, age and occupation; the label of index i is at i - 1."""
UNKNOWN_LABELS = ("anyone", "any age", "any job")


def join_vectors(rating_vectors: np.ndarray, taste_vectors: np.ndarray) -> np.ndarray:
    """Returns float32[..., 400] for float32[..., 200] twice."""
    return np.concatenate([rating_vectors, taste_vectors], axis=-1)


def split_vectors(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rating vectors and the taste vectors, float32[..., 200] each, of joined ones."""
    return vectors[..., :EMBEDDING_DIM], vectors[..., EMBEDDING_DIM:]


class MovieEmbeddings(NamedTuple):
    """A table of movie embeddings; a movie without training ratings is the sum of its genres' and words'."""

    by_id: np.ndarray
    """float32[movie indices, dim]"""
    by_content: np.ndarray
    """float32[genre indices + word indices, dim], genres first; 0 at padding"""

    def lookup(self, movies: MovieFeatures, num_genres: int) -> np.ndarray:
        """Returns float32[movies, dim].

        Args:
            movies: The movies.
            num_genres: The number of genre indices.
        """
        rows = np.array(self.by_id[movies.movie_idx])
        is_unknown = movies.movie_idx == UNKNOWN
        _, genres, words = movies.select(is_unknown)
        rows[is_unknown] = self.by_content[genres].sum(1) + self.by_content[num_genres + words].sum(1)
        return rows


class TasteParameters(NamedTuple):
    """A trained taste model; see `TasteModel`."""

    inputs: MovieEmbeddings
    """Of width 200: the embeddings of the movies in a history."""
    outputs: MovieEmbeddings
    """Of width 200: the movies' taste vectors, along the principal axes of the training users' scores."""
    demographics: np.ndarray
    """float32[34, 200], embeddings of genders, ages and occupations, see `DEMOGRAPHIC_OFFSETS`, and of `EVERYONE`"""
    variances: np.ndarray
    """float32[200], mean squares of the training users' taste vectors"""


class History(NamedTuple):
    """What the taste of a user is computed from: movies with weights, and demographics."""

    embeddings: np.ndarray
    """float32[movies, 200], input embeddings of the taste model"""
    weights: np.ndarray
    """float32[movies], see `history_weights`"""
    demographics: np.ndarray
    """float32[stated demographics + 1, 200], embeddings of what is stated of gender, age and occupation, then of
    `EVERYONE`"""
    variances: np.ndarray
    """float32[200], see `TasteParameters`"""

    def vector(self) -> np.ndarray:
        """Returns the taste vector, float32[200]."""
        taste: np.ndarray = self.contributions().sum(0)
        return taste

    def contributions(self) -> np.ndarray:
        """Returns float32[movies + stated demographics + 1, 200], the parts that `vector` is the sum of."""
        squared_norm = self.weights @ self.weights
        parts = np.concatenate([self.weights[:, None] * self.embeddings, PRIOR_WEIGHT * self.demographics])
        scaled: np.ndarray = parts * history_scale(squared_norm) * shrinkage(self.variances, squared_norm)
        return scaled


def history_weights(ratings: np.ndarray) -> np.ndarray:
    """Returns float32[ratings], the weight of each movie in a history, 0.1 to 1.4; 0.5 for NaN, seen and not rated."""
    weights = np.interp(ratings, WHOLE_STARS, RATING_WEIGHTS).astype(np.float32)
    return np.where(np.isnan(ratings), np.float32(SEEN_WEIGHT), weights)


def history_scale(squared_norm: np.ndarray) -> np.ndarray:
    """Returns float32[...], the factor that scales a history and its demographics.

    It is one over the length that the history would have with one more movie of weight 1.

    Args:
        squared_norm: float32[...], the sum of the squared `history_weights` of each history
    """
    return 1 / np.sqrt(squared_norm + np.float32(PRIOR_WEIGHT**2))


def shrinkage(variances: np.ndarray, squared_norm: np.ndarray) -> np.ndarray:
    """Returns float32[..., 200], 0 to 1: how far each number of a taste vector can be trusted.

    It is the Wiener filter v / (v + noise), whose noise falls with the length of the history. So a short history counts
    in the directions in which users differ most.

    Args:
        variances: float32[200], v, see `TasteParameters`
        squared_norm: float32[...] as of `history_scale`
    """
    noise = np.float32(TASTE_NOISE) / (squared_norm + np.float32(PRIOR_WEIGHT**2))
    factors: np.ndarray = variances / (variances + noise[..., None])
    return factors


def stated_demographics(table: np.ndarray, demographic_idx: np.ndarray) -> np.ndarray:
    """Returns float32[stated demographics + 1, dim], rows of a table of demographic embeddings, `EVERYONE` last.

    Args:
        table: float32[34, dim], genders, ages and occupations, see `DEMOGRAPHIC_OFFSETS`, and everyone
        demographic_idx: int64[3], gender, age and occupation; 0 is "unknown"
    """
    stated = (DEMOGRAPHIC_OFFSETS + demographic_idx)[demographic_idx > 0]
    rows: np.ndarray = table[np.append(stated, EVERYONE)]
    return rows


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
    def from_user(cls, model: "SavedModel", user_id: int, include_seen: bool = False) -> "UserProfile":
        """Returns the profile of a user of the training data, with their training ratings as history.

        Raises:
            ModelError: There is no such user.
        """
        row = model.profile_row(user_id)
        ratings = model.ratings_of(user_id)
        ratings = ratings[~ratings["held_out"]]
        weights = history_weights(ratings["rating"])
        history = dict(zip(ratings["movie_id"].tolist(), weights.tolist(), strict=True))
        description = f"user {user_id}: {_describe(model, row)}"
        exclude_ids = frozenset[int]() if include_seen else frozenset(history)
        return cls(row, description, user_id, history, {}, exclude_ids, has_training_ratings=bool(history))

    @classmethod
    def from_demographics(
        cls, model: "SavedModel", gender: int | None = None, age: int | None = None, occupation: int | None = None
    ) -> "UserProfile":
        """Returns the profile of a new user; each label is numbered from 0, and None is unknown.

        Raises:
            ModelError: The training data have no demographics, so that these profiles are not trained.
        """
        if not model.has_demographics and (gender, age, occupation) != (None, None, None):
            model.refuse_demographics()
        indices = [0 if label is None else 1 + label for label in (gender, age, occupation)]
        row = int(demographic_profile_row(*np.array(indices)))
        return cls(row, _describe(model, row))

    @property
    def has_ratings(self) -> bool:
        """Whether the predicted ratings are the user's own, and not those of their age, gender and occupation."""
        return bool(self.new_ratings) or self.has_training_ratings

    def stars(self, model: "SavedModel") -> np.ndarray:
        """Returns float[ratings], the new ratings on the scale of the training data."""
        stars = np.fromiter(self.new_ratings.values(), float)
        return stars.clip(min=model.min_rating)

    def with_ratings(self, ratings: Mapping[int, float]) -> "UserProfile":
        """Returns the profile of a new user with ratings, stars by movie id; NaN if a movie was seen and not rated."""
        weights = history_weights(np.fromiter(ratings.values(), np.float32, len(ratings)))
        return replace(
            self,
            history={**self.history, **dict(zip(ratings, weights.tolist(), strict=True))},
            new_ratings={**self.new_ratings, **{key: stars for key, stars in ratings.items() if not np.isnan(stars)}},
            exclude_ids=self.exclude_ids | ratings.keys(),
        )

    def with_movies(self, liked: Mapping[int, str], seen: Mapping[int, str]) -> "UserProfile":
        """Returns the profile with movies, names by id, that the user liked, or has seen and not liked much.

        Where the user also rated such a movie, its weight is at least 1 if liked and at most 0.5 if seen. The rating
        still counts for the rating vector.
        """
        weights = {movie_id: min(self.history.get(movie_id, SEEN_WEIGHT), SEEN_WEIGHT) for movie_id in seen}
        weights |= {movie_id: max(self.history.get(movie_id, 0), LIKED_WEIGHT) for movie_id in liked}
        likes = f"; likes {', '.join(liked.values())}" if liked else ""
        knows = f"; knows {', '.join(seen.values())}" if seen else ""
        return replace(
            self,
            description=self.description + likes + knows,
            history={**self.history, **weights},
            exclude_ids=self.exclude_ids | weights.keys(),
        )


def load_history(model: "SavedModel", collection: "MovieCollection", profile: UserProfile) -> History:
    """Returns a profile's history with the embeddings of its movies and demographics.

    Raises:
        MilvusError: A movie is neither in the training data nor in the collection.
    """
    movie_ids = np.fromiter(profile.history, np.int64, len(profile.history))
    movie_idx = model.movie_idx(movie_ids)
    embeddings = np.array(model.taste_inputs.by_id[movie_idx])
    unknown = np.flatnonzero(movie_idx == UNKNOWN)
    if len(unknown):
        stored = collection.fetch_all(movie_ids[unknown].tolist())
        movies = [stored[movie_id].movie for movie_id in movie_ids[unknown].tolist()]
        features = encode_movies(movies, model.vocabularies)
        embeddings[unknown] = model.taste_inputs.lookup(features, model.vocabularies.genres.size)
    weights = np.fromiter(profile.history.values(), np.float32, len(profile.history))
    demographics = stated_demographics(model.taste_demographics, model.profiles[profile.row, 1:])
    return History(embeddings, weights, demographics, model.taste_variances)


class UserPrior(NamedTuple):
    """Prior over the offset of a user's rating vector from that of the user's demographic profile."""

    mean: np.ndarray
    """float32[200]"""
    covariance: np.ndarray
    """float32[200, 200]"""

    def posterior_mean(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Folds ratings into the rating vector of a demographic profile, in closed form.

        With V = 5 · movie vectors, C the covariance, σ² = `RATING_VARIANCE` and u = vector + mean, it is
        u + C Vᵀ (V C Vᵀ + σ² I)⁻¹ (r - V u): a ridge regression with smaller penalties where users differ more.

        Args:
            vector: float32[200], the profile's rating vector
            movie_vectors: float32[ratings, 200], the rating vectors of the rated movies
            ratings: float[ratings], stars

        Returns:
            float32[200], not of unit length.
        """
        moved = vector + self.mean + self.contributions(vector, movie_vectors, ratings).sum(0)
        return np.asarray(moved, np.float32)

    def contributions(self, vector: np.ndarray, movie_vectors: np.ndarray, ratings: np.ndarray) -> np.ndarray:
        """Returns float64[ratings, 200], by how much each rating moves the vector; see `posterior_mean`."""
        scaled = COSINE_SCALE * movie_vectors
        spread = scaled @ self.covariance
        noise = RATING_VARIANCE * np.eye(len(ratings))
        coefficients = np.linalg.solve(spread @ scaled.T + noise, ratings - scaled @ (vector + self.mean))
        parts: np.ndarray = coefficients[:, None] * spread
        return parts


def fit_user_prior(profile_vectors: np.ndarray, profiles: np.ndarray) -> UserPrior:
    """Fits the prior to the users with a known id.

    Args:
        profile_vectors: float32[profiles, 200], the user tower's rating vectors
        profiles: int64[profiles, 4], see `encode_profiles`
    """
    known = NUM_DEMOGRAPHIC_PROFILES + np.flatnonzero(profiles[NUM_DEMOGRAPHIC_PROFILES:, 0] != UNKNOWN)
    offsets = profile_vectors[known] - profile_vectors[demographic_profile_row(*profiles[known, 1:].T)]
    covariance = np.cov(offsets.T) if len(offsets) > 1 else np.zeros((offsets.shape[1],) * 2)
    return UserPrior(PRIOR_MEAN_SCALE * offsets.mean(0), (PRIOR_COV_SCALE * covariance).astype(np.float32))


def default_ranking(profiles: Iterable[UserProfile]) -> str:
    """Returns the key of `RANKING_WEIGHTS` that suits users with ratings, with films only, or with neither."""
    has_history = False
    for profile in profiles:
        if profile.has_ratings:
            return "both"
        has_history |= bool(profile.history)
    return "picks" if has_history else "stars"


def demographic_labels(model: "SavedModel", row: int) -> list[tuple[str, int]]:
    """Returns the labels of gender, age and occupation of a profile, with their indices; index 0 is unknown."""
    indices = model.profiles[row, 1:].tolist()
    pairs = zip(DEMOGRAPHIC_LABELS, UNKNOWN_LABELS, indices, strict=True)
    return [(labels[index - 1] if index else unknown, index) for labels, unknown, index in pairs]


def _describe(model: "SavedModel", row: int) -> str:
    if not model.has_demographics:
        return UNKNOWN_LABELS[0]
    return ", ".join(label for label, _ in demographic_labels(model, row))
