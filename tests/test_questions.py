"""Arguments as people give them: labels, ages, years, bounds, people and files; what is wrong is named."""

import numpy as np
import pytest
from small_model import NEW_MOVIE, USER_IDS, films

from recommender.errors import RecommenderError, UsageError
from recommender.film_files import FilmFiles
from recommender.lists import Query
from recommender.milvus.filters import MovieFilter
from recommender.movielens.encoding import GENDER_LABELS, OCCUPATIONS
from recommender.questions import Questions, parse_age, parse_bound, parse_label, parse_number, parse_years
from recommender.store import ModelError
from recommender.users import UserProfile

NAN = float("nan")


@pytest.fixture(scope="module")
def questions(saved_model, collection):
    return Questions(saved_model, collection, FilmFiles(collection.titles))


@pytest.fixture
def write(tmp_path):
    """Returns a function that writes a file and returns its path."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_ages():
    """By number, label, or in years; the lowest age of a group is in it."""
    ages = {"0": 0, 6: 6, "7": 0, 17: 0, "18": 1, " 26 ": 2, "55": 5, 56: 6, "120": 6, "25-34": 2, "56+": 6, "Under": 0}
    assert [parse_age("age", value) for value in ages] == list(ages.values())
    for value in ("121", "200", -1, "x", "", "25-35", 1.5, True):
        with pytest.raises(UsageError, match=r"^age="):
            parse_age("age", value)


def test_jobs():
    """By number, label, or the beginning of one of its words."""
    jobs = {
        0: 0,
        "20": 20,
        "other": 0,
        "executive/managerial": 7,
        "grad student": 4,
        "engineer": 17,
        "k-12": 10,
        "PROG": 12,
    }
    assert [parse_label("job", value, OCCUPATIONS) for value in jobs] == list(jobs.values())


@pytest.mark.parametrize(
    ("value", "labels", "error"),
    [
        ("astronaut", OCCUPATIONS, "choose one of: 0 other, 1 academic/educator"),
        ("-1", OCCUPATIONS, "choose one of: 0 other"),
        ("21", OCCUPATIONS, "choose one of: 0 other"),
        ("student", OCCUPATIONS, "choose one of: 4 college/grad student, 10 K-12 student$"),
        ("a", OCCUPATIONS, "choose one of: 1 academic/educator, 2 artist, 3 clerical/admin$"),
        ("", GENDER_LABELS, "choose one of: 0 male, 1 female$"),
        (".*", GENDER_LABELS, "choose one of: 0 male"),
    ],
)
def test_wrong_labels_name_those_that_there_are(value, labels, error):
    with pytest.raises(UsageError, match=f"^label='.*': {error}"):
        parse_label("label", value, labels)


def test_numbers():
    assert [parse_number("k", value, 1, 10) for value in (1, "10", " 7 ", np.int64(3))] == [1, 10, 7, 3]
    assert [parse_number("x", value, 0, 1, kind=float) for value in (0, "1", 0.5, "1e-1")] == [0, 1, 0.5, 0.1]
    for value in (0, 11, "11", "1.5", 1.5, "", "x", "nan", True, None):
        with pytest.raises(UsageError, match=r"^k=.*: it must be a whole number from 1 to 10$"):
            parse_number("k", value, 1, 10)
    for value in (-0.1, "1.1", "nan", NAN, float("inf"), "x", None):
        with pytest.raises(UsageError, match=r"^x=.*: it must be a number from 0 to 1$"):
            parse_number("x", value, 0, 1, kind=float)


def test_years():
    spans = {"1994": (1994, 1994), 1994: (1994, 1994), "1990-1999": (1990, 1999)}
    spans |= {"1990-1990": (1990, 1990), "1990-": (1990, None), "-1960": (None, 1960)}
    assert [parse_years("year", value) for value in spans] == list(spans.values())
    for value in ("1999-1990", "-", "", "90s", "199", "19900", "1990-1995-1999", "1990 1995", -1960.5):
        with pytest.raises(UsageError, match=r"^year=.*: it must be a span of years: 1994, 1990-1999, 1990- or -1960$"):
            parse_years("year", value)


def test_bounds():
    percentiles = np.arange(101) ** 2
    assert [parse_bound("max_ratings", value, percentiles) for value in (0, "20", "10%", " 100 % ")] == [
        0,
        20,
        100,
        10000,
    ]
    for value in (-1, "x", "101%", "-1%", "%", 1.5):
        with pytest.raises(UsageError, match=r"^max_ratings="):
            parse_bound("max_ratings", value, percentiles)


def test_profile_of_labels(questions, saved_model):
    expected = UserProfile.from_demographics(saved_model, 1, 2, 12)
    for gender, age, job in (("F", "25-34", "prog"), ("female", 30, 12), (1, 2, "12"), ("f", "30", "Programmer")):
        assert questions.profile(age=age, gender=gender, job=job) == expected
    assert questions.profile(gender=0) == UserProfile.from_demographics(saved_model, 0)
    assert questions.profile() == UserProfile.from_demographics(saved_model)
    for wrong, name in (({"age": -1}, "age"), ({"gender": "x"}, "gender"), ({"job": "x"}, "job")):
        with pytest.raises(UsageError, match=f"^{name}="):
            questions.profile(**wrong)


def test_profile_of_a_user(questions, saved_model):
    assert questions.profile(user=43) == UserProfile.from_user(saved_model, 43)
    assert questions.profile(user="43", include_seen=True) == UserProfile.from_user(saved_model, 43, True)
    for beside in ({"age": 0}, {"gender": "M"}, {"job": 0}, {"ratings": "x.csv"}):
        with pytest.raises(UsageError, match=r"^user has their own age, gender, job and ratings; leave these out"):
            questions.profile(user=43, **beside)
    for wrong in (0, "x", 1.5):
        with pytest.raises(UsageError, match=r"^user="):
            questions.profile(user=wrong)
    with pytest.raises(ModelError, match="no user 44"):
        questions.profile(user=44)


def test_profile_of_films(questions, saved_model):
    anyone = UserProfile.from_demographics(saved_model)
    profile = questions.profile(like=["silent harbor", "id:9001"], seen="golden comet")
    comet = next(movie.movie_id for movie in saved_model.movies.values() if movie.name == "Golden Comet")
    expected = anyone.with_films(films([3, 9001], [comet]))
    assert (profile.history, profile.exclude_ids) == (expected.history, expected.exclude_ids)
    assert profile.description.startswith(
        "anyone, any age, any job; likes The Silent Harbor (1940), Alien Robots (2031);"
    )
    assert "knows Golden Comet" in profile.description
    assert questions.profile(user=43, like="alien robots").history[9001] == 1
    with pytest.raises(UsageError, match="like and seen both name id:3; name it once"):
        questions.profile(like="silent harbor", seen=["golden comet", "id:3"])
    with pytest.raises(RecommenderError, match="no movie"):
        questions.profile(like="no such film at all")


def test_profile_of_files(questions, saved_model, write):
    """Several files, a film that is named besides, and age beside them."""
    first = write("first.csv", "title,year,rating\nSilent Harbor,1940,4.5\nSilent Engine,,1\n")
    second = write("second.csv", "title,rating\nAlien Robots,3.5\nNo Such Film,5\n")
    profile = questions.profile(age=0, ratings=[first, str(second)], like="silent engine")
    assert profile.new_ratings == {3: 4.5, 13: 1.0, NEW_MOVIE.movie_id: 3.5}
    assert profile.history == pytest.approx({3: 1.2, 13: 1, NEW_MOVIE.movie_id: 0.8})
    assert profile.exclude_ids == {3, 13, NEW_MOVIE.movie_id}
    assert profile.row == UserProfile.from_demographics(saved_model, age=0).row
    assert questions.profile(ratings=first).new_ratings == {3: 4.5, 13: 1.0}


def test_many_users(questions, saved_model, write):
    names, load_profile = questions.users("all", include_seen=False)
    assert names == list(USER_IDS)
    assert load_profile(7) == UserProfile.from_user(saved_model, 7)
    for users in ([43, 7], iter([43, 7]), write("ids.txt", "43\n7\n"), str(write("ids.txt", "43\n7\n"))):
        names, load_profile = questions.users(users, include_seen=True)
        assert list(names) == [43, 7]
        assert load_profile(names[0]) == UserProfile.from_user(saved_model, 43, include_seen=True)
    with pytest.raises(ModelError, match="no user 44"):
        questions.users([43, 44], include_seen=False)


def test_many_new_users(questions, write):
    table = write("many.csv", "user,title,rating\nann,Silent Harbor,5\nbob,Silent Engine,2\nann,Alien Robots,1\n")
    names, load_profile = questions.users(table, include_seen=False)
    assert names == ["ann", "bob"]
    assert load_profile("ann").new_ratings == {3: 5.0, 9001: 1.0}
    assert load_profile("bob").new_ratings == {13: 2.0}
    with pytest.raises(UsageError, match="include_seen is for users of the training data"):
        questions.users(table, include_seen=True)


def test_order_suits_what_is_known_of_all(questions, saved_model):
    anyone, woman = UserProfile.from_demographics(saved_model), UserProfile.from_demographics(saved_model, 1)
    liking, seeing, user = (
        anyone.with_films(films([3])),
        anyone.with_films(films([], [3])),
        UserProfile.from_user(saved_model, 7),
    )
    orders = {
        "stars": [[anyone], [anyone, woman], []],
        "similar": [[liking], [liking, liking]],
        "picks": [[seeing], [anyone, seeing], [anyone, liking], [liking, woman], [seeing, liking]],
        "both": [[user], [anyone, user], [user, anyone], [liking, user], [seeing, seeing, user]],
    }
    for ranking, groups in orders.items():
        for profiles in groups:
            assert questions.query(iter(profiles))[0].ranking == ranking, profiles
    assert questions.query([user], by="stars")[0].ranking == "stars"


def test_stars_are_of_movies_with_ratings(questions, saved_model, collection):
    """By stars, little known movies are left out unless a bound is given."""
    [anyone] = profiles = [UserProfile.from_demographics(saved_model)]
    assert questions.query(profiles)[1] == MovieFilter(min_ratings=50)
    assert questions.query(profiles)[0].filter == collection.build_filter(MovieFilter(min_ratings=50))
    assert questions.query(profiles, min_ratings=0)[1] == MovieFilter(min_ratings=0)
    assert questions.query(profiles, max_ratings=20)[1] == MovieFilter(max_ratings=20)
    assert questions.query([anyone.with_films(films([], [3]))])[1] == MovieFilter()
    assert questions.query([UserProfile.from_user(saved_model, 43)], by="stars")[1] == MovieFilter(min_ratings=50)


def test_everything_of_a_query(questions, saved_model, collection, catalogue, write):
    watchlist = write("watchlist.txt", "Silent Harbor\nSilent Engine\n")
    known = write("known.txt", "Golden Comet\nAlien Robots\n")
    query, movie_filter = questions.query(
        [UserProfile.from_user(saved_model, 43)],
        k="12",
        skip=3,
        by="picks",
        variety="0.5",
        novelty=1,
        why=True,
        genre="comedy",
        not_genre=["War", "drama"],
        year=["1950-1960", 1994],
        min_ratings="25%",
        max_ratings=80,
        among=[watchlist, known],
        not_among=known,
    )
    comet = next(movie.movie_id for movie in saved_model.movies.values() if movie.name == "Golden Comet")
    assert movie_filter == MovieFilter(
        genres=("comedy",),
        not_genres=("War", "drama"),
        years=((1950, 1960), (1994, 1994)),
        min_ratings=int(np.percentile(catalogue.num_ratings, 25)),
        max_ratings=80,
        among=tuple(sorted([3, 13, comet, 9001])),
        not_among=tuple(sorted([comet, 9001])),
    )
    assert query == Query("picks", 12, collection.build_filter(movie_filter), True, 0.5, 1, 3)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"k": 0}, "^k=0: it must be a whole number from 1 to 16384"),
        ({"k": "many"}, "^k='many'"),
        ({"skip": -1}, "^skip=-1"),
        ({"by": "pick"}, "^by='pick': choose one of: stars, picks, both, similar"),
        ({"variety": 1.5}, "^variety=1.5: it must be a number from 0 to 1"),
        ({"novelty": "nan"}, "^novelty='nan'"),
        ({"year": "90s"}, "^year='90s'"),
        ({"min_ratings": -1}, "^min_ratings=-1"),
        ({"max_ratings": "200%"}, "^max_ratings='200'"),
        ({"min_ratings": 30, "max_ratings": 20}, "^min_ratings is above max_ratings; no movie has both"),
    ],
)
def test_wrong_arguments_are_named(questions, saved_model, wrong, error):
    with pytest.raises(UsageError, match=error):
        questions.query([UserProfile.from_user(saved_model, 43)], **wrong)


def test_unknown_genres_and_empty_watchlists(questions, saved_model, write):
    profiles = [UserProfile.from_user(saved_model, 43)]
    with pytest.raises(RecommenderError, match="no genre 'nonsense'; choose one of: Children's, Comedy, Drama"):
        questions.query(profiles, not_genre="nonsense")
    with pytest.raises(RecommenderError, match=r"x\.txt: none of its films is in the catalogue"):
        questions.query(profiles, among=write("x.txt", "No Such Film\n"))
