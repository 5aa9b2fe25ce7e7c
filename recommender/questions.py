"""Questions: arguments as people give them, turned into profiles and queries. A wrong one raises a UsageError."""

import os
import re
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recommender.errors import UsageError
from recommender.files import PathArg
from recommender.film_files import FilmFiles
from recommender.films.matching import FilmHistory, find_title
from recommender.films.titles import display_title
from recommender.lists import Query
from recommender.milvus.collection import MAX_TOP_K, MovieCollection
from recommender.milvus.filters import MovieFilter
from recommender.movielens.encoding import AGE_CODES, AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.store import SavedModel
from recommender.users import UserProfile
from recommender.vectors import RANKINGS

DEFAULT_MIN_RATINGS = {"stars": 50, "similar": 1}
"""Lower bounds on training ratings by ranking; a movie that nobody rated is like others only in words and genres."""


class Questions:
    """Turns arguments into profiles and queries.

    Args:
        model: The saved model.
        collection: The movies, whose titles and genres arguments name.
        films: Reads the files that arguments name.
    """

    def __init__(self, model: SavedModel, collection: MovieCollection, films: FilmFiles) -> None:
        self._model, self._collection, self._films = model, collection, films

    def profile(
        self,
        age: int | str | None = None,
        gender: int | str | None = None,
        job: int | str | None = None,
        user: int | None = None,
        like: str | Sequence[str] = (),
        seen: str | Sequence[str] = (),
        ratings: PathArg | Sequence[PathArg] = (),
        include_seen: bool = False,
    ) -> UserProfile:
        """Returns the profile of a user; the arguments are those of `recommend`."""
        if user is not None:
            if (age, gender, job) != (None, None, None) or ratings:
                raise UsageError("user has their own age, gender, job and ratings; leave these out")
            profile = UserProfile.from_user(self._model, parse_number("user", user, 1), include_seen)
        else:
            gender_idx, job_idx = parse_label("gender", gender, GENDER_LABELS), parse_label("job", job, OCCUPATIONS)
            profile = UserProfile.from_demographics(self._model, gender_idx, parse_age("age", age), job_idx)
        if ratings:
            profile = profile.with_films(self._films.load_history([Path(path) for path in as_list(ratings)]))
        named = FilmHistory()
        for verb, texts, movie_ids in (("likes", like, named.liked), ("knows", seen, named.seen)):
            titles = [find_title(text, self._collection.titles) for text in as_list(texts)]
            movie_ids.update(title.movie_id for title in titles)
            if titles:
                words = ", ".join(display_title(title.title) for title in titles)
                profile = replace(profile, description=f"{profile.description}; {verb} {words}")
        both = named.liked & named.seen
        if both:
            raise UsageError(f"like and seen both name id:{min(both)}; name it once")
        return profile.with_films(named)

    def users(self, users: Any, include_seen: bool) -> tuple[list[Any], Callable[[Any], UserProfile]]:
        """Returns the users of `recommend_many`, by id or name, and a function that returns the profile of one."""
        if isinstance(users, str | os.PathLike):
            users = self._model.user_ids.tolist() if users == "all" else self._films.load_users(Path(users))
        if isinstance(users, Mapping):
            if include_seen:
                raise UsageError("include_seen is for users of the training data")
            anyone = UserProfile.from_demographics(self._model)
            return list(users), lambda name: anyone.with_films(users[name])
        names = [parse_number("users", user_id, 1) for user_id in as_list(users)]
        for user_id in names:
            self._model.profile_row(user_id)  # Raises for an unknown id, before anything is written.
        return names, lambda user_id: UserProfile.from_user(self._model, user_id, include_seen)

    def query(
        self,
        profiles: Iterable[UserProfile],
        *,
        k: int = 5,
        skip: int = 0,
        by: str | None = None,
        variety: float = 0,
        novelty: float = 0,
        why: bool = False,
        genre: str | Sequence[str] = (),
        not_genre: str | Sequence[str] = (),
        year: int | str | Sequence[int | str] = (),
        min_ratings: int | str | None = None,
        max_ratings: int | str | None = None,
        among: PathArg | Sequence[PathArg] = (),
        not_among: PathArg | Sequence[PathArg] = (),
    ) -> tuple[Query, MovieFilter]:
        """Returns which movies to list, in which order.

        Args:
            profiles: The users; without `by`, the order suits what is known of all of them.
            k: Number of movies.
            skip: Number of movies at the top to leave out.
            by: `stars`, `picks`, `both` or `similar`.
            variety: 0 to 1; higher lists fewer movies of one kind.
            novelty: 0 to 1; higher lists less of what everyone likes.
            why: Whether to give reasons.
            genre: Genres of which a movie has at least one.
            not_genre: Genres of which a movie has none.
            year: Spans of years, such as 1994, "1990-1999" or "2000-".
            min_ratings: Lower bound on training ratings; a number, or a share of the movies such as "10%".
            max_ratings: Upper bound on them.
            among: Files of the films that alone may be listed.
            not_among: Files of films that must not be listed.
        """
        if by and by not in RANKINGS:
            raise UsageError(f"by={by!r:.40}: choose one of: {', '.join(RANKINGS)}")
        k = parse_number("k", k, 1, MAX_TOP_K)
        skip = parse_number("skip", skip, 0, MAX_TOP_K - k)
        variety = parse_number("variety", variety, 0, 1, float)
        novelty = parse_number("novelty", novelty, 0, 1, float)
        ranking = by or _suitable_ranking(profiles)
        if by == "similar" and not all(profile.liked for profile in profiles):
            raise UsageError("by similar needs a film that is liked; give like, or ratings with 4 stars or more")
        percentiles = self._collection.rating_percentiles
        lowest = None if min_ratings is None else parse_bound("min_ratings", min_ratings, percentiles)
        highest = None if max_ratings is None else parse_bound("max_ratings", max_ratings, percentiles)
        if lowest is None and highest is None:
            lowest = DEFAULT_MIN_RATINGS.get(ranking)
        if lowest is not None and highest is not None and lowest > highest:
            raise UsageError("min_ratings is above max_ratings; no movie has both")
        movie_filter = MovieFilter(
            genres=tuple(as_list(genre)),
            not_genres=tuple(as_list(not_genre)),
            years=tuple(parse_years("year", span) for span in as_list(year)),
            min_ratings=lowest,
            max_ratings=highest,
            among=self._films.load_ids([Path(path) for path in as_list(among)]) if among else None,
            not_among=self._films.load_ids([Path(path) for path in as_list(not_among)]) if not_among else (),
        )
        filter = self._collection.build_filter(movie_filter)
        return Query(ranking, k, filter, why, variety, novelty, skip), movie_filter


