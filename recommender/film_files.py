"""Files of films that visitors bring: read, matched with the catalogue, and reported."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recommender.errors import RecommenderError, pluralize
from recommender.files import STANDARD_STREAM, read_bytes
from recommender.films.exports import parse_user_ids, read_films, shorten
from recommender.films.matching import FilmHistory, LoadTitles, RowMatch, histories, match_rows, match_table

FEW_FILMS = 10
"""Number of matched films below which a user is told that they are few."""
MAX_NOTES = 5
USERS_EXPECTED = "give user ids, one per line, or a table of ratings with a column user"

log = logging.getLogger("recommender")


class FilmFiles:
    """Reads files of films, and keeps which movie each row became.

    Args:
        load_titles: Returns titles of the catalogue.
    """

    def __init__(self, load_titles: LoadTitles) -> None:
        self._load_titles = load_titles
        self.matches: list[dict[str, Any]] = []
        """A row per row of the files: `file`, `line`, `film`, `movie_id`, `title`, `stars`, `note`."""

    def load_history(self, paths: Sequence[Path]) -> FilmHistory:
        """Returns what the files of one user say of their taste.

        Raises:
            DataError: A file cannot be read.
            RecommenderError: None of its films is in the catalogue, or all are planned.
        """
        history = histories(self._match(paths)).get("", FilmHistory())
        names = ", ".join(map(str, paths))
        num_films = len(history.watched)
        if num_films == 0 and history.planned:
            raise RecommenderError(f"{names}: a watchlist, of films not yet seen; to rank it, give it to --among")
        if num_films == 0:
            raise RecommenderError(f"{names}: none of its films is in the catalogue; --matches FILE shows each row")
        if num_films < FEW_FILMS:
            films = pluralize(num_films, "film")
            log.warning("note: only %s matched; fewer than %d say little about a taste", films, FEW_FILMS)
        return history

    def load_ids(self, paths: Sequence[Path]) -> tuple[int, ...]:
        """Returns the ids of the movies that lists of films name.

        Raises:
            DataError: A file cannot be read.
            RecommenderError: None of its films is in the catalogue.
        """
        matches = self._match(paths)
        movie_ids = {match.title.movie_id for match in matches if match.title}
        movie_ids |= {twin for match in matches for twin in match.twins}
        if not movie_ids:
            raise RecommenderError(f"{', '.join(map(str, paths))}: none of its films is in the catalogue")
        return tuple(sorted(movie_ids))

    def load_users(self, path: Path) -> list[int] | dict[str, FilmHistory]:
        """Returns the ids in a file of one per line, or the histories by name in a table with a column `user`.

        Raises:
            DataError: The file cannot be read.
        """
        first_line = b"," if path == STANDARD_STREAM else read_bytes(path, USERS_EXPECTED).lstrip().partition(b"\n")[0]
        if not re.search(rb"[,;|\t{\[]", first_line):
            return parse_user_ids(path)
        matches = self._match([path], many_users=True)
        users = histories(matches)
        sizes = {user: len(films.watched) for user, films in users.items()}
        for least, most, problem in (
            (0, 0, "no film matched, so lists are for anyone"),
            (1, FEW_FILMS - 1, "few films matched"),
        ):
            names = [user for user, size in sizes.items() if least <= size <= most]
            if names:
                log.warning("note: %s: %s", problem, shorten(names))
        return users

    def _match(self, paths: Sequence[Path], many_users: bool = False) -> list[RowMatch]:
        """Returns the movie of each row of some files; reports how many were found, and how the files were read."""
        all_matches: list[RowMatch] = []
        for path in paths:
            films = read_films(path, many_users)
            matches = match_rows(films.rows, self._load_titles)
            self.matches += match_table(matches, films.skipped)
            found = [match for match in matches if match.title]
            log.warning("%s: %s of %s matched", path, f"{len(found):,}", pluralize(len(matches), "film"))
            missing: dict[str, list[str]] = {}
            for match in matches:
                if not match.title:
                    missing.setdefault(match.note.partition(":")[0], []).append(match.row.film)
            for reason, names in missing.items():
                log.warning("  %s: %s", reason, shorten(names, ", "))
            for note in [*films.notes, *dict.fromkeys(match.note for match in found if match.note)][:MAX_NOTES]:
                log.warning("  %s", note)
            if len(matches) - len(found) > MAX_NOTES:
                log.warning("  for every row: --matches FILE")
            all_matches += matches
        return all_matches
