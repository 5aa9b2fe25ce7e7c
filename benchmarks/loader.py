"""Reads releases, splits them, and trains our models, once for each split and settings where --cache names a folder."""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np

from recommender.evaluation import Ranking, weighted_sum
from recommender.movielens.releases import MovieLens, read_movielens
from recommender.movielens.split import RELEVANCE_THRESHOLD, Dataset, Ratings, Split, held_out_rows, split_and_encode
from recommender.picks.closed_form import TasteConfig, squared_norms
from recommender.picks.taste import MovieEmbeddings, TasteParameters
from recommender.picks.taste_training import encode_histories, taste_vectors, train_taste
from recommender.stars.fusion import embed_movies, embed_profiles
from recommender.stars.fusion_training import FusionConfig, train_fusion
from recommender.stars.predict import predict_ratings
from recommender.users import ANYONE_ROW
from recommender.vectors import RANKINGS

VALIDATION_SHARE = 0.1
NEW_SHARE = 0.1
"""Share of the users that a split of new users holds out."""
NUM_TEST_SPLITS = 3
"""Splits of new users that are for testing; settings are chosen on users that none of them holds out."""
VALIDATION_SEED = 100
TRAINING_CODE = ("movielens", "stars", "picks")
"""Packages on which a trained model depends."""


