"""Measures how films of a file are matched: real titles that a catalogue has or lacks, spelt as services spell them.

python tests/title_corpus.py DATA_DIR, the folder of ml-1m and ml-latest-small. Nothing of them is kept here.
"""

import csv
import random
import re
import sys
import time
import unicodedata
from pathlib import Path
from typing import NamedTuple

from recommender.films.exports import FilmRow
from recommender.films.matching import RowMatch, Title, match_rows
from recommender.films.titles import alternative_names, display_name, split_title

ROMAN = {"2": "II", "3": "III", "4": "IV", "5": "V", "6": "VI", "7": "VII", "8": "VIII"}
NUM_MISSING, NUM_PRESENT = 3000, 1500


class Figures(NamedTuple):
    """What became of the rows of a corpus."""

    matched: int
    other_films: list[RowMatch]
    """Rows that were matched with another film, or with any where the catalogue lacks theirs."""
    missed: list[RowMatch]
    """Rows of films that the catalogue has, which were matched with none."""
    num_missing: int
    num_present: int


def read_titles(data_dir: Path, name: str) -> list[Title]:
    """Returns the titles of ml-1m, ml-100k or ml-latest-small."""
    if name == "ml-latest-small":
        folder = data_dir / name
        links = {row["movieId"]: row for row in csv.DictReader((folder / "links.csv").open(encoding="utf-8"))}
        counts: dict[str, int] = {}
        for row in csv.DictReader((folder / "ratings.csv").open(encoding="utf-8")):
            counts[row["movieId"]] = counts.get(row["movieId"], 0) + 1
        return [
            Title(
                int(key), row["title"], counts.get(key, 0), f"tt{links[key]['imdbId']}", int(links[key]["tmdbId"] or 0)
            )
            for row in csv.DictReader((folder / "movies.csv").open(encoding="utf-8"))
            for key in [row["movieId"]]
        ]
    file, separator = ("movies.dat", "::") if name == "ml-1m" else ("u.item", "|")
    text = (data_dir / name / file).read_text("latin-1")
    rows = [line.split(separator) for line in text.split("\n") if line]
    ratings_file, separator = ("ratings.dat", "::") if name == "ml-1m" else ("u.data", "\t")
    counts = {}
    for line in (data_dir / name / ratings_file).open():
        key = line.split(separator)[1]
        counts[key] = counts.get(key, 0) + 1
    return [Title(int(row[0]), row[1], counts.get(row[0], 0)) for row in rows]


def load_from(titles: list[Title]):
    """Returns a `LoadTitles` of a list of titles."""
    from recommender.films.titles import title_key

    fields = {
        "title_key": lambda title: title_key(title.title),
        "year": lambda title: title.year,
        "id": lambda title: title.movie_id,
        "imdb_id": lambda title: title.imdb_id,
        "tmdb_id": lambda title: title.tmdb_id,
    }
    indices: dict[str, dict[object, list[Title]]] = {}

    def load(field, values=()):
        if not field:
            return list(titles)
        if field not in indices:
            indices[field] = {}
            for title in titles:
                indices[field].setdefault(fields[field](title), []).append(title)
        return [title for value in set(values) for title in indices[field].get(value, [])]

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
    if year and draw.random() < 0.08:
        year += draw.choice([-1, 1])
    return name, year


def as_row(title: str, draw: random.Random) -> FilmRow:
    name, year = spell(title, draw)
    return FilmRow(file="corpus.csv", line=2, title=name, year=year)


def measure(catalogue: list[Title], missing: list[str], present: list[Title], seed: int) -> Figures:
    """Matches rows of films that a catalogue lacks, and of films that it has."""
    draw = random.Random(seed)
    rows = [as_row(title, draw) for title in missing] + [as_row(title.title, draw) for title in present]
    truth = [None] * len(missing) + [title.movie_id for title in present]
    matches = match_rows(rows, load_from(catalogue))
    found = [match.title.movie_id if match.title else None for match in matches]
    twins = [{right, *match.twins} if right else {None} for right, match in zip(truth, matches, strict=True)]
    return Figures(
        sum(movie_id is not None for movie_id in found),
        [m for m, f, t, w in zip(matches, found, truth, twins, strict=True) if f is not None and f != t and f not in w],
        [m for m, f, t in zip(matches, found, truth, strict=True) if f is None and t is not None],
        len(missing),
        len(present),
    )


def corpora(data_dir: Path, seed: int, num_missing: int = NUM_MISSING, num_present: int = NUM_PRESENT):
    """Yields names of corpora and their figures."""
    draw = random.Random(seed)
    small, ml1m = (read_titles(data_dir, name) for name in ("ml-latest-small", "ml-1m"))
    for name, catalogue, source in (("ml-1m", ml1m, small), ("ml-latest-small", small, ml1m)):
        ids = {title.movie_id for title in catalogue}
        # A few films have two ids: those of the same name and year are left out.
        names = {(key, title.year) for title in catalogue for key in [split_title(title.title)[0].casefold()]}
        lacked = [
            title.title
            for title in source
            if title.movie_id not in ids
            and (split_title(title.title)[0].casefold(), title.year) not in names
            and 1920 <= (title.year or 0) <= 2024
        ]
        present = draw.sample([title for title in catalogue if title.year], num_present)
        yield (
            f"{name}, lacks what another release has",
            measure(catalogue, draw.sample(lacked, min(num_missing, len(lacked))), present, seed),
        )
        hidden = set(draw.sample(range(len(catalogue)), min(num_missing, len(catalogue) // 2)))
        rest = [title for row, title in enumerate(catalogue) if row not in hidden]
        of_rest = {title.title for title in rest}
        missing = [catalogue[row].title for row in sorted(hidden) if catalogue[row].year]
        present = draw.sample([title for title in rest if title.year], min(num_present, len(rest) // 2))
        missing = [title for title in missing if title not in of_rest]
        yield f"{name}, films hidden", measure(rest, missing, present, seed)


def main() -> None:
    data_dir, seeds = Path(sys.argv[1]), range(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    total = Figures(0, [], [], 0, 0)
    for seed in seeds:
        for name, figures in corpora(data_dir, seed):
            started = time.monotonic()
            wrong, missed = len(figures.other_films), len(figures.missed)
            print(
                f"{name}: {figures.num_missing} lacked, {figures.num_present} there; matched {figures.matched}, other films "
                f"{wrong} ({wrong / figures.matched:.3%}), found {1 - missed / figures.num_present:.2%}"
            )
            for match in figures.other_films:
                print(f"   OTHER  {match.row.title} ({match.row.year}) -> {match.title}: {match.note}")
            if "-v" in sys.argv:
                for match in figures.missed:
                    print(f"   MISSED {match.row.title} ({match.row.year})")
            total = Figures(*(a + b for a, b in zip(total, figures, strict=True)))
            del started
    wrong, missed = len(total.other_films), len(total.missed)
    print(
        f"all: other films {wrong} of {total.matched} ({wrong / total.matched:.3%}), found {1 - missed / total.num_present:.2%}"
    )


if __name__ == "__main__":
    main()
