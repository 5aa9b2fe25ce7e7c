"""`Recommender` in Python: one open object, several visitors, DataFrames, and errors that name the argument."""

import logging
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands import PROJECT
from small_model import GONE, NEW_MOVIE, USER_IDS, create_movies, fill_workdir

from recommender import Recommender, api
from recommender.errors import RecommenderError, UsageError
from recommender.milvus.connection import MilvusError

USER = USER_IDS[20]
HARBOR, RIVER, ENGINE, GARDEN = (movie.title for movie in create_movies()[8:12])
COLUMNS = "top movie_id title year genres imdb_id tmdb_id score pick ratings".split()


@pytest.fixture(scope="module")
def workdir(small_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "small"
    return shutil.copytree(small_template.folder, folder)


@pytest.fixture(scope="module")
def movies(workdir):
    with Recommender.open(workdir) as movies:
        yield movies


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.csv"
    titles = [movie.title for movie in create_movies()[1:40:3]]
    path.write_text("Title,Rating\n" + "".join(f'"{title}",{1 + row % 5}\n' for row, title in enumerate(titles)))
    return path


def id_of(title):
    return next(movie.movie_id for movie in create_movies() if movie.title == title)


def test_frame(movies):
    frame = movies.recommend(user=USER)
    assert frame.columns.tolist() == COLUMNS
    assert [str(frame[name].dtype) for name in ("top", "year", "score")] == ["int64", "Int64", "float64"]
    assert frame["top"].tolist() == [0, 1, 2, 3, 4]
    assert frame.attrs["by"] == "both"
    assert frame.attrs["movies"] == movies.collection.num_movies
    assert frame.attrs["user"].startswith(f"user {USER}: ")
    assert movies.recommend(user=USER, by="picks", k=70)["pick"].is_monotonic_decreasing
    assert movies.recommend(user=USER, by="stars", k=70)["score"].is_monotonic_decreasing
    assert movies.recommend(user=USER, why=True).columns.tolist() == [*COLUMNS, "why"]
    empty = movies.recommend(year=1800)
    assert (len(empty), empty.attrs["by"]) == (0, "stars")
    everything = movies.recommend(k=70, min_ratings=0)
    row = everything[everything["movie_id"] == NEW_MOVIE.movie_id].iloc[0]
    assert (row["title"], row["year"], row["imdb_id"], row["ratings"]) == ("Alien Robots", 2031, "tt0009001", 0)
    undated = everything[everything["title"] == "Hollow River"]
    assert undated["year"].isna().all()
    assert GONE not in everything["movie_id"].tolist()


def test_three_visitors_of_one_open_object(movies, mine):
    """They differ, and none leaves a trace: asked again in another order, each gets the same."""
    people = [{"age": "25-34", "gender": "F", "job": "programmer"}, {"like": [HARBOR, RIVER]}, {"ratings": mine}]
    first = [movies.recommend(**person) for person in people]
    assert len({tuple(frame["movie_id"]) for frame in first}) == 3
    assert [frame.attrs["by"] for frame in first] == ["stars", "similar", "both"]
    for person, frame in reversed(list(zip(people, first, strict=True))):
        pd.testing.assert_frame_equal(movies.recommend(**person), frame)


def test_labels_and_numbers_mean_the_same(movies):
    expected = movies.recommend(age=2, gender=1, job=12)
    for age, gender, job in (("25-34", "F", "programmer"), (30, "female", "prog"), ("2", "1", "12"), ("30", "f", 12)):
        pd.testing.assert_frame_equal(movies.recommend(age=age, gender=gender, job=job), expected)
    assert expected.attrs["user"] == "female, 25-34, programmer"
    with_films = movies.recommend(age=2, like=HARBOR)
    assert with_films.attrs["user"].startswith("anyone, 25-34, any job; likes ")


def test_films_and_filters(movies, mine, tmp_path):
    everything = movies.recommend(ratings=mine, k=70, include_seen=True)
    rated = {movie.movie_id for movie in create_movies()[1:40:3]}
    assert not rated & set(everything["movie_id"])
    assert len(everything) == movies.collection.num_movies - len(rated - {GONE})
    rest = movies.recommend(ratings=mine, like=HARBOR, seen=[RIVER], k=70)
    assert set(everything["movie_id"]) - set(rest["movie_id"]) == {id_of(HARBOR), id_of(RIVER)} - rated
    (tmp_path / "list.txt").write_text(f"{ENGINE}\n{GARDEN}\n")
    order = dict.fromkeys(everything["movie_id"])
    among = movies.recommend(ratings=mine, among=tmp_path / "list.txt", k=70)
    wanted = {id_of(ENGINE), id_of(GARDEN)} - rated
    assert among["movie_id"].tolist() == [movie_id for movie_id in order if movie_id in wanted]
    others = movies.recommend(ratings=mine, not_among=[tmp_path / "list.txt"], k=70)
    assert others["movie_id"].tolist() == [movie_id for movie_id in order if movie_id not in wanted]
    old = movies.recommend(ratings=mine, genre="war", not_genre=["comedy"], year=["-1960", 1990], k=70)
    assert 0 < len(old) < 20
    for row in old.itertuples():
        assert "War" in row.genres.split("|")
        assert "Comedy" not in row.genres.split("|")
        assert row.year <= 1960 or row.year == 1990
    assert movies.recommend(user=USER, max_ratings="50%", k=70)["ratings"].max() <= np.median(everything["ratings"]) + 5


def test_similar(movies):
    frame = movies.similar(HARBOR)
    assert len(frame) == 10
    assert id_of(HARBOR) not in frame["movie_id"].tolist()
    assert frame["similar"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(frame, movies.recommend(like=[HARBOR], by="similar", k=10))
    two = movies.similar(HARBOR, f"id:{id_of(RIVER)}", k=3, year="1950-")
    assert len(two) == 3
    assert two["year"].min() >= 1950


def test_together(movies, mine):
    people = [{"user": USER}, {"ratings": mine}, {"like": HARBOR}]
    frame = movies.together(people, k=7, why=True)
    names = [f"user {USER}", "2", "3"]
    shared = [name for name in COLUMNS if name not in ("score", "pick")]
    own = [f"{name}: {column}" for name in names for column in ("score", "pick", "why")]
    assert frame.columns.tolist() == [*shared, *own]
    assert list(frame.attrs["user"]) == names
    for person, name in zip(people, names, strict=True):
        alone = movies.recommend(**person, k=70, by="picks", why=True).set_index("movie_id")
        expected = alone.loc[frame["movie_id"], "score"].astype(float)
        np.testing.assert_allclose(frame[f"{name}: score"].astype(float), expected, atol=2e-4)
    named = movies.together(people[:2], ["Ann", "Bob"], k=2)
    assert {"Ann: pick", "Bob: score"} <= set(named.columns)


def test_order_of_people_makes_no_difference(movies, mine):
    people = [{"user": USER}, {"ratings": mine}]
    there, back = movies.together(people, "ab", k=20), movies.together(people[::-1], "ba", k=20)
    assert there["movie_id"].tolist() == back["movie_id"].tolist()


def test_recommend_many(movies, tmp_path, monkeypatch):
    """Each gets what they get alone, in frames of their own order; ids, a file of them, all, and a table."""
    users = list(USER_IDS[3:9])
    number, frames = movies.recommend_many(users, k=3, genre="drama")
    [frame] = frames
    assert number == 6
    assert frame["user_id"].tolist() == [user for user in users for _ in range(3)]
    for user in users:
        alone = movies.recommend(user=user, k=3, genre="drama")
        own = frame[frame["user_id"] == user].drop(columns="user_id").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone, check_dtype=False)
    monkeypatch.setattr(api, "USER_BATCH", 4)
    parts = list(movies.recommend_many(users, k=3, genre="drama")[1])
    assert [len(part) for part in parts] == [12, 6]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)
    monkeypatch.undo()
    (tmp_path / "ids.txt").write_text("".join(f"{user}\n" for user in users))
    [same] = movies.recommend_many(tmp_path / "ids.txt", k=3, genre="drama")[1]
    pd.testing.assert_frame_equal(same, frame)
    assert movies.recommend_many("all")[0] == len(USER_IDS)
    (tmp_path / "new.csv").write_text(f'user,title,rating\nann,"{HARBOR}",5\nbob,"{RIVER}",1\nann,"{ENGINE}",3\n')
    number, frames = movies.recommend_many(tmp_path / "new.csv", k=2)
    [frame] = frames
    assert (number, frame["user_id"].tolist()) == (2, ["ann", "ann", "bob", "bob"])
    (tmp_path / "ann.csv").write_text(f'title,rating\n"{HARBOR}",5\n"{ENGINE}",3\n')
    alone = movies.recommend(ratings=tmp_path / "ann.csv", k=2)
    assert frame["movie_id"][:2].tolist() == alone["movie_id"].tolist()


