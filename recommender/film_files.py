"""Files of films that visitors bring: read, matched with the catalogue, and reported."""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recommender.errors import RecommenderError, pluralize
from recommender.files import STANDARD_STREAM, read_bytes
from recommender.films.exports import parse_user_ids, read_films, shorten
from recommender.films.matching import FilmHistory, LoadTitles, RowMatch, match_rows, match_table, to_history

FEW_FILMS = 10
"""Number of matched films below which a user is told that they are few."""
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
        history = to_history(self._match(paths))
        if not history.watched:
            raise RecommenderError("none of the films matched was seen; to rank a watchlist, give it to --among")
        if len(history.watched) < FEW_FILMS:
            log.warning("note: fewer than %d films say little about a taste", FEW_FILMS)
        return history

    def load_ids(self, paths: Sequence[Path]) -> tuple[int, ...]:
        """Returns the ids of the movies that lists of films name.

        Raises:
            DataError: A file cannot be read.
            RecommenderError: None of its films is in the catalogue.
        """
        matches = self._match(paths)
        movie_ids = {match.title.movie_id for match in matches if match.title}
        return tuple(sorted(movie_ids.union(*(match.twins for match in matches))))

    def load_users(self, path: Path) -> list[int] | dict[str, FilmHistory]:
        """Returns the ids in a file of one per line, or the histories by name in a table with a column `user`.

        Raises:
            DataError: The file cannot be read.
        """
        first_line = b"," if path == STANDARD_STREAM else read_bytes(path, USERS_EXPECTED).lstrip().partition(b"\n")[0]
        if not re.search(rb"[,;|\t{\[]", first_line):
            return parse_user_ids(path)
        matches: dict[str, list[RowMatch]] = defaultdict(list)
        for match in self._match([path], many_users=True):
            matches[match.row.user].append(match)
        users = {user: to_history(own) for user, own in matches.items()}
        few = [user for user, history in users.items() if len(history.watched) < FEW_FILMS]
        if few:
            log.warning("note: fewer than %d films matched: %s", FEW_FILMS, shorten(few))
        return users

    def _match(self, paths: Sequence[Path], many_users: bool = False) -> list[RowMatch]:
        """Returns the movie of each row of some files; reports how many were found, and how the files were read."""
        all_matches: list[RowMatch] = []
        for path in paths:
            rows, notes = read_films(path, many_users)
            matches = match_rows(rows, self._load_titles)
            self.matches += match_table(matches)
            matches = [match for match in matches if not match.row.problem]
            missing = [match.row.film for match in matches if not match.title]
            found = f"{len(matches) - len(missing):,} of {pluralize(len(matches), 'film')}"
            log.warning("%s: %s matched", path, found)
            not_matched = f"not matched: {shorten(missing, ', ')}" if missing else ""
            remarks = list(dict.fromkeys(match.note for match in matches if match.title and match.note))
            for note in filter(None, [not_matched, *notes, shorten(remarks)]):
                log.warning("  %s", note)
            all_matches += matches
        if not any(match.title or match.twins for match in all_matches):
            names = ", ".join(map(str, paths))
            raise RecommenderError(f"{names}: none of its films is in the catalogue; --matches FILE shows each row")
        return all_matches
