"""From a question, who asks and for which films, to an answer: the films, and why these."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recommender.data.features import UNKNOWN, VECTOR_SIZE, anonymous_row, encode_movies
from recommender.data.movielens import AGE_LABELS, GENDER_LABELS, OCCUPATIONS, RATINGS, Movie
from recommender.errors import RecommenderError, counted
from recommender.evaluation.metrics import MAX_SCORE
from recommender.index.collection import MovieIndex, string_literals
from recommender.inference.model_folder import SavedModel
from recommender.inference.titles import ID_PREFIX, MAX_OFFERED, Fit, Found, Title, TitleIndex, title_key
from recommender.inference.user_vectors import LIKED_WEIGHT, SEEN_WEIGHT, parts_of, vector_of, weights_of

LABELS = (GENDER_LABELS, AGE_LABELS, OCCUPATIONS)
"""Of gender, age and occupation, numbered from 0."""
MANY = 1000
"""People whose movies are looked for at once."""
MAX_REASONS = 3
NAMES_A_FILTER = 500
STARS_WEIGHT = 0.2
"""What a star counts beside a pick score where both count; chosen on validation rows of ml-1m."""
WEIGHTS = {"stars": (1.0, 0.0), "picks": (0.0, 1.0), "both": (MAX_SCORE * STARS_WEIGHT, 1.0)}
"""By what movies are ordered: the weights of the inner products of stars and of tastes."""


class QuestionError(RecommenderError):
    """The question has no answer; the message says how to ask."""


class Person(NamedTuple):
    """Who asks."""

    name: str
    """In words."""
    row: int
    """Of the model's people."""
    movie_ids: np.ndarray
    """int64[films], the films that they know"""
    weights: np.ndarray
    """float32[films], how much each counts"""
    ratings: dict[int, float]
    """By movie id, in stars: what is known of how they rate beside what training knows."""
    left_out: Sequence[int]
    """Ids of the movies that they are not to be shown."""


class Wish(NamedTuple):
    """What is asked for."""

    by: str
    """A key of `WEIGHTS`."""
    k: int
    """How many movies."""
    where: str = ""
    """Which of them count, from `MovieIndex.where`."""
    why: bool = False
    """Whether reasons are wanted."""


class Reason(NamedTuple):
    """A part of a pick score."""

    what: str
    """The title of a film that the person knows, or their gender, age or occupation."""
    added: float


class Recommendation(NamedTuple):
    """A movie for somebody."""

    movie: Movie
    num_ratings: int
    """How many ratings of it the model was trained on."""
    score: float
    """The predicted rating, in stars."""
    pick: float
    """How likely the person is to pick it, on no particular scale."""
    reasons: list[Reason]
    """What added most to `pick`, most first."""


def person_of(
    model: SavedModel,
    user_id: int | None = None,
    demographics: Sequence[int | None] = (None, None, None),
    ratings: dict[int, float] | None = None,
    liked: Sequence[int] = (),
    seen: Sequence[int] = (),
    include_seen: bool = False,
) -> Person:
    """Returns a user of the training data or, without an id, whoever fits a description.

    Args:
        model: Of the users.
        user_id: Who.
        demographics: Gender, age and occupation, numbered from 0, of somebody who is no user; None for what is unknown.
        ratings: By movie id, the stars that somebody who is no user gave, or not a number for a film that was seen.
        liked: Ids of films that they liked, on top of what they rated.
        seen: Ids of films that they saw and did not like much.
        include_seen: Whether they may be shown films that they rated in training.

    Raises:
        ModelError: The model does not know the user.
    """
    rated: dict[int, float] = {}
    row = int(anonymous_row(*np.array([0 if index is None else 1 + index for index in demographics])))
    if user_id is not None:
        row = model.person_row(user_id)
        records = model.ratings_of(user_id)
        records = records[~records["held_out"]]
        rated = dict(zip(records["movie_id"].tolist(), records["rating"].tolist(), strict=True))
    told = dict.fromkeys(seen, SEEN_WEIGHT) | dict.fromkeys(liked, LIKED_WEIGHT)
    left_out = list(told) if include_seen else [*rated, *told]
    rated |= ratings or {}
    weights = weights_of(np.fromiter(rated.values(), np.float32)).tolist()
    known = dict(zip(rated, weights, strict=True)) | told
    return Person(
        ("" if user_id is None else f"user {user_id}: ") + _describe(model, row),
        row,
        np.fromiter(known, np.int64),
        np.fromiter(known.values(), np.float32),
        {movie_id: stars for movie_id, stars in (ratings or {}).items() if not np.isnan(stars)},
        [*left_out, *(ratings or {})],
    )