def _suitable_ranking(profiles: Iterable[UserProfile]) -> str:
    """Returns the ranking that suits what is known of all users."""
    suitable = set[str]()
    for profile in profiles:
        suitable.add(profile.default_ranking)
        if "both" in suitable:  # Whatever suits the rest, of whom there may be many.
            return "both"
    return "picks" if len(suitable) > 1 else "".join(suitable) or "stars"


def parse_number(name: str, value: Any, minimum: float, maximum: float = 2**31 - 1, kind: type = int) -> Any:
    """Returns a number of a kind, int or float, from `minimum` to `maximum`.

    Raises:
        UsageError: The value is something else.
    """
    with suppress(TypeError, ValueError, OverflowError):
        number = kind(value)
        is_exact = isinstance(value, str) or (number == value and not isinstance(value, bool))
        if is_exact and minimum <= number <= maximum:
            return number
    what = "a whole number" if kind is int else "a number"
    raise UsageError(f"{name}={value!r:.40}: it must be {what} from {minimum:g} to {maximum:.10g}")


def parse_label(name: str, value: Any, labels: Sequence[str]) -> int | None:
    """Returns the index of a label from its index, its text, or the beginning of one of its words; None for None.

    Raises:
        UsageError: No label matches, or several do.
    """
    if value is None:
        return None
    wanted = str(value).strip().casefold()
    folded = [label.casefold() for label in labels]
    found = [index for index, label in enumerate(folded) if wanted in (str(index), label, *label.split("/"))]
    if not found and not wanted.lstrip("-").isdecimal():
        found = [index for index, label in enumerate(folded) if re.search(rf"\b{re.escape(wanted)}", label)]
    if len(found) == 1:
        return found[0]
    options = ", ".join(f"{index} {labels[index]}" for index in found or range(len(labels)))
    raise UsageError(f"{name}={value!r:.40}: choose one of: {options}")


def parse_age(name: str, value: Any) -> int | None:
    """Returns the index of an age group from its index or label, or from an age in years that is no index."""
    text = str(value).strip()
    if re.fullmatch("[0-9]{1,3}", text) and int(text) >= len(AGE_LABELS):
        return bisect(AGE_CODES, parse_number(name, int(text), len(AGE_LABELS), 120)) - 1
    return parse_label(name, value, AGE_LABELS)


def parse_years(name: str, value: Any) -> tuple[int | None, int | None]:
    """Returns a span of years from 1994, "1990-1999", "1990-" or "-1960"; None is an open end.

    Raises:
        UsageError: The value is no span.
    """
    first, dash, last = str(value).strip().partition("-")
    if not dash:
        last = first
    years = [year for year in (first, last) if year]
    if not years or years != sorted(years) or not all(re.fullmatch("[0-9]{4}", year) for year in years):
        raise UsageError(f"{name}={value!r:.40}: it must be a span of years: 1994, 1990-1999, 1990- or -1960")
    return (int(first) if first else None, int(last) if last else None)


def parse_bound(name: str, value: Any, percentiles: np.ndarray) -> int:
    """Returns a number of ratings from itself or from a share of the movies such as "10%", the least rated tenth.

    Args:
        name: The argument's name.
        value: The argument.
        percentiles: int[101], the percentiles of the movies' numbers of ratings.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        return int(percentiles[parse_number(name, value.strip().removesuffix("%"), 0, 100)])
    return int(parse_number(name, value, 0))


def as_list(value: Any) -> list[Any]:
    """Returns a list of one value or of several; None is none."""
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
