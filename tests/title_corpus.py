"""Measures how films of a file are matched: real titles that a catalogue has or lacks, spelt as services spell them.

python tests/title_corpus.py DATA_DIR, the folder of ml-1m and ml-latest-small. Nothing of them is kept here.
"""

import csv
import functools
import random
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from recommender.films.exports import FilmRow
from recommender.films.matching import RowMatch, match_rows
from recommender.films.title_index import Title
from recommender.films.titles import alternative_names, display_name, split_title, title_key

ROMAN = {"2": "II", "3": "III", "4": "IV", "5": "V", "6": "VI", "7": "VII", "8": "VIII"}
NUM_MISSING, NUM_PRESENT = 3000, 1500
NUMBERED_TWICE = {
    frozenset(map(int, pair.split("/")))
    for pair in (
        "3366/6808 3416/6460 669/6918 1294/5060 2645/5649 1362/4424 3532/5560 1494/6425 2851/168358 811/860 1741/1795"
    ).split()
}
"""Ids under which releases of MovieLens have one film; found by reading what this program prints."""


class Figures(NamedTuple):
    """What became of the rows of a corpus."""

    matched: int
    other_films: list[RowMatch]
    """Rows that were matched with another film, or with any where the catalogue lacks theirs."""
    missed: list[RowMatch]
    """Rows of films that the catalogue has, which were matched with none."""
    num_missing: int
    num_present: int


@functools.cache
def read_titles(data_dir: Path, name: str) -> list[Title]:
    """Returns the titles of ml-1m, ml-100k or ml-latest-small."""
    folder = data_dir / name
    if name == "ml-latest-small":
        files = [(folder / file).open(encoding="utf-8") for file in ("movies.csv", "links.csv", "ratings.csv")]
        movies, links, ratings = map(csv.DictReader, files)
        counts = Counter(row["movieId"] for row in ratings)
        return [
            Title(int(key), movie["title"], counts[key], f"tt{link['imdbId']}", int(link["tmdbId"] or 0))
            for movie, link in zip(movies, links, strict=True)
            for key in [movie["movieId"]]
        ]
    movies, ratings, ends = (
        ("movies.dat", "ratings.dat", ("::", "::")) if name == "ml-1m" else ("u.item", "u.data", ("|", "\t"))
    )
    rows = [line.split(ends[0]) for line in (folder / movies).read_text("latin-1").split("\n") if line]
    counts = Counter(line.split(ends[1])[1] for line in (folder / ratings).open())
    return [Title(int(row[0]), row[1], counts[row[0]]) for row in rows]


def load_from(titles: list[Title]):
    """Returns a `LoadTitles` of a list of titles."""
    fields = {
        "title_key": lambda title: title_key(title.title),
        "year": lambda title: title.year,
        "id": lambda title: title.movie_id,
        "imdb_id": lambda title: title.imdb_id,
        "tmdb_id": lambda title: title.tmdb_id,
    }

    @functools.cache
    def index(field):
        found = defaultdict(list)
        for title in titles:
            found[fields[field](title)].append(title)
        return found

    def load(field, values=()):
        return [title for value in set(values) for title in index(field)[value]] if field else list(titles)

    return load


def spell(title: str, draw: random.Random) -> tuple[str, int | None]:
    """Returns a title as a service may spell it, and its year, off by one now and then."""
    name, year = split_title(title)
    main, *others = alternative_names(title)
    kind = draw.randrange(10)
    if others and kind < 3:
        name = draw.choice([other for other in others if other.strip()] or [main])
    elif others and kind < 8:
        name = main
    if draw.random() < 0.85:
        name = display_name(name)
    changes = [
        lambda text: text.replace(" & ", " and "),
        lambda text: text.replace(" and ", " & "),
        lambda text: text.replace(": ", " - "),
        lambda text: text.replace(": ", " "),
        lambda text: text.replace(" - ", ": "),
        lambda text: text.replace("'", "\u2019"),
        lambda text: text.replace("'", ""),
        lambda text: re.sub(r"\b[2-8]$", lambda match: ROMAN[match[0]], text),
        lambda text: re.sub(r"\bPart (II|2)\b", "Part Two", text),
        lambda text: re.sub(r"[!?.,]", "", text),
        lambda text: re.sub(r"^(The|A|An) ", "", text),
        lambda text: "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)),
        str.lower,
        str.upper,
        lambda text: text.replace("Vol.", "Volume"),
        lambda text: f"{text} ({main})",
    ]
    for change in draw.sample(changes, draw.choice([0, 0, 1, 1, 2])):
        name = change(name)
    if year and draw.random() < 0.04:
        year += draw.choice([-1, 1])
    return name, year


