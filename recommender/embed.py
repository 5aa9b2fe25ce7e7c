"""Movies to joined vectors, with the movie tower in Paddle: what `-i` and `--movie` need beyond a query."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recommender.movielens.catalogue import Movie, read_movies_data
from recommender.movielens.encoding import encode_movies
from recommender.similarity import similarity_parts
from recommender.stars.predict import COSINE_SCALE
from recommender.store import SavedModel
from recommender.users import UserProfile, rating_vector
from recommender.vectors import join


def embed_catalogue(model: SavedModel, movies_data: Path) -> tuple[list[Movie], np.ndarray, np.ndarray]:
    """Returns the movies of movies_data.txt, their joined vectors float32[movies, dim] and numbers of ratings."""
    from recommender.stars.fusion import embed_movies, load_tower  # Paddle, which a query does not need.

    movies, features = read_movies_data(movies_data, model.fingerprint)
    num_ratings = model.count_ratings(np.array([movie.movie_id for movie in movies]))
    ratings = embed_movies(load_tower(model.folder / "movie_tower"), features)
    tastes = model.taste.outputs.lookup(features, model.vocabularies.genres.size)
    vectors = join(ratings, tastes, similarity_parts(movies, tastes, num_ratings))
    return movies, vectors, num_ratings


def paddle_score(model: SavedModel, profile: UserProfile, movie_id: int, movies: Mapping[int, Movie]) -> float:
    """Returns the Score of a movie, unclipped, as Paddle's towers compute it without Milvus.

    Args:
        model: The saved model.
        profile: The user.
        movie_id: The movie.
        movies: Records of the movie and of those in `new_ratings`, by id.
    """
    from recommender.stars.fusion import embed_movies, embed_profiles, load_tower

    features = encode_movies(list(movies.values()), model.vocabularies)
    vectors = dict(zip(movies, embed_movies(load_tower(model.folder / "movie_tower"), features), strict=True))
    own = embed_profiles(load_tower(model.folder / "user_tower"), model.profiles[[profile.row]])[0]
    user = rating_vector(model, profile, own, vectors)
    return COSINE_SCALE * float(user @ vectors[movie_id])