def parser(description: str | None, num_seeds: int, subjects: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Returns a parser with the options that most programs share; without `num_seeds` none for seeds."""
    layout = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=description, formatter_class=layout)
    if subjects:
        options.add_argument("subject", choices=subjects)
    options.add_argument("data_dirs", type=Path, nargs="+")
    if num_seeds:
        options.add_argument("--seeds", type=int, default=num_seeds, help="trainings of ours (default: %(default)s)")
    options.add_argument("--cache", type=Path, help="folder of trained models (default: a temporary one)")
    return options


def read_data(options: argparse.Namespace) -> Iterator[tuple[str, MovieLens]]:
    """Yields the name of each data set and its content; makes the folder of `--cache`."""
    if options.cache is None:
        options.cache = Path(tempfile.mkdtemp(prefix="trained-"))
    options.cache.mkdir(parents=True, exist_ok=True)
    for path in options.data_dirs:
        yield path.name, read_movielens(path)


class Stars(NamedTuple):
    """A trained fusion model."""

    user_vectors: np.ndarray
    """float32[profiles, 200]"""
    movie_vectors: np.ndarray
    """float32[movies, 200]"""
    cpu_seconds: float
    """Of the training."""

    def predict(self, ratings: Ratings) -> np.ndarray:
        """Returns float32[ratings], predicted ratings within the stars there are, as they are shown."""
        predicted = predict_ratings(self.user_vectors, self.movie_vectors, ratings.profile_row, ratings.movie_row)
        return predicted.clip(min(1, ratings.rating.min()), 5)


class Taste:
    """A trained taste model with the split that it was trained on.

    Args:
        split: The split.
        parameters: The model.
        cpu_seconds: Of the training.
    """

    def __init__(self, split: Split, parameters: TasteParameters, cpu_seconds: float) -> None:
        self.split, self.parameters, self.cpu_seconds = split, parameters, cpu_seconds

    @cached_property
    def movie_vectors(self) -> np.ndarray:
        """float32[movies, 200]."""
        return self.parameters.outputs.lookup(self.split.train.movies, self.split.vocabularies.genres.size)

    def user_vectors(self, histories: Ratings | None = None, novelty: float = 0) -> np.ndarray:
        """Returns float32[profiles, 200], less a share of anyone's taste as infer_milvus.py takes it.

        Args:
            histories: The ratings that are known of the profiles; by default those of training.
            novelty: As of `--novelty`.
        """
        vectors = taste_vectors(self._dataset(histories), self.split.vocabularies, self.parameters)
        return vectors - np.float32(novelty) * vectors[ANYONE_ROW]

    def squared_norms(self, histories: Ratings | None = None) -> np.ndarray:
        """Returns float32[profiles], the lengths of the histories, see `taste.anyone_share`."""
        weights, _ = encode_histories(self._dataset(histories), self.split.vocabularies.movies.size)
        return squared_norms(weights)

    def _dataset(self, histories: Ratings | None) -> Dataset:
        return self.split.train if histories is None else self.split.train._replace(ratings=histories)

    def ranking(self, histories: Ratings | None = None, novelty: float = 0) -> Ranking:
        """Returns the ranking by picks."""
        return weighted_sum((1,), (self.user_vectors(histories, novelty),), (self.movie_vectors,))


def mixed_ranking(name: str, stars: Stars, taste: Taste, histories: Ratings | None = None) -> Ranking:
    """Returns the ranking of a name in `RANKINGS`, as one search in Milvus ranks."""
    users = stars.user_vectors, taste.user_vectors(histories)
    return weighted_sum(RANKINGS[name], users, (stars.movie_vectors, taste.movie_vectors))


def train_stars(split: Split, cache: Path, **settings: Any) -> Stars:
    """Trains a fusion model, or reads it; `settings` are those of `FusionConfig.for_ratings`."""
    config = FusionConfig.for_ratings(len(split.train.ratings.rating), **settings)
    path = _cached(cache, "stars", split, config)
    if not path.exists():
        started = time.process_time()
        model, _ = train_fusion(split.train, split.vocabularies, config)
        seconds = time.process_time() - started
        users = embed_profiles(model.user_tower, split.train.profiles)
        np.savez(path, users, embed_movies(model.movie_tower, split.train.movies), seconds)
    users, movies, seconds = np.load(path).values()
    return Stars(users, movies, float(seconds))


def train_picks(split: Split, cache: Path, **settings: Any) -> Taste:
    """Trains a taste model, or reads it; `settings` are fields of `TasteConfig`."""
    config = TasteConfig(**settings)
    path = _cached(cache, "picks", split, config)
    if not path.exists():
        started = time.process_time()
        taste = train_taste(split.train, split.vocabularies, config)
        seconds = time.process_time() - started
        np.savez(path, *taste.inputs, *taste.outputs, taste.demographics, taste.variances, seconds)
    arrays = list(np.load(path).values())
    embeddings = MovieEmbeddings(*arrays[:2]), MovieEmbeddings(*arrays[2:4])
    return Taste(split, TasteParameters(*embeddings, *arrays[4:6]), float(arrays[6]))


def _cached(folder: Path, kind: str, split: Split, config: object) -> Path:
    """Returns the file of a trained model, whose name depends on all that the model depends on."""
    digest = hashlib.sha256(repr(config).encode())
    for array in (*split.train.ratings, split.train.profiles, *split.train.movies):
        digest.update(np.ascontiguousarray(array).tobytes())
    for package in TRAINING_CODE:
        for path in sorted((machine.PROJECT / "recommender" / package).glob("*.py")):
            digest.update(path.read_bytes())
    return folder / f"{kind}-{digest.hexdigest()[:20]}.npz"


def test_split(data: MovieLens) -> Split:
    """Returns the default split of `train.py`."""
    return split_and_encode(data, held_out_rows(len(data.ratings)))


def validation_split(data: MovieLens) -> Split:
    """Returns the training rows of the default split, of which a tenth are for choosing settings."""
    train = data.ratings[~held_out_rows(len(data.ratings))].reset_index(drop=True)
    is_validation = np.random.default_rng(0).random(len(train)) < VALIDATION_SHARE
    return split_and_encode(data._replace(ratings=train), is_validation)


def new_users_split(data: MovieLens, seed: int) -> Split:
    """Returns a split that holds out a tenth of the users with all their ratings.

    With `VALIDATION_SEED`, for choosing settings, none of them is in a split for testing.
    """
    user_ids = np.array(sorted(user.user_id for user in data.users))
    is_new = np.random.default_rng(seed).random(len(user_ids)) < NEW_SHARE
    if seed == VALIDATION_SEED:
        for test_seed in range(NUM_TEST_SPLITS):
            is_new &= np.random.default_rng(test_seed).random(len(user_ids)) >= NEW_SHARE
    return split_and_encode(data, is_new[np.searchsorted(user_ids, data.ratings.user_id)])


def liked(ratings: Ratings) -> Ratings:
    """Returns the ratings of 4 stars or more."""
    return ratings.select(ratings.rating >= RELEVANCE_THRESHOLD)


def with_at_least(ratings: Ratings, minimum: int) -> Ratings:
    """Returns the ratings of users who have at least so many."""
    return ratings.select(np.bincount(ratings.profile_row)[ratings.profile_row] >= minimum)


def random_positions(profile_row: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns int64[ratings], the position of each rating, from 0, in a random order of its user's ratings."""
    order = np.lexsort([random.random(len(profile_row)), profile_row])
    ordered = profile_row[order]
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return positions


def split_known(ratings: Ratings, number: int, random: np.random.Generator) -> tuple[Ratings, Ratings]:
    """Returns so many ratings of each user, at random, which they tell the recommender, and the rest."""
    is_known = random_positions(ratings.profile_row, random) < number
    return ratings.select(is_known), ratings.select(~is_known)
