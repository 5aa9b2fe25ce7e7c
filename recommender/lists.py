"""The best movies for a user, for each of many, or for several users together: searched, mixed, ordered."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recommender.errors import pluralize
from recommender.milvus.collection import MovieCollection, StoredMovie
from recommender.milvus.filters import MovieFilter
from recommender.movielens.catalogue import Movie
from recommender.reasons import Parts, Reason, split_question
from recommender.stars.predict import COSINE_SCALE
from recommender.store import SavedModel
from recommender.users import UserProfile, UserVectors, encode_user, needed_movies
from recommender.vectors import EPS, normalize_rows, split

MIN_CANDIDATES = 300
"""Lower bound on the search results that are ordered anew for variety."""
MAX_TRADE_OFF = 0.8
"""Weight of similarity beside relevance at a variety of 1, chosen on validation rows of ml-1m."""
GROUP_DEPTH = 2000
"""Number of places of each user's list in which a movie for several users is looked for."""
BEST = 10
"""Number of a user's best movies whose mean Pick is a share of 1, see `group_values`."""
SHARE_DAMPING = 0.7
"""Added to shares before their logarithm; higher favours the favourites of one over what is fair for all."""

log = logging.getLogger("recommender")


class Query(NamedTuple):
    """What to recommend."""

    ranking: str
    """A key of `RANKINGS`."""
    k: int
    """Number of movies."""
    filter: str = ""
    """An expression from `MovieCollection.build_filter`."""
    explain: bool = False
    """Whether to give reasons."""
    variety: float = 0
    """0 to 1, see `diversify`; 0 is the order of the ranking."""
    novelty: float = 0
    """0 to 1, see `anyone_share`."""
    skip: int = 0
    """Number of movies at the top that are left out."""
    is_shared: bool = False
    """Whether the list is for several users together, see `group_values`."""


class Recommendation(NamedTuple):
    """A movie as one user sees it."""

    movie: Movie
    num_ratings: int
    """Number of training ratings."""
    score: float
    """The predicted rating in stars, between the lowest and the highest that there are."""
    pick: float
    """How likely the user watches and likes it, see `RATING_WEIGHTS`; higher is likelier."""
    similarity: float
    """How like the liked movies it is, see embed.py."""
    reasons: list[Reason]
    """Largest contribution first."""


def recommend(
    model: SavedModel, collection: MovieCollection, profiles: Sequence[UserProfile], query: Query
) -> list[list[Recommendation]]:
    """Finds the best movies for each of some profiles or, if `query.is_shared`, for all of them together.

    Returns:
        Each profile's recommendations, best first. Of a shared list these are the same movies, which nobody has seen.
    """
    users = encode_users(model, collection, profiles, query)
    questions = np.array([user.query(query.ranking) for user in users])
    wanted = query.skip + query.k
    num_candidates = max(MIN_CANDIDATES, 2 * wanted) if query.variety else wanted
    exclude_ids, depth = [profile.exclude_ids for profile in profiles], num_candidates
    if query.is_shared:
        exclude_ids, depth = [frozenset[int]().union(*exclude_ids)] * len(profiles), max(GROUP_DEPTH, 10 * wanted)
    candidates = collection.search(questions, depth, query.filter, exclude_ids)
    if query.is_shared:
        candidates = [merge_lists(candidates, num_candidates)] * len(profiles)
    stored = collection.fetch({movie_id for own in candidates for movie_id in own})
    lists = []
    for profile, user, own in zip(profiles, users, candidates, strict=True):
        movies = [stored[movie_id] for movie_id in own if movie_id in stored]
        if query.variety:
            relevance = np.array([own[found.movie.movie_id] for found in movies])
            vectors = np.array([found.vector for found in movies])
            order = diversify(relevance, vectors, query.variety, wanted)
            movies = [movies[position] for position in order]
        parts = split_question(model, collection, profile, query.ranking) if query.explain else None
        lists.append([describe(model, movie, user, parts) for movie in movies[query.skip : wanted]])
    return lists