def as_row(title: str, draw: random.Random) -> FilmRow:
    name, year = spell(title, draw)
    return FilmRow(file="corpus.csv", line=2, title=name, year=year)


def is_same(film: Title, found: Title) -> bool:
    """Returns whether no title tells two films apart, or two ids are of one film."""
    if frozenset({film.movie_id, found.movie_id}) in NUMBERED_TWICE:
        return True
    return film.year == found.year and title_key(film.title) == title_key(found.title)


def measure(catalogue: list[Title], missing: list[Title], present: list[Title], seed: int) -> Figures:
    """Matches rows of films that a catalogue lacks, and of films that it has."""
    draw = random.Random(seed)
    films = missing + present
    matches = match_rows([as_row(film.title, draw) for film in films], load_from(catalogue))
    others, missed, matched = [], [], 0
    for position, (film, match) in enumerate(zip(films, matches, strict=True)):
        found = {match.title.movie_id, *match.twins} if match.title else set()
        matched += bool(found)
        if position >= len(missing) and not found:
            missed.append(match)
        if match.title and film.movie_id not in found and not is_same(film, match.title):
            others.append(match)
    return Figures(matched, others, missed, len(missing), len(present))


def corpora(data_dir: Path, seed: int, num_missing: int = NUM_MISSING, num_present: int = NUM_PRESENT):
    """Yields names of corpora and their figures: films of another release, and films hidden from the catalogue."""
    draw = random.Random(seed)
    small, ml1m = (read_titles(data_dir, name) for name in ("ml-latest-small", "ml-1m"))
    for name, catalogue, source in (("ml-1m", ml1m, small), ("ml-latest-small", small, ml1m)):
        ids = {title.movie_id for title in catalogue}
        lacked = [title for title in source if title.movie_id not in ids and 1920 <= (title.year or 0) <= 2024]
        present = draw.sample([title for title in catalogue if title.year], num_present)
        figures = measure(catalogue, draw.sample(lacked, min(num_missing, len(lacked))), present, seed)
        yield f"{name}, films of another release", figures
        films = draw.sample([title for title in catalogue if title.year], min(num_missing, len(catalogue) // 2))
        rest = sorted(set(catalogue) - set(films))
        present = draw.sample([title for title in rest if title.year], min(num_present, len(rest) // 2))
        yield f"{name}, films hidden", measure(rest, films, present, seed)


def describe(name: str, figures: Figures) -> str:
    others = f"{len(figures.other_films)} other films ({len(figures.other_films) / figures.matched:.3%})"
    found = f"{1 - len(figures.missed) / figures.num_present:.2%}"
    rows = f"{figures.num_missing} rows of films it lacks, {figures.num_present} of films it has"
    return f"{name}: {rows}: {figures.matched} matched, {others}, found {found}"


def main() -> None:
    data_dir, seeds = Path(sys.argv[1]), range(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    totals: dict[str, Figures] = {}
    for seed in seeds:
        for name, figures in corpora(data_dir, seed):
            print(describe(name, figures))
            for match in figures.other_films:
                print(f"   {match.row.film} is not {match.title.with_id}: {match.note}")
            for match in figures.missed if "-v" in sys.argv else ():
                print(f"   missed: {match.row.film}")
            kind = name.split(", ")[1]
            totals[kind] = Figures(*(a + b for a, b in zip(totals.get(kind, (0, [], [], 0, 0)), figures, strict=True)))
    for kind, figures in totals.items():
        print(describe(f"all, {kind}", figures))


if __name__ == "__main__":
    main()
