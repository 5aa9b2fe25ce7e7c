"""From a question, who asks and for which films, to an answer: the films, and why these."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recommender import RecommenderError
from recommender.checkpoint import SavedModel
from recommender.evaluation import MAX_SCORE
from recommender.features import UNKNOWN, anonymous_row, encode_movies
from recommender.movie_index import MovieIndex
from recommender.movielens import AGE_GROUPS, GENDERS, OCCUPATIONS, Movie
from recommender.taste import LIKED_WEIGHT, SEEN_WEIGHT, weights_of
from recommender.titles import MAX_OFFERED, Fit, Found, Title, TitleIndex, title_key

LABELS = (tuple(GENDERS.values()), tuple(AGE_GROUPS.values()), OCCUPATIONS)
"""Of gender, age and occupation, numbered from 0."""
ID_PREFIX = "id:"
MANY = 1000
"""People whose movies are looked for at once."""
MAX_REASONS = 3
STARS_WEIGHT = 0.2
"""What a star counts beside a pick score where both count; chosen on validation rows of ml-1m."""
WEIGHTS = {"stars": (1.0, 0.0), "picks": (0.0, 1.0), "both": (MAX_SCORE * STARS_WEIGHT, 1.0)}
"""By what movies are ordered: the weights of the inner products of stars and of tastes."""


class QuestionError(RecommenderError):
    """The question has no answer; the message says how to ask."""


class Person(NamedTuple):
    """Who asks."""

    row: int
    """Of the model's people."""
    user_id: int | None
    """None for somebody whom training has not seen."""
    movie_ids: np.ndarray
    """int64[films], the films that they know"""
    weights: np.ndarray
    """float32[films], how much each counts"""
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
    liked: Sequence[int] = (),
    seen: Sequence[int] = (),
    include_seen: bool = False,
) -> Person:
    """Returns a user of the training data or, without an id, whoever fits a description.

    Args:
        model: Of the users.
        user_id: Who.
        demographics: Gender, age and occupation, numbered from 0, of somebody who is no user; None for what is unknown.
        liked: Ids of films that they liked, on top of what they rated in training.
        seen: Ids of films that they saw and did not like much.
        include_seen: Whether they may be shown films that they rated in training.

    Raises:
        ModelError: The model does not know the user.
    """
    known = {}
    if user_id is None:
        row = int(anonymous_row(*np.array([0 if index is None else 1 + index for index in demographics])))
    else:
        row = model.person_row(user_id)
        rated = model.ratings_of(user_id)
        rated = rated[~rated["held_out"]]
        known = dict(zip(rated["movie_id"].tolist(), weights_of(rated["rating"]).tolist(), strict=True))
    told = dict.fromkeys(seen, SEEN_WEIGHT) | dict.fromkeys(liked, LIKED_WEIGHT)
    left_out = list(told) if include_seen else list(known | told)
    known |= told
    return Person(row, user_id, np.fromiter(known, np.int64), np.fromiter(known.values(), np.float32), left_out)


def describe(model: SavedModel, person: Person) -> str:
    """Says in words who asks."""
    words = [labels[index - 1] if index else nobody for nobody, labels, index in _demographics(model, person)]
    return (f"user {person.user_id}: " if person.user_id is not None else "") + ", ".join(words)


def _demographics(model: SavedModel, person: Person) -> list[tuple[str, Sequence[str], int]]:
    """Returns of gender, age and occupation what to call it if unknown, its labels, and its index."""
    return list(
        zip(("anyone", "any age", "any job"), LABELS, model.arrays.people[person.row, 1:].tolist(), strict=True)
    )


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
        stars = model.arrays.user_vectors[[person.row for person in part]]
        tastes = np.array([model.taste.vector_of(*known_of(model, index, person)) for person in part])
        questions = np.hstack([stars_weight * stars, taste_weight * tastes])
        found = index.search(questions, wish.k, wish.where, [person.left_out for person in part])
        stored = index.fetch({hit.movie_id for hits in found for hit in hits})
        for row, person in enumerate(part):
            answer = []
            for hit in found[row]:
                movie, num_ratings, vector = stored[hit.movie_id]
                star_vector, taste_vector = vector[: stars.shape[1]], vector[stars.shape[1] :]
                score, pick = float(MAX_SCORE * stars[row] @ star_vector), float(tastes[row] @ taste_vector)
                reasons = explain(model, index, person, taste_vector) if wish.why else []
                answer.append(Recommendation(movie, num_ratings, score, pick, reasons))
            yield answer


def known_of(model: SavedModel, index: MovieIndex, person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what makes a person's taste: rows and weights of the films that they know, and their demographics."""
    movie_index = model.movie_index(person.movie_ids)
    history = model.taste.history[movie_index]
    unknown = np.flatnonzero(movie_index == UNKNOWN)
    if len(unknown):
        movie_ids = person.movie_ids[unknown].tolist()
        stored = index.fetch(movie_ids)
        features = encode_movies([stored[movie_id].movie for movie_id in movie_ids], model.vocabularies)
        history[unknown] = model.taste.history_of(features, model.vocabularies)
    return history, person.weights, model.arrays.people[person.row, 1:]


def explain(model: SavedModel, index: MovieIndex, person: Person, taste_vector: np.ndarray) -> list[Reason]:
    """Says what added most to a pick score: films that the person knows or, if there are none, what they are.

    Args:
        model: Of the person.
        index: Of the movies.
        person: Who asks.
        taste_vector: float32[200], of the movie.
    """
    added = model.taste.parts_of(*known_of(model, index, person)) @ taste_vector[:-1]
    num_films = len(person.movie_ids)
    if num_films == 0:
        parts = zip(_demographics(model, person), added.tolist(), strict=True)
        reasons = [Reason(labels[index - 1], part) for (_, labels, index), part in parts if index]
        return sorted(reasons, key=lambda reason: -reason.added)
    best = [film for film in np.argsort(-added[:num_films])[:MAX_REASONS].tolist() if added[film] > 0]
    movie_ids = person.movie_ids[best].tolist()
    stored = index.fetch(movie_ids)
    pairs = zip(movie_ids, added[best].tolist(), strict=True)
    return [Reason(stored[movie_id].movie.name, part) for movie_id, part in pairs]


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
    by_title = find_titles(index, text)
    if by_id and by_title.way not in (Fit.NAME, Fit.OTHER_NAME, Fit.BEGINNING):
        return by_id[0]
    candidates = [*by_id, *by_title.titles]
    if len(candidates) == 1 and by_title.way is not None:
        return candidates[0]
    offer = "; ".join(f"{ID_PREFIX}{title.movie_id} {title.title}" for title in candidates[:MAX_OFFERED])
    if by_id or by_title.way is not None:
        raise QuestionError(f"more than one movie fits {text!r}; choose by id: {offer}")
    raise QuestionError(f"no movie is called {text!r}; " + (f"choose by id: {offer}" if offer else "none comes near"))


def find_titles(index: MovieIndex, text: str) -> Found:
    """Returns the movies that fit a title best, without looking at all of them if one has that very name."""
    exact = TitleIndex(index.titles(f"title_key == {json.dumps(title_key(text))}")).find(text)
    return exact if exact.way is not None else TitleIndex(index.titles()).find(text)