def _describe(model: SavedModel, row: int) -> str:
    return ", ".join(labels[index - 1] if index else nobody for nobody, labels, index in _demographics(model, row))


def _demographics(model: SavedModel, row: int) -> list[tuple[str, Sequence[str], int]]:
    """Returns of gender, age and occupation what to call it if unknown, its labels, and its index."""
    return list(zip(("anyone", "any age", "any job"), LABELS, model.arrays.people[row, 1:].tolist(), strict=True))


def stars_vector(
    model: SavedModel, person: Person, described: np.ndarray, movie_vectors: Mapping[int, np.ndarray]
) -> np.ndarray:
    """Returns float32[200], the vector that predicts how a person rates.

    Args:
        model: Of the person.
        person: Who.
        described: float32[200], what the user tower makes of them.
        movie_vectors: By id, float32[200] of each movie in `person.ratings`.
    """
    if not person.ratings:
        return described
    rated = np.array([movie_vectors[movie_id] for movie_id in person.ratings])
    return model.deviations.moved(described, rated, np.fromiter(person.ratings.values(), float))


def score_of(person: Person, vector: np.ndarray, movie_vector: np.ndarray) -> float:
    """Returns the predicted rating, in stars; a vector that was moved is longer than 1, and may point beyond 5."""
    score = MAX_SCORE * float(vector @ movie_vector)
    return min(max(score, RATINGS[0]), RATINGS[-1]) if person.ratings else score


def recommend(
    model: SavedModel, index: MovieIndex, people: Sequence[Person], wish: Wish
) -> Iterator[list[Recommendation]]:
    """Finds for each of some people, `MANY` at a time, the movies that suit them best.

    Args:
        model: Of the people.
        index: Of the movies.
        people: Who asks.
        wish: What for.

    Yields:
        Each one's movies, best first.
    """
    stars_weight, taste_weight = WEIGHTS[wish.by]
    for start in range(0, len(people), MANY):
        part = people[start : start + MANY]
        rated = index.fetch({movie_id for person in part for movie_id in person.ratings})
        movie_vectors = {movie_id: movie.vector[:VECTOR_SIZE] for movie_id, movie in rated.items()}
        described = model.arrays.user_vectors[[person.row for person in part]]
        stars = np.array([stars_vector(model, *one, movie_vectors) for one in zip(part, described, strict=True)])
        tastes = np.array([vector_of(*known_of(model, index, person)) for person in part])
        questions = np.hstack([stars_weight * stars, taste_weight * tastes])
        found = index.search(questions, wish.k, wish.where, [person.left_out for person in part])
        stored = index.fetch({hit.movie_id for hits in found for hit in hits})
        for row, person in enumerate(part):
            answer = []
            parts = parts_of(*known_of(model, index, person)) if wish.why else None
            for hit in found[row]:
                movie, num_ratings, vector = stored[hit.movie_id]
                star_vector, taste_vector = vector[:VECTOR_SIZE], vector[VECTOR_SIZE:]
                score, pick = score_of(person, stars[row], star_vector), float(tastes[row] @ taste_vector)
                reasons = [] if parts is None else explain(model, index, person, parts @ taste_vector[:-1])
                answer.append(Recommendation(movie, num_ratings, score, pick, reasons))
            yield answer


