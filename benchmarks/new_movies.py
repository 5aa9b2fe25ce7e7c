"""Quality for movies that training has not seen: a table of `evaluate.py`."""

import numpy as np
from ours import TasteRanker
from rankings import LISTS_NAME_WIDTH, liked
from tables import Table

from recommender.movielens.split import held_out_rows, split_and_encode
from recommender.movielens.encoding import UNKNOWN
from recommender.movielens.releases import MovieLens
from recommender.evaluation.metrics import USER_BATCH, interaction_mask

SHARE = 0.05
"""Share of the movies with enough ratings that lose their training ratings."""
MIN_RATINGS = 50


def evaluate_new_movies(data: MovieLens) -> None:
    """Prints how high the taste model ranks movies of which it knows genres and title only."""
    movie_row = np.searchsorted([movie.movie_id for movie in data.movies], data.ratings.movie_id)
    held_out = held_out_rows(len(data.ratings))
    candidates = np.flatnonzero(np.bincount(movie_row[~held_out]) >= MIN_RATINGS)
    new = np.random.default_rng(7).choice(candidates, int(SHARE * len(candidates)), replace=False)
    split = split_and_encode(data, held_out | np.isin(movie_row, new))
    train, num_movies = split.train, len(data.movies)
    assert (train.movies.movie_idx[new] == UNKNOWN).all()
    ranking = TasteRanker.train(split).ranking()
    likes = liked(split.test.select(np.isin(split.test.movie_row, new)))
    rows, positions = np.unique(likes.profile_row), []
    for start in range(0, len(rows), USER_BATCH):
        batch = rows[start : start + USER_BATCH]
        order = np.argsort(-ranking(batch), axis=1, kind="stable")
        position = np.argsort(order, axis=1) / num_movies
        positions.append(position[interaction_mask(likes, batch, num_movies)])
    title = f"New movies: position by picks among all {num_movies:,} movies, 0 first, 1 last, 0.5 by chance"
    table = Table(title, {"movies": ",.0f", "likes": ",.0f", "median position": ".3f"}, LISTS_NAME_WIDTH)
    all_positions = np.concatenate(positions)
    table.add("movies without training ratings", len(new), len(all_positions), np.median(all_positions))
