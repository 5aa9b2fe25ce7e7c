"""Files that people have, from bytes to films: the cases in the folder cases, services, encodings, odd cells."""

import csv
import io
import json
import math
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from title_corpus import load_from, read_titles

from recommender.errors import RecommenderError
from recommender.films.exports import FilmRow, parse_user_ids, read_films
from recommender.films.matching import match_rows, to_history
from recommender.films.title_index import Title
from recommender.films.titles import alternative_names, display_name, title_key

CASES = Path(__file__).parent / "cases"
NO_STARS = math.nan


class Films(NamedTuple):
    rows: list[FilmRow]
    skipped: list[FilmRow]
    notes: list[str]


def read(tmp_path, content, name="mine.csv", **options):
    """Returns the films in a text or bytes, and leaves the file in the folder."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows, notes = read_films(path, **options)
    return Films([row for row in rows if not row.problem], [row for row in rows if row.problem], notes)


def zip_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# Cases: what a file means, for a catalogue of the same few films as a release of MovieLens has.

SMALL = [
    Title(1, "Alien (1979)", 900, "tt0078748", 348),
    Title(2, "Heat (1995)", 500, "tt0113277", 949),
    Title(3, "Fargo (1996)", 600, "tt0116282", 275),
    Title(4, "Chinatown (1974)", 300, "tt0071315", 829),
    Title(5, "Mirror, The (Zerkalo) (1975)", 20, "tt0072443", 1396),
    Title(6, "Alien: Covenant (2017)", 90, "tt2316204", 126889),
    Title(7, "Piano, The (1993)", 200, "tt0107822", 713),
    Title(8, "Pretty Woman (1990)", 400, "tt0100405", 114),
    Title(9, "Creep 2 (2017)", 5, "tt3654796", 427564),
    Title(10, "Pact, The (2012)", 5, "tt2040560", 98548),
    Title(11, "Submarine (2010)", 9, "tt1440292", 49020),
    Title(12, "Her (2013)", 100, "tt1798709", 152601),
    Title(13, "King's Ransom (2005)", 3, "tt0388183", 12779),
    Title(14, "City of God (Cidade de Deus) (2002)", 100, "tt0317248", 598),
    Title(15, "Helter Skelter (2004)", 4, "tt0383393", 1),
    Title(16, "Heartbreak Kid, The (2007)", 9, "tt0408839", 2),
    Title(17, "Innocents, The (1961)", 9, "tt0055018", 3),
    Title(18, "War of the Worlds (2005)", 50, "tt0407304", 74),
    Title(19, "War of the Worlds (2005)", 2, "tt0449040", 4),
    Title(20, "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)", 97, "tt0057012", 935),
    Title(21, "Doctor Strange (2016)", 40, "tt1211837", 284052),
    Title(22, "Mulholland Drive (2001)", 60, "tt0166924", 1018),
    Title(23, "Mulholland Falls (1996)", 6, "tt0117107", 5),
    Title(24, "Blade Runner (1982)", 124, "tt0083658", 78),
    Title(25, "Split (2017)", 20, "tt4972582", 381288),
]
ML1M = [
    *(title._replace(imdb_id="", tmdb_id=0) for title in SMALL[:4]),
    Title(30, "12 Angry Men (1957)", 600),
    Title(31, "Unforgiven (1992)", 800),
    Title(32, "Matrix, The (1999)", 990),
    Title(33, "Wild Wild West (1999)", 300),
    Title(34, "Dune (1984)", 100),
    Title(35, "Hot Spot, The (1990)", 9),
    Title(36, "Harold and Maude (1971)", 90),
    Title(37, "Schindler's List (1993)", 900),
    Title(38, "Me, Myself and Irene (2000)", 90),
    Title(39, "Scarface (1983)", 90),
]
ML100K = [
    Title(64, "Shawshank Redemption, The (1994)", 283),
    Title(318, "Schindler's List (1993)", 298),
    Title(356, "Client, The (1994)", 97),
    Title(527, "Gandhi (1982)", 195),
    Title(69, "Forrest Gump (1994)", 321),
    Title(98, "Silence of the Lambs, The (1991)", 390),
    Title(172, "Empire Strikes Back, The (1980)", 367),
    Title(173, "Princess Bride, The (1987)", 324),
    Title(272, "Good Will Hunting (1997)", 198),
]
CATALOGUES = {"ml-latest-small": SMALL, "ml-1m": ML1M, "ml-100k": ML100K}
S, M, H = CATALOGUES
BY_TITLE = {
    "The Shawshank Redemption": 4.0,
    "Forrest Gump": 2.5,
    "Schindler's List": 3.5,
    "The Silence of the Lambs": 4.0,
    "The Empire Strikes Back": 4.0,
    "The Princess Bride": 3.5,
    "Good Will Hunting": 4.0,
}
STRANGELOVE = "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb"
EXPECTED = {
    "letterboxd": (M, {"Alien": 5.0, "Heat": 3.0}, {"liked": {"Fargo"}, "seen": {"Fargo"}, "planned": {"Chinatown"}}),
    "trakt": (S, {"Alien": 4.5, "Heat": 2.0}, {"seen": {"Fargo"}, "planned": {"Chinatown"}}),
    "tmdb-tv-collision.csv": (S, {"Alien": 4.5}, {}),
    "tmdb-export.csv": (S, {"Alien": 5.0}, {}),
    "imdb-id-says-other.csv": (S, {"Alien: Covenant": 1.5}, {}),
    "imdb-italian.csv": (M, {"12 Angry Men": 4.5, "Unforgiven": 4.0}, {}),
    "rating10.csv": (M, {"The Matrix": 4.5, "Wild Wild West": 2.0}, {}),
    "criticker.csv": (S, {"The Piano": 5.0, "Pretty Woman": 0.5}, {}),
    "simkl.csv": (M, {"Alien": 4.5}, {"planned": {"Heat"}}),
    "movielens-export-on-ml-100k.csv": (H, BY_TITLE, {}),
    "release-year.csv": (M, {}, {}),
    "near-names-small.csv": (S, {"Alien": 4.0}, {}),
    "near-names-ml-1m.csv": (M, {"Alien": 4.0}, {}),
    "part-names-small.csv": (S, {"Her": 5.0}, {}),
    "letterboxd-list-without-first-line.csv": (S, {}, {"seen": {"City of God"}}),
    "ambiguous-is-recommended.csv": (S, {"War of the Worlds": 5.0, "Alien": 5.0}, {}),
    "list-without-years.txt": (S, {}, {"seen": {STRANGELOVE, "Mulholland Drive", "Blade Runner"}}),
    "html-entities.csv": (M, {"Harold and Maude": 4.0, "Schindler's List": 5.0, "Me, Myself and Irene": 3.0}, {}),
    "dash-rating.csv": (M, {"Scarface": 5.0, "The Matrix": 4.0}, {}),
    "netflix-blank-title.csv": (S, {}, {"seen": {"Alien", "Split"}}),
    "sep-line.csv": (M, {"Alien": 4.5}, {}),
    "year-as-float.csv": (M, {"Alien": 5.0}, {}),
    "two-forms-of-a-name.csv": (M, {"Alien": 5.0, "Heat": 5.0}, {}),
}
"""The release whose catalogue a file is for, ratings by name, and other films by meaning."""


def check_case(case, path, catalogue):
    _, rated, others = EXPECTED[case]
    names = {title.movie_id: display_name(alternative_names(title.title)[0]) for title in catalogue}
    has = set(map(title_key, names.values()))
    rows, _ = read_films(path, many_users=case.startswith("two-forms"))
    assert len({row.user for row in rows}) == 1
    matches = match_rows(rows, load_from(catalogue))
    history = to_history(matches)
    found = {names[movie_id]: stars for movie_id, stars in history.rated.items()}
    assert found == {name: stars for name, stars in rated.items() if title_key(name) in has}
    for meaning in ("liked", "seen"):
        assert {names[movie_id] for movie_id in getattr(history, meaning)} == others.get(meaning, set()), meaning
    planned = {match.title.movie_id for match in matches if match.title and match.row.meaning == "planned"}
    assert {names[movie_id] for movie_id in planned - history.watched} == others.get("planned", set())
    excluded = rated.keys() | others.get("seen", set())
    assert {names[movie_id] for movie_id in history.exclude} == {name for name in excluded if title_key(name) in has}
    return matches, history


@pytest.mark.parametrize("case", EXPECTED)
def test_case(case, tmp_path):
    path, catalogue = CASES / case, CATALOGUES[EXPECTED[case][0]]
    matches, history = check_case(case, path, catalogue)
    notes = " ".join(match.note for match in matches)
    if path.is_dir():
        shutil.make_archive(str(tmp_path / case), "zip", path)
        assert check_case(case, tmp_path / f"{case}.zip", catalogue)[1] == history
    elif case.startswith("ambiguous"):
        assert history.exclude == {18, 19, 1}, "whichever film of that name it was"
        assert "the best known of 2 films of that name and year" in notes
    elif case.startswith("list"):
        assert "taken to be Mulholland Drive (2001)" in notes
    elif case.startswith("movielens"):
        assert "matched by title, as its id is that of Schindler's List (1993)" in notes


@pytest.mark.movielens
@pytest.mark.parametrize("case", EXPECTED)
def test_case_on_a_whole_release(case):
    release = EXPECTED[case][0]
    check_case(case, CASES / case, read_titles(Path(os.environ["ML_DATA_DIR"]), release))


# Formats: each says that Alien has 4.5 stars, or what it says instead.

ALIEN = FilmRow("", 0, "Alien", year=1979, meaning="rated", stars=4.5)
IMDB_HEADER = "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Year"
FORMATS = {
    "Letterboxd": ("Date,Name,Year,Letterboxd URI,Rating\n2024-01-02,Alien,1979,https://boxd.it/x,4.5\n", {}),
    "Letterboxd, diary": (
        "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\n2024-01-02,Alien,1979,x,4.5,,,2024-01-01\n",
        {},
    ),
    "Letterboxd, list": (
        "Letterboxd list export v7\nDate,Name,Tags,URL,Description\n2021-01-20,Best,,x,\n\n"
        "Position,Name,Year,URL,Description\n1,Alien,1979,x,\n",
        {"meaning": "seen", "stars": NO_STARS},
    ),
    "Letterboxd, import": ("tmdbID,Title,Year,Rating10,WatchedDate\n348,Alien,1979,9,2024-01-02\n", {"tmdb_id": 348}),
    "IMDb": (f"{IMDB_HEADER}\ntt0078748,9,2024-01-02,Alien,Alien,x,Movie,8.5,1979\n", {"imdb_id": "tt0078748"}),
    "IMDb, translated": (
        f"{IMDB_HEADER}\ntt0078748,9,2024-01-02,Obcy,Alien,x,Film,8.5,1979\n",
        {"title": "Obcy", "other_titles": ("Alien",), "imdb_id": "tt0078748"},
    ),
    "IMDb, watchlist": (
        "Position,Const,Created,Modified,Description,Title,Title Type,Year,Your Rating,Date Rated\n"
        "1,tt0078748,2024-01-02,2024-01-02,,Alien,Movie,1979,,\n",
        {"imdb_id": "tt0078748", "meaning": "planned", "stars": NO_STARS},
    ),
    "IMDb, to 2017": (
        "position,const,created,modified,description,Title,Title type,Directors,You rated,IMDb Rating,Year\n"
        "1,tt0078748,Fri Jan 2 2004,,,Alien,Feature Film,x,9,8.5,1979\n",
        {"imdb_id": "tt0078748"},
    ),
    "TMDB": (
        "TMDb ID,IMDb ID,Type,Name,Release Date,Season Number,Episode Number,Rating,Your Rating,Date Rated\n"
        "348,tt0078748,movie,Alien,1979-05-25T00:00:00Z,,,8.1,9.0,2014-11-08T00:00:00Z\n",
        {"imdb_id": "tt0078748", "tmdb_id": 348},
    ),
    "Trakt, CSV": (
        "rated_at,type,title,year,trakt_rating,trakt_id,imdb_id,tmdb_id,tvdb_id,rating\n"
        "2024-01-02T00:00:00Z,movie,Alien,1979,8.1,1,tt0078748,348,,9\n",
        {"imdb_id": "tt0078748", "tmdb_id": 348},
    ),
    "Simkl": (
        "SIMKL_ID,Title,Type,Year,Watchlist,LastEpWatched,WatchedDate,Rating,Memo,TVDB,TMDB,IMDB\n"
        "5,Alien,movie,1979,completed,,18-12-2023 21:50:41,9,,,348,tt0078748\n",
        {"imdb_id": "tt0078748", "tmdb_id": 348},
    ),
    "Criticker": (
        "Score, Film Name, Year, Date Rated, Mini Review, URL, IMDB ID\n"
        '90,"Alien",1979,"Feb 06 2023, 08:52","",x,tt0078748\n',
        {"imdb_id": "tt0078748"},
    ),
    "MovieLens": (
        "movie_id,imdb_id,tmdb_id,rating,average_rating,title\n1214,0078748,348,4.5,4.1,Alien (1979)\n",
        {"imdb_id": "tt0078748", "tmdb_id": 348, "movie_id": 1214},
    ),
    "MovieLens, data set": (
        "userId,movieId,rating,timestamp\n1,1214,4.5,978300760\n",
        {"title": "", "year": None, "movie_id": 1214},
    ),
    "Netflix": ('Title,Date\n"Alien","3/22/26"\n', {"year": None, "meaning": "seen", "stars": NO_STARS}),
    "TV Time": (
        "uuid,type,entity_type,release_date,movie_name\nx,watch,movie,1979-05-25 00:00:00,Alien\n",
        {"meaning": "seen", "stars": NO_STARS},
    ),
    "TV Time, to be seen": (
        "uuid,type,entity_type,release_date,movie_name\nx,follow,movie,1979-05-25 00:00:00,Alien\n",
        {"meaning": "planned", "stars": NO_STARS},
    ),
    "Kinopoisk": (
        "Русское название,Title,Year,Rating,Date\nЧужой,Alien,1979,9,04.04.10 18:36\n",
        {"other_titles": ("Чужой",)},
    ),
    "spreadsheet": ("Movie,Release Year,My Rating\nAlien,1979.0,4.5\n", {}),
    "spreadsheet of Excel": ('"sep=;"\nFilm;Year;Stars\nAlien;1979;"4,5"\n', {}),
    "year in the title": ("title,rating\nAlien (1979),4.5\n", {}),
    "out of ten, in words": ("title,year,rating\nAlien,1979,9/10\n", {}),
    "id in place of a title": ("title,rating\nid:1214,4.5\n", {"title": "", "year": None, "movie_id": 1214}),
    "what the program prints": ("title,rating\nid:1214 Alien (1979),4.5\n", {"movie_id": 1214}),
    "tabs": ("title\tyear\trating\nAlien\t1979\t4.5\n", {}),
}
WRITTEN = {
    "as it is": lambda text: text.encode(),
    "BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "semicolons": lambda text: semicolons(text).encode(),
    "cp1252": lambda text: (text.replace("Alien", "Alién")).encode("cp1252", "replace"),
}


def semicolons(text):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="\n").writerows(csv.reader(text.splitlines()))
    return buffer.getvalue()


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("service", FORMATS)
def test_format(service, written, tmp_path):
    text, changes = FORMATS[service]
    if written == "semicolons" and ("\t" in text or "sep=" in text):
        return
    if written == "cp1252" and ("Русское" in text or changes.get("title") == ""):
        return
    raw = WRITTEN[written](text)
    [row] = read(tmp_path, raw).rows
    zipped = zip_of(tmp_path / "export.zip", {"export/mine.csv": raw})
    title = changes.get("title", "Alien") if written != "cp1252" else row.title
    assert (row.title, row.line) == (title, text.count("\n") + ('"sep' in text and 0))
    assert title in ("", "Obcy", "Alien", "Alién")
    expected = ALIEN._replace(**{"other_titles": (), **changes}, file="", line=0)._replace(title=title)
    assert repr(row._replace(file="", line=0, user="", date="", other_titles=())) == repr(
        expected._replace(other_titles=())
    )
    if service not in ("Netflix", "id in place of a title", "what the program prints", "year in the title"):
        assert repr([again._replace(file="", line=0) for again in read_films(zipped)[0]]) == repr(
            [row._replace(file="", line=0)]
        )


def trakt_item(kind="movie", **values):
    ids = {"trakt": 1, "slug": "x", "imdb": "tt0078748", "tmdb": 348}
    return {"type": kind, kind: {"title": "Alien", "year": 1979, "ids": ids}, **values}


@pytest.mark.parametrize(
    ("item", "meaning", "stars"),
    [
        (trakt_item(rated_at="2021-03-22T06:33:00.000Z", rating=9), "rated", 4.5),
        (trakt_item(watched_at="2021-03-22T06:33:00.000Z"), "seen", NO_STARS),
        ({"plays": 2, "last_watched_at": "2021-03-22", "movie": trakt_item()["movie"]}, "seen", NO_STARS),
        (trakt_item(listed_at="2021-03-22T06:33:00.000Z"), "planned", NO_STARS),
        (trakt_item("show", rated_at="2021-03-22T06:33:00.000Z", rating=9), None, 0),
        ({"plays": 2, "last_watched_at": "2021-03-22", "show": trakt_item("show")["show"]}, None, 0),
        (trakt_item("show") | {"type": "episode", "episode": {"season": 1, "title": "Pilot"}}, None, 0),
    ],
)
@pytest.mark.parametrize("wrap", [lambda item: [item], lambda item: {"movies": [item], "count": 1}])
def test_trakt_json_is_known_by_its_structure(item, meaning, stars, wrap, tmp_path):
    files = {"other.json": json.dumps(wrap(item)), "user-profile.json": '{"user": {"name": "Heat", "vip": true}}'}
    files["lists-lists.json"] = '[{"name": "Best of 1979", "privacy": "private", "item_count": 3}]'
    path = zip_of(tmp_path / "trakt.zip", files)
    if meaning is None:
        with pytest.raises(RecommenderError, match=r"no film: (show|episode)"):
            read_films(path)
        return
    [row] = read_films(path)[0]
    assert repr((row.film, row.imdb_id, row.meaning, row.stars)) == repr(("Alien (1979)", "tt0078748", meaning, stars))


def test_simkl_json_says_what_is_planned(tmp_path):
    movie = {"title": "Alien", "year": 1979, "ids": {"simkl": 1, "imdb": "tt0078748"}}
    items = [{"status": "plantowatch", "movie": movie}, {"status": "completed", "user_rating": 9, "movie": movie}]
    rows = read(tmp_path, json.dumps({"movies": items, "shows": []}), "simkl.json").rows
    assert [row.meaning for row in rows] == ["planned", "rated"]


@pytest.mark.parametrize(
    "kind", "tvSeries,TV Series,tv,show,season,episode,Short,TV Episode,Video Game,Serie TV".split(",")
)
def test_what_is_no_film_is_skipped_and_said(kind, tmp_path):
    header = "Const,Your Rating,Title,Title Type,Year"
    found = read(tmp_path, f"{header}\ntt0078748,9,Alien,Movie,1979\ntt0000001,8,Alien,{kind},1979\n")
    assert [row.line for row in found.rows] == [2]
    assert [(row.line, row.problem) for row in found.skipped] == [(3, f"no film: {kind}")]
    assert found.notes[-1] == f"1 row skipped: line 3: no film: {kind}"


def test_episodes_of_netflix_are_skipped(tmp_path):
    found = read(tmp_path, "Title,Date\nDark: Season 1: Secrets,1/2/26\nAlien,1/2/26\nKill Bill: Volume 1,1/3/26\n")
    assert [row.title for row in found.rows] == ["Alien", "Kill Bill: Volume 1"]


def test_folders_that_do_not_say_what_was_seen(tmp_path):
    text = FORMATS["Letterboxd"][0]
    files = dict.fromkeys(["ratings.csv", "deleted/diary.csv", "orphaned/diary.csv", "__MACOSX/._ratings.csv"], text)
    files["lists/best.csv"] = FORMATS["Letterboxd, list"][0]
    files["profile.csv"] = "Date Joined,Username,Given Name\n2020-01-01,someone,Some\n"
    assert len(read_films(zip_of(tmp_path / "letterboxd.zip", files))[0]) == 1


@pytest.mark.parametrize(
    "title", ["Am\u00c3\u00a9lie", "Ame\u0301lie", "Am&eacute;lie", " Am\u00e9lie\x00", "Am&#233;lie"]
)
def test_spellings_of_one_title(title, tmp_path):
    assert read(tmp_path, f"title,rating\n{title},4\n").rows[0].title == "Amélie"


# Scales and notes.


@pytest.mark.parametrize(
    ("ratings", "stars"),
    [
        (["5", "0.5", "3.7"], [5, 0.5, 3.7]),
        (["10", "0.5", "4"], [5, 0.5, 2]),
        (["100", "5", "72"], [5, 0.5, 3.6]),
        (["0", "-", "N/A", "nan", "", "—", "4"], [None, None, None, None, None, None, 4]),
        (["8/10", "4/5", "50/100"], [4, 4, 2.5]),
        (["4,5", "3"], [4.5, 3]),
        (["5"] * 20 + ["11"], [5] * 20),
        (["9"] * 6 + ["55"], [4.5] * 6),
    ],
)
def test_scale_is_what_a_column_holds(ratings, stars, tmp_path):
    text = "title;rating\n" + "".join(f"Film {number};{rating}\n" for number, rating in enumerate(ratings))
    found = read(tmp_path, text)
    assert [None if math.isnan(row.stars) else row.stars for row in found.rows] == stars
    assert len(found.skipped) == len(ratings) - len(stars)


@pytest.mark.parametrize(
    ("header", "service"),
    [
        ("Date,Name,Year,Letterboxd URI,Rating", "Letterboxd"),
        ("Const,Your Rating,Date Rated,Title", "IMDb"),
        ("Position,Const,Created,Title,Year", "IMDb (list)"),
        ("Title,Year,Stars", "a table"),
    ],
)
def test_notes_name_the_service(tmp_path, header, service):
    cells = ",".join(
        "tt0078748" if name == "Const" else "Alien" if name in ("Name", "Title") else "" for name in header.split(",")
    )
    assert read(tmp_path, f"{header}\n{cells}\n").notes[0].startswith(f"read as {service}: ")


def test_public_ratings_of_tmdb_are_not_yours(tmp_path):
    header = "TMDb ID,IMDb ID,Type,Name,Release Date,Season Number,Episode Number,Rating,Your Rating,Date Rated"
    [row] = read(tmp_path, f"{header}\n348,tt0078748,movie,Alien,1979-05-25T00:00:00Z,,,8.1,,\n").rows
    assert math.isnan(row.stars)


def test_public_ratings_of_trakt_are_not_yours(tmp_path):
    items = [trakt_item(rated_at="2021-03-22", rating=9), trakt_item(listed_at="2021-03-22")]
    for item in items:
        item["movie"]["rating"] = 8.1
    rows = read(tmp_path, json.dumps(items), "mine.json").rows
    assert [repr(row.stars) for row in rows] == ["4.5", "nan"]


def test_list_whose_first_title_looks_like_json(tmp_path):
    assert [row.title for row in read(tmp_path, "[REC]\nAlien\n", "mine.txt").rows] == ["[REC]", "Alien"]


def test_columns_that_were_not_used_are_named(tmp_path):
    header = "Title,Year,Rating,IMDb Rating,TVDB ID,Runtime"
    [note] = read(tmp_path, f"{header}\nAlien,1979,4.5,8.5,3,117\n").notes
    assert note == (
        "read as a table: title from 'Title', year from 'Year', rating from 'Rating', ratings out of 5; "
        "not used: IMDb Rating, TVDB ID"
    )


def test_users(tmp_path):
    text = "user,title,rating\nann,Alien,9\nbob,Alien,5\nann,Aliens,4\nbob,Aliens,0.5\n,Heat,3\n"
    found = read(tmp_path, text, many_users=True)
    assert [(row.user, row.stars) for row in found.rows] == [("ann", 4.5), ("bob", 2.5), ("ann", 2), ("bob", 0.5)]
    assert [row.problem for row in found.skipped] == ["no user"]
    with pytest.raises(RecommenderError, match=r"films of 3 users; give them to --users FILE --output FILE"):
        read_films(tmp_path / "mine.csv")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"3\r\n\n 1\n3\n", [3, 1]),
        (b"1\nx\n", "line 2: 'x' is not a user id; write one id per line"),
        (b"1\n12345678901\n", "line 2: '12345678901' is not a user id"),
        ("\u0663".encode(), "is not a user id"),
        (b"\n \n", "line 1: '' is not a user id"),
    ],
)
def test_user_ids(raw, expected, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(raw)
    if isinstance(expected, list):
        assert parse_user_ids(path) == expected
    else:
        with pytest.raises(RecommenderError, match=expected):
            parse_user_ids(path)


# Odd rows and odd files.


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Aliens,1986,good", "rating 'good', which is no number up to 5"),
        ("Aliens,1986,-3", "rating '-3'"),
        ("Aliens,1986,55", "rating '55'"),
        ("Aliens,86,4", "year '86' of 'Aliens'"),
        ("Aliens (1986),1990,4", "year '1990' of 'Aliens (1986)'"),
        (",1986,4", "no title"),
        ("Matrix, The,1999,5", "4 cells instead of 3; quote a title that holds ','"),
        ('"Aliens,1986,4', "a double quote is not closed"),
        ('"Ali"ens,1986,4', "a double quote is not closed"),
        ("Aliens,\x1b[31mred,4", "year '[31mred' of 'Aliens'"),
    ],
)
def test_one_odd_row_is_one_odd_row(row, reason, tmp_path):
    text = f'title,year,rating\n"Alien",1979,5\n{row}\n"Heat",1995,4\n"Two\nlines",1995,4\n'
    found = read(tmp_path, text)
    assert [(row.title, row.line) for row in found.rows] == [("Alien", 2), ("Heat", 4), ("Two lines", 5)]
    [skipped] = found.skipped
    assert skipped.line == 3
    assert reason in skipped.problem
    assert f"1 row skipped: line 3: {skipped.problem}" in found.notes


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("mine.csv", b"", "no films in it"),
        ("mine.csv", b"a,b,c\n1,2,3\n", "the columns are a,b,c; known are Letterboxd, IMDb, TMDB"),
        ("mine.csv", b"title,rating\n", "no films in it"),
        ("mine.csv", b"title,rating\n,5\n", "line 2: no title"),
        ("mine.json", b"[1, 2", "no films in it"),
        ("mine.json", b"[" * 100_000, "no films in it"),
        ("mine.zip", b"PK\x03\x04 and nothing", "cannot read the zip"),
        ("mine.bin", bytes(range(256)) * 20, "no films in it"),
    ],
)
def test_file_without_films(name, raw, message, tmp_path):
    with pytest.raises(RecommenderError) as caught:
        read(tmp_path, raw, name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "mine.zip", {"ratings.csv": "title,rating\nAlien,5\n"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(RecommenderError, match=r"encrypted.*; unpack it and give the folder"):
        read_films(path)


# Generated tables: what was written is read, or named as odd.

TITLES = (
    'Alien|Matrix, The|"Crocodile" Dundee|Who; me?|12 Monkeys|(500) Days of Summer|8½|Æon Flux|七人の侍|Ирония судьбы|'
    "M|1984|=Alien|100% Wolf|Ça commence|O'Brien\\n|Two\nlines|Two\r\nlines|😀|Harold & Maude|Amélie|Title|Year"
).split("|")
ODD_YEARS, ODD_RATINGS = ("79", "abc", "19799", "MCM"), ("good", "-1", "4.5.1", "999", "5 stars", "four")
NO_RATINGS = ("", "-", "N/A", "nan", "0", "None")


def generated_table(draw):
    """Returns the bytes of a table, its films as (title, year, stars), and the number of its odd rows."""
    scale = draw.choice([5, 10, 100])
    delimiter = draw.choice(",;\t")
    columns = ["title", "year", "rating", *draw.sample(["review", "IMDb Rating", "tags", "runtime"], draw.randrange(4))]
    draw.shuffle(columns)
    rows, films, num_odd = [], [], 0
    for number in range(draw.randint(12, 40)):
        title, year = draw.choice(TITLES), draw.choice([None, 1930 + number])
        rating = draw.randint(scale // 2 + 1, scale) if number % 3 else draw.choice([1, scale])
        cells = {"title": title, "year": year or draw.choice(["", "-", "nan"]), "rating": rating}
        cells |= {"review": draw.choice(["fine", 'a "quoted"\nline, and\nanother; one', ""]), "IMDb Rating": "7.7"}
        cells |= {"tags": draw.choice(["a,b;c", "x"]), "runtime": "117"}
        odd = draw.choice([None] * 12 + ["year", "rating", "title", "none"])
        if odd == "none":
            cells["rating"] = draw.choice(NO_RATINGS)
        elif odd:
            cells[odd] = draw.choice({"year": ODD_YEARS, "rating": ODD_RATINGS, "title": ("", " ")}[odd])
            num_odd += 1
        if odd in (None, "none"):
            stars = None if odd else max(0.5, 5 * rating / scale)
            films.append((" ".join(title.split()), year, stars))
        rows.append([cells[column] for column in columns])
    names = {"title": ("Title", "name", "Film Name"), "year": ("YEAR", "Release Year"), "rating": ("Rating", "Score")}
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerow([draw.choice(names.get(column, (column,))) for column in columns])
    writer.writerows(rows)
    return buffer.getvalue().encode(draw.choice(["utf-8", "utf-8-sig", "utf-16"])), films, num_odd


@pytest.mark.parametrize("seed", range(5))
def test_generated_tables_are_read_completely(seed, tmp_path):
    """In 500 tables all readable rows are read, none is misread, and the odd ones are named."""
    draw = random.Random(seed)
    for _ in range(100):
        raw, films, num_odd = generated_table(draw)
        found = read(tmp_path, raw)
        rows = [(row.title, row.year, None if math.isnan(row.stars) else row.stars) for row in found.rows]
        assert rows == [(title, year, stars and pytest.approx(stars)) for title, year, stars in films]
        assert len(found.skipped) == num_odd