def merge_lists(products: Sequence[Mapping[int, float]], k: int) -> dict[int, float]:
    """Returns the best k movies for several users together, of those on all of their lists, with `group_values`.

    Args:
        products: What each user's list is ordered by, by movie id.
        k: The number of movies.
    """
    movie_ids = [movie_id for movie_id in products[0] if all(movie_id in own for own in products)]
    values = group_values(np.array([[own[movie_id] for movie_id in movie_ids] for own in products]))
    return {movie_ids[position]: float(values[position]) for position in np.argsort(-values, kind="stable")[:k]}


def group_values(values: np.ndarray) -> np.ndarray:
    """Returns float[movies], by which movies for several users are ordered: the sum of log(share + 0.7).

    A share is a user's own value as a part of the mean of their ten best of these; a negative value counts as 0. So a
    movie that one of them would hate is far down, however much another would love it.

    Args:
        values: float[users, movies], what each user's own list is ordered by
    """
    positive = np.maximum(values, 0)
    best = np.sort(positive, axis=1)[:, -BEST:].mean(1, keepdims=True) if values.size else positive
    total: np.ndarray = np.log(positive / np.maximum(best, EPS) + SHARE_DAMPING).sum(0)
    return total


def diversify(relevance: np.ndarray, vectors: np.ndarray, variety: float, k: int) -> list[int]:
    """Orders candidates by maximal marginal relevance: each is good, and unlike those before it.

    Source: J. Carbonell, J. Goldstein, The use of MMR, SIGIR 1998. Relevance is scaled to 0 for the last candidate and
    1 for the first; similarity is the cosine of taste vectors.

    Args:
        relevance: float[candidates], what they are ordered by
        vectors: float32[candidates, dim], joined vectors
        variety: 0 to 1; 0 is the order of relevance.
        k: The number of places.

    Returns:
        The positions of at most k candidates, best first.
    """
    if len(vectors) == 0:
        return []
    weight = MAX_TRADE_OFF * variety
    gain = np.asarray(relevance, float)
    gain = (1 - weight) * (gain - gain.min()) / max(np.ptp(gain), EPS)
    tastes = normalize_rows(split(vectors)[1])
    order = [int(gain.argmax())]
    similarity = tastes @ tastes[order[0]]
    while len(order) < min(k, len(vectors)):
        gain[order[-1]] = -np.inf
        order.append(int((gain - weight * similarity).argmax()))
        similarity = np.maximum(similarity, tastes @ tastes[order[-1]])
    return order


def encode_users(
    model: SavedModel, collection: MovieCollection, profiles: Sequence[UserProfile], query: Query
) -> list[UserVectors]:
    """Returns the vectors of some profiles for a query; all movies that they need are read at once."""
    needed = set[int]().union(*(needed_movies(model, profile, query.ranking) for profile in profiles))
    stored = collection.fetch(needed)
    return [
        encode_user(model, profile, stored, collection.dim, query.novelty, not query.is_shared) for profile in profiles
    ]


def describe(model: SavedModel, stored: StoredMovie, user: UserVectors, parts: Parts | None = None) -> Recommendation:
    """Returns a movie as a user sees it."""
    rating, taste, similar = split(stored.vector)
    stars = COSINE_SCALE * float(user.rating @ rating)
    score = min(max(stars, model.facts.min_rating), model.facts.max_rating)
    pick, similarity = float(user.taste @ taste), float(user.similar @ similar)
    reasons = parts.reasons(stored.vector) if parts else []
    return Recommendation(stored.movie, stored.num_ratings, score, pick, similarity, reasons)


def explain_shortfall(collection: MovieCollection, query: Query, movie_filter: MovieFilter, num_found: int) -> None:
    """Says why a list is shorter than asked for."""
    if num_found == query.k:
        return
    reason = "no more movies match that were not seen"
    if movie_filter.years and collection.last_year:
        reason += f"; the catalogue has movies of {collection.first_year} to {collection.last_year}"
    if movie_filter.min_ratings:
        reason += f"; min-ratings 0 adds those with fewer than {pluralize(movie_filter.min_ratings, 'rating')}"
    log.warning("Only %d of %d: %s.", num_found, query.k, reason)
