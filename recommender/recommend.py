"""From a question, who asks and for which films, to hits."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recommender import RecommenderError
from recommender.checkpoint import SavedModel
from recommender.features import anonymous_row
from recommender.movie_index import Hit, MovieIndex
from recommender.movielens import AGE_GROUPS, GENDERS, OCCUPATIONS
from recommender.titles import MAX_OFFERED, Fit, Found, Title, TitleIndex, title_key

AGE_LABELS = tuple(AGE_GROUPS.values())
GENDER_LABELS = tuple(GENDERS.values())
ID_PREFIX = "id:"
MANY = 200
"""People whose movies are looked for at once."""


class QuestionError(RecommenderError):
    """The question has no answer; the message says how to ask."""


class Person(NamedTuple):
    """Who asks."""

    row: int
    """Of the model's people."""
    user_id: int | None = None
    """None for somebody whom training has not seen."""


def person_of(
    model: SavedModel, user_id: int | None, gender: int | None, age: int | None, occupation: int | None
) -> Person:
    """Returns a known user or, without an id, whoever has some gender, age and occupation, numbered from 0.

    Raises:
        ModelError: The model does not know the user.
    """
    if user_id is not None:
        return Person(model.person_row(user_id), user_id)
    known = np.array([0 if index is None else 1 + index for index in (gender, age, occupation)])
    return Person(int(anonymous_row(*known)))


def describe(model: SavedModel, person: Person) -> str:
    """Says in words who asks."""
    _, gender, age, job = model.data.people[person.row]
    words = (("anyone", *GENDER_LABELS)[gender], ("any age", *AGE_LABELS)[age], ("any job", *OCCUPATIONS)[job])
    return (f"user {person.user_id}: " if person.user_id is not None else "") + ", ".join(words)


def seen_movies(model: SavedModel, person: Person) -> set[int]:
    """Returns the ids of the movies that somebody rated in training."""
    if person.user_id is None:
        return set()
    ratings = model.ratings_of(person.user_id)
    return set(ratings["movie_id"][~ratings["held_out"]].tolist())


def recommend(
    model: SavedModel, index: MovieIndex, people: Sequence[Person], k: int, where: str, include_seen: bool
) -> Iterator[list[Hit]]:
    """Finds for each of some people, `MANY` at a time, the k movies that suit them best.

    Args:
        model: Of the people.
        index: Of the movies.
        people: Who asks.
        k: How many movies each.
        where: Which count, from `MovieIndex.where`.
        include_seen: Whether those may be found that a user rated in training.
    """
    for start in range(0, len(people), MANY):
        part = people[start : start + MANY]
        vectors = model.data.user_vectors[[person.row for person in part]]
        leave_out = [set() if include_seen else seen_movies(model, person) for person in part]
        yield from index.search(vectors, k, where, leave_out)


def recommend_like(
    model: SavedModel,
    index: MovieIndex,
    person: Person | None,
    liked: Sequence[int],
    k: int,
    where: str,
    include_seen: bool,
) -> list[Hit]:
    """Finds the k movies near some others, or near the middle between these and a person."""
    directions = [_unit(index.vectors_of(liked).sum(0))]
    leave_out = set(liked)
    if person is not None:
        directions.append(model.data.user_vectors[person.row])
        leave_out |= set() if include_seen else seen_movies(model, person)
    return index.search(_unit(np.sum(directions, axis=0))[None], k, where, [leave_out])[0]


def _unit(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


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
