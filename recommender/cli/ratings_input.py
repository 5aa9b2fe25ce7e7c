"""Loads files of new users' ratings for the scripts, and reports how they were understood."""

import csv
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from recommender.data.ratings_csv import CsvRating, FilmReference, parse_ratings_csv, parse_user_ids
from recommender.data.titles import display_title
from recommender.errors import RecommenderError, pluralize
from recommender.files import atomic_write, read_bytes
from recommender.index.collection import MovieCollection
from recommender.inference.titles import FilmMatches, match_films

FEW_FILMS = 10
"""Number of matched films below which a user is told that they are few."""
MAX_NAMED = 5

Ratings = dict[int, float]
"""Stars by movie id; NaN for a movie that was seen and not rated."""


def load_ratings(collection: MovieCollection, paths: Sequence[Path], unmatched: Path | None) -> Ratings:
    """Returns one user's ratings from one or several files; of a film that comes again the last rating counts.

    Raises:
        DataError: A file is malformed.
        RecommenderError: None of the films is in the collection.
    """
    rows: list[CsvRating] = []
    notes: list[str] = []
    for path in paths:
        if path.name.casefold().startswith("watchlist"):
            message = f"{path}: a watchlist is of films not yet seen; give ratings.csv or watched.csv"
            raise RecommenderError(message)
        parsed = parse_ratings_csv(read_bytes(path, "--ratings takes a CSV file of ratings"), str(path))
        rows += parsed.ratings
        notes += parsed.notes
    name = ", ".join(map(str, paths))
    matches = match_films(collection, [row.film for row in rows])
    report_matches(name, matches, notes, unmatched)
    ratings = ratings_by_user(rows, matches.movie_ids).get("", {})
    if not ratings:
        raise RecommenderError(f"{name}: none of its films is among the {collection.num_movies:,} of the collection")
    if len(ratings) < FEW_FILMS:
        films = pluralize(len(ratings), "film")
        print(f"note: the taste is that of {films}; with {FEW_FILMS} or more it is told better", file=sys.stderr)
    return ratings


def load_new_users(collection: MovieCollection, path: Path, unmatched: Path | None) -> list[int] | dict[str, Ratings]:
    """Returns the user ids of a file with one per line or, of a CSV file, the ratings of new users by name.

    Raises:
        DataError: The file is malformed.
    """
    raw = read_bytes(path, "--users takes a file of user ids, one per line, a CSV file of ratings, or all")
    if not any(delimiter in raw.partition(b"\n")[0] for delimiter in (b",", b";", b"\t")):
        return parse_user_ids(raw, str(path))
    parsed = parse_ratings_csv(raw, str(path), many_users=True)
    matches = match_films(collection, [row.film for row in parsed.ratings])
    report_matches(str(path), matches, parsed.notes, unmatched)
    rated = ratings_by_user(parsed.ratings, matches.movie_ids)
    users = {row.user: rated.get(row.user, {}) for row in parsed.ratings}
    none = [user for user, ratings in users.items() if not ratings]
    few = [user for user, ratings in users.items() if 0 < len(ratings) < FEW_FILMS]
    if none:
        print(f"note: no film matched, so recommendations are for anyone: {shorten(none)}", file=sys.stderr)
    if few:
        print(f"note: fewer than {FEW_FILMS} films matched: {shorten(few)}", file=sys.stderr)
    return users


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


def report_matches(name: str, matches: FilmMatches, notes: Sequence[str], unmatched: Path | None) -> None:
    """Prints how many films were matched, and writes all others to the file `unmatched`."""
    num_matched = len(matches.movie_ids)
    total = num_matched + len(matches.ambiguous) + len(matches.unmatched)
    print(f"{name}: {num_matched:,} of {pluralize(total, 'film')} matched", file=sys.stderr)
    others = {"not in the catalogue": matches.unmatched, "several movies match, add a year": matches.ambiguous}
    for problem, films in others.items():
        if films:
            print(f"  {problem}: {shorten(map(str, films))}", file=sys.stderr)
    for note in notes:
        print(f"  {note}", file=sys.stderr)
    if unmatched is None:
        if total - num_matched > MAX_NAMED:
            print("  for all of them, with similar titles: --unmatched FILE", file=sys.stderr)
        return
    with atomic_write(unmatched) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["film", "problem", "similar"])
        for problem, films in others.items():
            for film, titles in films.items():
                writer.writerow([film, problem, "; ".join(display_title(title.title) for title in titles)])


def shorten(names: Iterable[str]) -> str:
    """Returns the first `MAX_NAMED` names, each of 60 characters at most, and the number of others."""
    listed = list(names)
    shown = ", ".join(name if len(name) <= 60 else name[:57] + "..." for name in listed[:MAX_NAMED])
    return shown + (f" and {len(listed) - MAX_NAMED:,} more" if len(listed) > MAX_NAMED else "")