def test_predict(movies, saved_model):
    """The numbers of the list, the movie's place on it, and the actual rating; Paddle is not asked."""
    everything = movies.recommend(user=USER, k=70)
    for place in (1, 20, len(everything)):
        row = everything.iloc[place - 1]
        found = movies.predict(int(row["movie_id"]), user=USER)
        assert found.place == place
        assert (round(found.movie.score, 4), round(found.movie.pick, 4)) == (row["score"], row["pick"])
        assert (found.by, found.paddle_score) == ("both", None)
    rating = saved_model.ratings_of(USER)[0]
    assert f"{rating['rating']:g}" in movies.predict(f"id:{rating['movie_id']}", user=USER).actual
    assert movies.predict(HARBOR).actual == ""
    assert movies.predict(HARBOR, like=RIVER).movie.reasons


def test_results_are_equal_across_two_opens(small_workdir, mine):
    answers = []
    for _ in range(2):
        with Recommender.open(str(small_workdir.folder)) as movies:
            many = pd.concat(movies.recommend_many("all", k=3)[1])
            answers.append((movies.recommend(ratings=mine, variety=0.5, why=True), movies.similar(HARBOR), many))
    for first, second in zip(*answers, strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_two_objects_in_one_process(workdir, movies):
    with Recommender.open(workdir) as other:
        pd.testing.assert_frame_equal(other.recommend(user=USER), movies.recommend(user=USER))
    assert len(movies.recommend(user=USER)) == 5, "the other one was closed, this one is open"


WRONG = {
    "k=0": "k=0: it must be a whole number from 1 to 16384",
    "k=2.5": "k=2.5: it must be a whole number",
    "k=True": "k=True: it must be a whole number",
    "skip=-1": "skip=-1: it must be a whole number from 0",
    "by='pick'": "by='pick': choose one of: stars, picks, both, similar",
    "age=200": "age=200: it must be a whole number from 7 to 120",
    "age=-1": "age=-1: choose one of: 0 under 18",
    "gender='x'": "gender='x': choose one of: 0 male, 1 female",
    "job=-1": "job=-1: choose one of: 0 other, ",
    "job='student'": "job='student': choose one of: 4 college/grad student, 10 K-12 student",
    "user=0": "user=0: it must be a whole number from 1",
    "user='me'": "user='me': it must be a whole number from 1",
    "user=1, age=3": "user has their own age, gender, job and ratings; leave these out",
    "user=1, ratings='x.csv'": "user has their own age, gender, job and ratings; leave these out",
    "year='20x0'": "year='20x0': it must be a span of years: 1994, 1990-1999, 1990- or -1960",
    "year=[1990, '90s']": "year='90s': it must be a span of years",
    "variety=1.5": "variety=1.5: it must be a number from 0 to 1",
    "novelty='much'": "novelty='much': it must be a number from 0 to 1",
    "novelty=float('nan')": "novelty=nan: it must be a number from 0 to 1",
    "min_ratings=-1": "min_ratings=-1: it must be a whole number from 0",
    "max_ratings='101%'": "max_ratings='101': it must be a whole number from 0 to 100",
    "min_ratings=9, max_ratings=8": "min_ratings is above max_ratings; no movie has both",
    "why=True": "why: nothing that is known of the user determines the order by stars",
    "like='id:3', seen='id:3'": "like and seen both name id:3; name it once",
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.items())
def test_wrong_arguments(movies, arguments, message):
    with pytest.raises(UsageError) as raised:
        movies.recommend(**eval(f"dict({arguments})"))
    assert str(raised.value).startswith(message)
    assert isinstance(raised.value, RecommenderError)
    assert isinstance(raised.value, ValueError)


def test_wrong_arguments_of_other_methods(movies):
    with pytest.raises(UsageError, match="a name of their own"):
        movies.together([{"user": USER}, {"like": HARBOR}], ["Ann", "Ann"])
    with pytest.raises(UsageError, match="people: name two or more"):
        movies.together([{"user": USER}])
    with pytest.raises(TypeError, match="colour"):
        movies.recommend(colour="red")
    with pytest.raises(TypeError, match="colour"):
        movies.together([{"user": USER, "colour": "red"}, {"user": 3}])
    with pytest.raises(
        RecommenderError, match="no user 2 in the training data; there are 200 users, with ids from 1 to"
    ):
        movies.recommend(user=2)
    with pytest.raises(RecommenderError, match="no movie is called 'nosferatu'"):
        movies.similar("nosferatu")
    with pytest.raises(RecommenderError, match="no genre 'nonsense'; choose one of: Children's, Comedy"):
        movies.recommend(genre="nonsense")
    with pytest.raises(UsageError, match="needs a film that is liked"):
        movies.similar()
    with pytest.raises(UsageError, match="needs a film that is liked"):
        movies.together([{"user": USER}, {"age": 3}], by="similar")


def test_model_without_demographics(tmp_path):
    """Half stars, no age, gender and job: these are refused; all else works."""
    workdir = fill_workdir(tmp_path, has_demographics=False, min_rating=0.5, has_links=False)
    with Recommender.open(workdir.folder) as movies:
        for wrong in ({"age": 0}, {"gender": "F"}, {"job": 10}):
            with pytest.raises(UsageError, match="trained on data without age, gender and job; leave them out"):
                movies.recommend(**wrong)
        frame = movies.recommend(user=USER, why=True)
        assert frame.columns.tolist() == [
            *(name for name in COLUMNS if not name.endswith("_id") or name == "movie_id"),
            "why",
        ]
        assert movies.recommend(like=HARBOR).attrs["user"].startswith("anyone; likes ")


def test_opening_what_is_not_there(tmp_path, small_workdir):
    with pytest.raises(RecommenderError, match=r"no model here; run: python train\.py"):
        Recommender.open(tmp_path / "nothing")
    shutil.rmtree(small_workdir.database)
    with pytest.raises(MilvusError, match=r"there are no movies here yet; run: python infer_milvus\.py -i"):
        Recommender.open(small_workdir.folder)
    assert not (tmp_path / "nothing").exists()


def test_notes_go_to_the_logger(movies, mine, tmp_path, caplog):
    caplog.set_level(logging.INFO, "recommender")
    movies.recommend(ratings=mine, k=70)
    assert any("films matched" in message for message in caplog.messages)
    assert caplog.messages[-1].startswith("Only ")
    assert movies.films.matches[-1]["file"] == str(mine)


def test_import_is_light():
    """`import recommender` loads nothing; the class is there all the same."""
    program = (
        "import sys, recommender; assert 'numpy' not in sys.modules and 'pymilvus' not in sys.modules; "
        "from recommender import Recommender; assert Recommender.open"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
