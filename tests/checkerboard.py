"""Invented training data without a file: every user rates every movie, or a share of them."""

import numpy as np

from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    NUM_RESERVED,
    MovieFeatures,
    Vocabularies,
    Vocabulary,
    encode_profiles,
)
from recommender.movielens.split import Dataset, Ratings

DEMOGRAPHIC_PROFILES = encode_profiles([], np.ones(0, bool))


def build_dataset(
    num_users=40, num_movies=40, stars=lambda user, movie: 5 if (user + movie) % 2 else 1, share=1.0
) -> tuple[Dataset, Vocabularies]:
    """By default even users love odd movies and hate even ones; nothing but the ids tells them apart."""
    random = np.random.default_rng(0)
    user, movie = np.divmod(np.flatnonzero(random.random(num_users * num_movies) < share), num_movies)
    rating = np.array([stars(*pair) for pair in zip(user, movie, strict=True)], float)
    users = np.tile([0, 1, 3, 1], (num_users, 1))
    users[:, 0] = NUM_RESERVED + np.arange(num_users)
    movies = MovieFeatures(NUM_RESERVED + np.arange(num_movies), *np.full((2, num_movies, 1), NUM_RESERVED))
    dataset = Dataset(
        Ratings(NUM_DEMOGRAPHIC_PROFILES + user, movie, rating), np.concatenate([DEMOGRAPHIC_PROFILES, users]), movies
    )
    return dataset, Vocabularies(Vocabulary(["same"]), Vocabulary(["drama"]), Vocabulary(range(num_movies)))
