"""The best movies for a user, for each of many, or for several users together: searched, mixed, ordered."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from recommender.errors import pluralize
from recommender.milvus.collection import MovieCollection, StoredMovie
from recommender.milvus.filters import MovieFilter, all_of, is_not_in
from recommender.movielens.catalogue import Movie
from recommender.reasons import Parts, Reason, split_question
from recommender.similarity import normalize_rows
from recommender.stars.predict import COSINE_SCALE
from recommender.store import SavedModel
from recommender.users import UserProfile, UserVectors, encode_user, load_history, unknown_movie_ids
from recommender.vectors import split

USER_BATCH = 1000
"""Number of profiles that are searched for at once."""
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
EPS = 1e-9

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
    is_personal: bool = True
    """Whether `anyone_share` counts; not for several together, who meet in what many like."""

    @property
    def depth(self) -> int:
        """Number of search results that are needed."""
        wanted = self.skip + self.k
        return max(MIN_CANDIDATES, 2 * wanted) if self.variety else wanted


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
    """How like the liked movies it is, see `recommender.similarity`."""
    reasons: list[Reason]
    """Largest contribution first."""


def recommend(
    model: SavedModel, collection: MovieCollection, profiles: Iterable[UserProfile], query: Query
) -> Iterator[list[Recommendation]]:
    """Finds the best movies for each of some profiles; searches for `USER_BATCH` profiles at a time.

    Yields:
        Each profile's recommendations, best first.
    """
    remaining = iter(profiles)
    while batch := list(islice(remaining, USER_BATCH)):
        users = encode_users(model, collection, batch, query)
        questions = np.array([user.query(query.ranking) for user in users])
        found = collection.search(questions, query.depth, query.filter, [profile.exclude_ids for profile in batch])
        stored = collection.fetch(movie_id for hits in found for movie_id in hits)
        for profile, user, question, hits in zip(batch, users, questions, found, strict=True):
            movies = [stored[movie_id] for movie_id in hits if movie_id in stored]
            if query.variety:
                vectors = np.array([movie.vector for movie in movies]).reshape(-1, collection.dim)
                order = diversify(vectors @ question, vectors, query.variety, query.skip + query.k)
                movies = [movies[position] for position in order]
            parts = split_question(model, collection, profile, query.ranking) if query.explain else None
            yield [describe(model, movie, user, parts) for movie in movies[query.skip : query.skip + query.k]]


def recommend_together(
    model: SavedModel, collection: MovieCollection, profiles: Sequence[UserProfile], query: Query
) -> list[list[Recommendation]]:
    """Finds the best movies for several users together, see `group_values`; what any of them has seen is left out.

    Returns:
        Of each movie, best first, one recommendation per user.
    """
    query = query._replace(is_personal=False)
    users = encode_users(model, collection, profiles, query)
    questions = np.array([user.query(query.ranking) for user in users])
    seen_by_any = frozenset[int]().union(*(profile.exclude_ids for profile in profiles))
    depth = max(GROUP_DEPTH, 10 * (query.skip + query.k))
    lists = collection.search(questions, depth, query.filter, [seen_by_any] * len(users))
    on_all_lists = [movie_id for movie_id in lists[0] if all(movie_id in products for products in lists)]
    values = group_values(np.array([[products[movie_id] for movie_id in on_all_lists] for products in lists]))
    order = np.argsort(-values, kind="stable")[: query.depth]
    stored = collection.fetch(on_all_lists[position] for position in order)
    order = np.array([position for position in order if on_all_lists[position] in stored], int)
    movies = [stored[on_all_lists[position]] for position in order]
    if query.variety:
        vectors = np.array([movie.vector for movie in movies]).reshape(-1, collection.dim)
        places = diversify(values[order], vectors, query.variety, query.skip + query.k)
        movies = [movies[place] for place in places]
    all_parts = [
        split_question(model, collection, profile, query.ranking) if query.explain else None for profile in profiles
    ]
    best = movies[query.skip : query.skip + query.k]
    return [[describe(model, movie, *pair) for pair in zip(users, all_parts, strict=True)] for movie in best]


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
    model: SavedModel, collection: MovieCollection, profiles: Collection[UserProfile], query: Query
) -> list[UserVectors]:
    """Returns the vectors of some profiles for a query; all movies that they need are read at once."""
    needed = {movie_id for profile in profiles for movie_id in profile.new_ratings}
    if query.ranking == "similar":
        needed |= {movie_id for profile in profiles for movie_id in profile.liked}
    unknown = {key for profile in profiles for key in unknown_movie_ids(model, profile)}
    stored = collection.fetch(needed | unknown)
    vectors = {movie_id: movie.vector for movie_id, movie in stored.items()}
    movies = {movie_id: movie.movie for movie_id, movie in stored.items()}
    histories = [load_history(model, profile, movies) for profile in profiles]
    return [
        encode_user(model, profile, vectors, history, collection.dim, query.novelty, query.is_personal)
        for profile, history in zip(profiles, histories, strict=True)
    ]


def describe(model: SavedModel, stored: StoredMovie, user: UserVectors, parts: Parts | None = None) -> Recommendation:
    """Returns a movie as a user sees it."""
    rating, taste, similar = split(stored.vector)
    score = COSINE_SCALE * float(user.rating @ rating)
    return Recommendation(
        stored.movie,
        stored.num_ratings,
        min(max(score, model.facts.min_rating), model.facts.max_rating),
        float(user.taste @ taste),
        float(user.similar @ similar),
        parts.reasons(stored.vector) if parts else [],
    )


def explain_shortfall(
    collection: MovieCollection, query: Query, movie_filter: MovieFilter, num_found: int, exclude_ids: Collection[int]
) -> None:
    """Says why a list is shorter than asked for; `exclude_ids` are the movies that its users have seen."""
    if num_found == query.k:
        return
    reason = "no more movies match" + (" that were not seen" if exclude_ids else "")
    first, last = collection.first_year, collection.last_year
    spans = movie_filter.years
    if spans and first and last and all((start or first) > last or (end or last) < first for start, end in spans):
        reason = f"the catalogue has movies of {first} to {last}"
    elif movie_filter.min_ratings:
        few = movie_filter._replace(min_ratings=None, max_ratings=movie_filter.min_ratings - 1)
        unseen = is_not_in("id", sorted(exclude_ids))
        num_more = collection.count(all_of(collection.build_filter(few), unseen))
        if num_more:
            fewer = f"fewer than {pluralize(movie_filter.min_ratings, 'rating')}"
            reason = f"{pluralize(num_more, 'more movie')} would match with {fewer}; try min-ratings 0"
    log.warning("Only %d of %d: %s.", num_found, query.k, reason)
