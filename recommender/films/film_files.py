"""Files of ratings and films that new users bring: read, matched with the collection, and reported."""

import csv
import math
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from recommender.films.exports import CsvRating, FilmReference, parse_films, parse_ratings_csv, parse_user_ids
from recommender.films.titles import display_title
from recommender.errors import RecommenderError, pluralize
from recommender.files import atomic_write, read_bytes
from recommender.milvus.collection import MovieCollection
from recommender.films.matching import FilmMatches, Title, match_films

FEW_FILMS = 10
"""Number of matched films below which a user is told that they are few."""
MAX_NAMED = 5

Ratings = dict[int, float]
"""Stars by movie id; NaN for a movie that was seen and not rated."""


class FilmFiles:
    """Reads files of ratings and films; at the end of a `with` block it writes the films that did not match.

    Args:
        collection: The movies that films are matched with.
        unmatched: The file to write.
    """

    def __init__(self, collection: MovieCollection, unmatched: Path | None) -> None:
        self.collection = collection
        self._unmatched_file = unmatched
        self._unmatched: list[tuple[FilmReference, str, str]] = []
        self._has_matched = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._unmatched_file is not None and self._has_matched:
            with atomic_write(self._unmatched_file) as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["film", "problem", "similar"])
                writer.writerows(dict.fromkeys(self._unmatched))

    def load_ratings(self, paths: Sequence[Path]) -> Ratings:
        """Returns one user's ratings from one or several files; of a film that comes again the last rating counts.

        Raises:
            DataError: A file is malformed.
            RecommenderError: None of the films is in the collection.
        """
        rows: list[CsvRating] = []
        notes: list[str] = []
        for path in paths:
            if path.name.casefold().startswith("watchlist"):
                message = f"{path}: a watchlist is of films not yet seen; give ratings.csv or watched.csv, or rank it"
                raise RecommenderError(f"{message}: --among {path}")
            parsed = parse_ratings_csv(read_bytes(path, "a CSV file of ratings is needed"), str(path))
            rows += parsed.ratings
            notes += [f"{path}: {note}" if len(paths) > 1 else note for note in parsed.notes]
        movie_ids = self._match(", ".join(map(str, paths)), [row.film for row in rows], notes)
        ratings = ratings_by_user(rows, movie_ids)[""]
        if len(ratings) < FEW_FILMS:
            films = pluralize(len(ratings), "film")
            print(
                f"note: only {films} matched; fewer than {FEW_FILMS} say little about this user's taste",
                file=sys.stderr,
            )
        return ratings

    def load_films(self, paths: Sequence[Path]) -> tuple[int, ...]:
        """Returns the ids of the movies that one or several lists of films name.

        Raises:
            DataError: A file is malformed.
            RecommenderError: None of the films is in the collection.
        """
        films = [film for path in paths for film in parse_films(read_bytes(path), str(path))]
        return tuple(sorted(set(self._match(", ".join(map(str, paths)), films).values())))

    def load_new_users(self, path: Path) -> list[int] | dict[str, Ratings]:
        """Returns the user ids of a file with one per line or, of a CSV file, the ratings of new users by name.

        Raises:
            DataError: The file is malformed.
        """
        expected = "user ids, one per line, or a CSV file of ratings with a column user"
        raw = read_bytes(path, f"a file of {expected}, is needed")
        if not raw.strip():
            raise RecommenderError(f"{path}: no users in it; write {expected}")
        first_line = raw.removeprefix(BOM_UTF8).lstrip(b"\r\n").partition(b"\n")[0]
        if not any(delimiter in first_line for delimiter in (b",", b";", b"\t")):
            return parse_user_ids(raw, str(path))
        parsed = parse_ratings_csv(raw, str(path), many_users=True)
        movie_ids = self._match(str(path), [row.film for row in parsed.ratings], parsed.notes, allow_none=True)
        rated = ratings_by_user(parsed.ratings, movie_ids)
        users = {row.user: rated.get(row.user, {}) for row in parsed.ratings}
        none = [user for user, ratings in users.items() if not ratings]
        few = [user for user, ratings in users.items() if 0 < len(ratings) < FEW_FILMS]
        if none:
            print(f"note: no film matched, so recommendations are for anyone: {shorten(none)}", file=sys.stderr)
        if few:
            print(f"note: fewer than {FEW_FILMS} films matched: {shorten(few)}", file=sys.stderr)
        return users

    def _match(
        self, name: str, films: Sequence[FilmReference], notes: Sequence[str] = (), allow_none: bool = False
    ) -> dict[FilmReference, int]:
        """Returns the movie ids of the films that match; reports the others, and raises where no film does."""
        self._has_matched = True
        matches = match_films(self.collection, films, offer_similar=self._unmatched_file is not None)
        self._report(name, matches, notes)
        if not matches.movie_ids and not allow_none:
            size = f"{self.collection.num_movies:,}"
            problem = "matches one alone of" if matches.ambiguous else "is among"
            raise RecommenderError(f"{name}: none of its films {problem} the {size} of the collection")
        return matches.movie_ids

    def _report(self, name: str, matches: FilmMatches, notes: Sequence[str]) -> None:
        """Prints how many films were matched, and collects all others."""
        num_matched = len(matches.movie_ids)
        total = num_matched + len(matches.ambiguous) + len(matches.unmatched)
        print(f"{name}: {num_matched:,} of {pluralize(total, 'film')} matched", file=sys.stderr)
        of_one_year: dict[FilmReference, list[Title]] = {}
        of_several_years: dict[FilmReference, list[Title]] = {}
        for film, titles in matches.ambiguous.items():
            same_problem = of_one_year if len({title.year for title in titles}) == 1 else of_several_years
            same_problem[film] = titles
        others = {
            "not in the catalogue": matches.unmatched,
            "several movies match, add a year": of_several_years,
            "several movies match, write an id in place of the title": of_one_year,
        }
        for problem, films in others.items():
            if films:
                print(f"  {problem}: {shorten(map(str, films))}", file=sys.stderr)
            for film, titles in films.items():
                similar = (title.with_id if film in of_one_year else display_title(title.title) for title in titles)
                self._unmatched.append((film, problem, "; ".join(similar)))
        for note in notes:
            print(f"  {note}", file=sys.stderr)
        if self._unmatched_file is None and total - num_matched > MAX_NAMED:
            print("  for all of them, with similar titles: --unmatched FILE", file=sys.stderr)


def ratings_by_user(rows: Iterable[CsvRating], movie_ids: Mapping[FilmReference, int]) -> dict[str, Ratings]:
    """Returns the ratings of matched films by user; a later rating replaces an earlier one, no rating replaces none."""
    by_user: dict[str, Ratings] = {}
    for row in rows:
        movie_id = movie_ids.get(row.film)
        if movie_id is not None:
            ratings = by_user.setdefault(row.user, {})
            if movie_id not in ratings or not math.isnan(row.rating):
                ratings[movie_id] = row.rating
    return by_user


def shorten(names: Iterable[str]) -> str:
    """Returns the first `MAX_NAMED` names, each of 60 characters at most, and the number of others."""
    listed = list(names)
    shown = ", ".join(name if len(name) <= 60 else name[:57] + "..." for name in listed[:MAX_NAMED])
    return shown + (f" and {len(listed) - MAX_NAMED:,} more" if len(listed) > MAX_NAMED else "")