def known_of(
    model: SavedModel, index: MovieIndex, person: Person
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns what makes a person's taste: the arguments of `parts_of` and `vector_of`."""
    movie_index = model.movie_index(person.movie_ids)
    history = model.arrays.history[movie_index]
    unknown = np.flatnonzero(movie_index == UNKNOWN)
    if len(unknown):
        movie_ids = person.movie_ids[unknown].tolist()
        stored = index.fetch(movie_ids)
        features = encode_movies([stored[movie_id].movie for movie_id in movie_ids], model.vocabularies)
        history[unknown] = model.taste.history_of(features, model.vocabularies)
    return history, person.weights, model.arrays.demographics, model.arrays.people[person.row, 1:]


def explain(model: SavedModel, index: MovieIndex, person: Person, added: np.ndarray) -> list[Reason]:
    """Says what added most to a pick score: films that the person knows or, if there are none, what they are.

    Args:
        model: Of the person.
        index: Of the movies.
        person: Who asks.
        added: float32[films + 3], what each of `parts_of` them adds to it.
    """
    num_films = len(person.movie_ids)
    if num_films == 0:
        parts = zip(_demographics(model, person.row), added.tolist(), strict=True)
        reasons = [Reason(labels[index - 1], part) for (_, labels, index), part in parts if index]
        return sorted(reasons, key=lambda reason: -reason.added)
    best = [film for film in np.argsort(-added[:num_films])[:MAX_REASONS].tolist() if added[film] > 0]
    movie_ids = person.movie_ids[best].tolist()
    stored = index.fetch(movie_ids)
    pairs = zip(movie_ids, added[best].tolist(), strict=True)
    return [Reason(stored[movie_id].movie.name, part) for movie_id, part in pairs]


def explain_few(
    index: MovieIndex, genres: Sequence[str], years: tuple[int | None, int | None], min_ratings: int
) -> str:
    """Says why there are not as many movies as asked for; the arguments are those of `MovieIndex.where`."""
    all_fits = index.count_where(index.where(genres, years))
    rare = all_fits - index.count_where(index.where(genres, years, min_ratings))
    if not rare:
        return "no more movies fit"
    return (
        f"{counted(rare, 'more movie')} would fit with fewer than {counted(min_ratings, 'rating')}; try --min-ratings 0"
    )


def find_movie(index: MovieIndex, text: str) -> Title:
    """Returns the movie that a person means by a title, a part of one, or an id, which may be written `id:2001`.

    Raises:
        QuestionError: There is none, or more than one; the message offers some.
    """
    number = text.removeprefix(ID_PREFIX)
    is_id = number.isascii() and number.isdigit() and len(number) <= 18
    by_id = index.titles(f"id == {int(number)}") if is_id else []
    if text.startswith(ID_PREFIX):
        if not by_id:
            raise QuestionError(f"no movie has the id {number!r}")
        return by_id[0]
    by_title = find_titles(index, [text])[text]
    if by_id and by_title.way not in (Fit.NAME, Fit.OTHER_NAME, Fit.BEGINNING):
        return by_id[0]
    candidates = [*by_id, *by_title.titles]
    if len(candidates) == 1 and by_title.way is not None:
        return candidates[0]
    offer = "; ".join(f"{ID_PREFIX}{title.movie_id} {title.title}" for title in candidates[:MAX_OFFERED])
    if by_id or by_title.way is not None:
        raise QuestionError(f"more than one movie fits {text!r}; choose by id: {offer}")
    raise QuestionError(f"no movie is called {text!r}; " + (f"choose by id: {offer}" if offer else "none comes near"))


def find_titles(index: MovieIndex, texts: Sequence[str], whole: bool = False) -> dict[str, Found]:
    """Returns the movies that fit each text best, without looking at all movies where some have those very names.

    Args:
        index: Of the movies.
        texts: What people typed.
        whole: See `TitleIndex.find`.
    """
    found: dict[str, Found] = {}
    for start in range(0, len(texts), NAMES_A_FILTER):
        keys = [title_key(text) for text in texts[start : start + NAMES_A_FILTER]]
        named = TitleIndex(index.titles(f"title_key in {string_literals(keys)}"))
        found |= {text: named.find(text, whole) for text in texts[start : start + NAMES_A_FILTER]}
    others = [text for text, one in found.items() if one.way is not Fit.NAME]
    if others:
        all_titles = TitleIndex(index.titles())
        found |= {text: all_titles.find(text, whole) for text in others}
    return found
