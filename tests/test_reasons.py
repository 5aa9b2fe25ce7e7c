"""Reasons: their parts add up to the value by which movies are ranked, and bear the names that people know."""

import numpy as np
import pytest
from conftest import succeed

from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.encoding import demographic_profile_row
from recommender.movielens.catalogue import Movie
from recommender.milvus.build import build_collection, embed_catalogue
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.reasons import Contributions, has_reasons, split_query
from recommender.store import load_model
from recommender.lists import Query, compute_vectors, recommend
from recommender.users import UserProfile

OWN_MOVIE = Movie(9001, "Robots, The (2031)", ("Sci-Fi", "Horror"))
"""A movie that training has not seen."""
TERMINATOR, MATRIX, TOY_STORY = 1240, 2571, 1
GONE = TERMINATOR
"""A movie of the training data that the catalogue no longer has."""


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / MODEL_FOLDER)


@pytest.fixture(scope="module")
def catalogue(model):
    movies = [movie for movie in model.movies.values() if movie.movie_id != GONE]
    return embed_catalogue(model, [*movies, OWN_MOVIE])


@pytest.fixture(scope="module")
def collection(model, catalogue, tmp_path_factory):
    with MilvusConnection(str(tmp_path_factory.mktemp("explain") / "movies.db"), create=True) as connection:
        build_collection(connection, catalogue)
        yield MovieCollection(connection, model.fingerprint)


def stated(*movies):
    return dict.fromkeys(movies, "a movie")


NEW_RATINGS = {MATRIX: 5.0, OWN_MOVIE.movie_id: 4.0, TOY_STORY: 1.5, 783: float("nan")}
WITH_HISTORY = {
    "new user with movies": lambda model: UserProfile.from_demographics(model, 0).with_movies(
        stated(MATRIX, OWN_MOVIE.movie_id), stated(TOY_STORY)
    ),
    "user": lambda model: UserProfile.from_user(model, 42),
    "new user with ratings": lambda model: UserProfile.from_demographics(model, 1, 2).with_ratings(NEW_RATINGS),
    "user with ratings": lambda model: UserProfile.from_user(model, 42).with_ratings(NEW_RATINGS),
}
WITHOUT_HISTORY = {
    "all demographics": lambda model: UserProfile.from_demographics(model, 1, 0, 10),
    "age": lambda model: UserProfile.from_demographics(model, age=6),
}
WITH_RATINGS = {name: profile for name, profile in WITH_HISTORY.items() if "ratings" in name}


def part_values(model, collection, catalogue, profile, ranking):
    """Returns float[parts, movies], what each part contributes to each movie, and the parts' labels."""
    parts = split_query(model, collection, profile, ranking)
    return parts.vectors @ catalogue.vectors.T, [parts.label(part) for part in range(len(parts.vectors))]


def scores_of(model, collection, catalogue, profile):
    """Returns predicted ratings, not clipped, and taste scores of all movies, both [movies]."""
    user = compute_vectors(model, collection, profile)
    return 5 * catalogue.vectors[:, :200] @ user.rating, catalogue.vectors[:, 200:] @ user.taste


def taste_factor(model, profile):
    """Returns float[200], by which the sum of a profile's embeddings is multiplied: its length and the shrinkage."""
    squared_length = sum(weight**2 for weight in profile.history.values()) + 1
    variances = model.taste_variances
    return variances / (variances + 0.3 / squared_length) / np.sqrt(squared_length)


def demographic_taste(model, catalogue, profile):
    """Returns float[movies], what demographics add to taste scores, those of everyone included."""
    indices = model.profiles[profile.row, 1:]
    rows = [offset + index for offset, index in zip((0, 3, 11), indices.tolist(), strict=True) if index] + [33]
    return catalogue.vectors[:, 200:] @ (model.taste_demographics[rows].sum(0) * taste_factor(model, profile))


@pytest.mark.parametrize("profile", WITH_HISTORY.values(), ids=WITH_HISTORY)
@pytest.mark.parametrize("ranking", ["picks", "both"])
def test_reasons_of_a_history_with_demographics_are_the_ranked_value(model, collection, catalogue, profile, ranking):
    profile = profile(model)
    values, labels = part_values(model, collection, catalogue, profile, ranking)
    predicted, taste = scores_of(model, collection, catalogue, profile)
    expected, rest = taste, demographic_taste(model, catalogue, profile)
    if ranking == "both":
        vector = model.profile_vectors[profile.row]
        if profile.new_ratings:
            vector = vector + model.user_prior.mean
        expected, rest = expected + 0.2 * predicted, rest + catalogue.vectors[:, :200] @ vector
    assert len(labels) == len(profile.history)
    np.testing.assert_allclose(values.sum(0) + rest, expected, atol=1e-4)


@pytest.mark.parametrize("profile", WITH_HISTORY.values(), ids=WITH_HISTORY)
def test_reason_by_picks_is_what_the_taste_score_lacks_without_the_movie(model, collection, catalogue, profile):
    """But for the length of the history, which scales the sum."""
    profile = profile(model)
    values, _ = part_values(model, collection, catalogue, profile, "picks")
    for row, (movie_id, weight) in enumerate(profile.history.items()):
        if movie_id == OWN_MOVIE.movie_id:
            continue
        embedding = weight * model.taste_inputs.by_id[model.movie_idx(np.array([movie_id]))[0]]
        expected = catalogue.vectors[:, 200:] @ (embedding * taste_factor(model, profile))
        np.testing.assert_allclose(values[row], expected, atol=1e-5)


@pytest.mark.parametrize("profile", WITH_RATINGS.values(), ids=WITH_RATINGS)
def test_reasons_by_stars_of_new_ratings_are_the_change_by_folding_in(model, collection, catalogue, profile):
    profile = profile(model)
    values, _ = part_values(model, collection, catalogue, profile, "stars")
    predicted, _ = scores_of(model, collection, catalogue, profile)
    before = 5 * catalogue.vectors[:, :200] @ (model.profile_vectors[profile.row] + model.user_prior.mean)
    assert abs(predicted - before).max() > 0.03
    np.testing.assert_allclose(values.sum(0), predicted - before, atol=1e-4)
    rows = [row for row, movie_id in enumerate(profile.history) if movie_id not in profile.new_ratings]
    assert not values[rows].any(), "movies without new stars do not move predicted ratings"


def predicted_ratings(model, catalogue, *demographic_idx):
    """Returns float[movies], the predicted ratings of a demographic profile."""
    return 5 * catalogue.vectors[:, :200] @ model.profile_vectors[demographic_profile_row(*demographic_idx)]


@pytest.mark.parametrize("ranking", ["stars", "both"])
def test_reasons_of_demographics_are_differences_with_and_without_each(model, collection, catalogue, ranking):
    profile = UserProfile.from_demographics(model, 1, 0, 10)
    values, labels = part_values(model, collection, catalogue, profile, ranking)
    assert labels == ["female", "under 18", "K-12 student"]
    with_all = predicted_ratings(model, catalogue, 2, 1, 11)
    without = [predicted_ratings(model, catalogue, *indices) for indices in ((0, 1, 11), (2, 0, 11), (2, 1, 0))]
    expected = with_all - np.array(without)
    if ranking == "both":
        tastes = model.taste_demographics[[2, 3 + 1, 11 + 11]] * taste_factor(model, profile)
        expected = 0.2 * expected + tastes @ catalogue.vectors[:, 200:].T
    np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("profile", WITHOUT_HISTORY.values(), ids=WITHOUT_HISTORY)
def test_reasons_by_picks_of_demographics_with_everyone_are_the_taste_score(model, collection, catalogue, profile):
    profile = profile(model)
    values, labels = part_values(model, collection, catalogue, profile, "picks")
    assert labels == [label for label in profile.description.split(", ") if not label.startswith("any")]
    _, taste = scores_of(model, collection, catalogue, profile)
    everyone = model.taste_demographics[33] * taste_factor(model, profile)
    np.testing.assert_allclose(values.sum(0) + catalogue.vectors[:, 200:] @ everyone, taste, atol=1e-5)


def test_reasons_by_stars_of_a_user_are_demographics_and_own_ratings(model, collection, catalogue):
    profile = UserProfile.from_user(model, 42)
    values, labels = part_values(model, collection, catalogue, profile, "stars")
    assert labels == [*profile.description.removeprefix("user 42: ").split(", "), "own ratings"]
    predicted, _ = scores_of(model, collection, catalogue, profile)
    expected = predicted - predicted_ratings(model, catalogue, *model.profiles[profile.row, 1:])
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(values[-1], expected, atol=1e-5)


def test_stated_movies_are_no_reasons_by_stars(model, collection):
    profile = WITH_HISTORY["new user with movies"](model)
    parts = split_query(model, collection, profile, "stars")
    assert [parts.label(part) for part in range(len(parts.vectors))] == ["male"]
    assert not parts.vectors[:, 200:].any()


LABELS = ("one", "two", "three", "four", "five")


def test_largest_positive_parts_are_reasons():
    vectors = np.zeros((5, 400))
    vectors[:, 0] = [1, -2, 3, 0.5, 2]
    movie_vector = np.eye(400)[0]
    reasons = Contributions(vectors, LABELS.__getitem__, largest_only=True).reasons(movie_vector)
    assert reasons == [("three", 3), ("five", 2), ("one", 1)]
    assert Contributions(vectors[:2], LABELS.__getitem__, True).reasons(movie_vector) == [("one", 1)]
    assert Contributions(vectors[:0], LABELS.__getitem__, True).reasons(movie_vector) == []


def test_all_demographics_are_reasons():
    vectors = np.zeros((3, 400))
    vectors[:, 0] = [1, -2, 3]
    reasons = Contributions(vectors, LABELS.__getitem__, largest_only=False).reasons(np.eye(400)[0])
    assert reasons == [("three", 3), ("one", 1), ("two", -2)]


@pytest.mark.parametrize("profile", [*WITH_HISTORY.values(), *WITHOUT_HISTORY.values()])
@pytest.mark.parametrize("ranking", ["stars", "picks", "both"])
def test_recommendations_come_with_the_reasons_of_their_ranking(model, collection, catalogue, profile, ranking):
    profile = profile(model)
    [found] = recommend(model, collection, [profile], Query(ranking, 3, explain=True))
    values, labels = part_values(model, collection, catalogue, profile, ranking)
    row_of = {movie.movie_id: row for row, movie in enumerate(catalogue.movies)}
    has_movies = profile.new_ratings if ranking == "stars" else profile.history
    for recommendation in found:
        column = values[:, row_of[recommendation.movie.movie_id]]
        pairs = sorted(zip(column.tolist(), labels, strict=True), reverse=True)
        expected = [pair for pair in pairs[:3] if pair[0] > 0] if has_movies else pairs
        assert [reason.label for reason in recommendation.reasons] == [label for _, label in expected]
        np.testing.assert_allclose(
            [reason.contribution for reason in recommendation.reasons], [value for value, _ in expected], atol=1e-5
        )


def test_movies_have_their_articles_in_front(model, collection):
    profile = UserProfile.from_demographics(model).with_movies(stated(MATRIX, TOY_STORY, OWN_MOVIE.movie_id), {})
    parts = split_query(model, collection, profile, "picks")
    assert sorted(map(parts.label, range(3))) == ["The Matrix", "The Robots", "Toy Story"]
    assert model.movies[MATRIX].name == "Matrix, The"


def test_movie_that_is_gone_from_the_catalogue_is_named(model, collection):
    users = [UserProfile.from_user(model, user_id) for user_id in model.user_ids.tolist()]
    profiles = [profile for profile in users if GONE in profile.history]
    assert profiles
    assert collection.fetch([GONE]) == {}
    assert model.movies[GONE].name == "Terminator, The"
    labels = {
        reason.label
        for found in recommend(model, collection, profiles, Query("picks", 10, explain=True))
        for recommendation in found
        for reason in recommendation.reasons
    }
    assert "The Terminator" in labels


def test_what_determines_a_ranking(model):
    anyone, woman = UserProfile.from_demographics(model), UserProfile.from_demographics(model, 1)
    movies, ratings = anyone.with_movies(stated(MATRIX), {}), anyone.with_ratings({MATRIX: 4.0})
    seen = anyone.with_ratings({MATRIX: float("nan")})
    for ranking, expected in (
        ("stars", (False, True, False, True, False)),
        ("picks", (False, True, True, True, True)),
        ("both", (False, True, True, True, True)),
    ):
        assert tuple(has_reasons(model, profile, ranking) for profile in (anyone, woman, movies, ratings, seen)) == (
            expected
        )


def test_why_names_movies_as_people_do(served):
    folder, environment = served
    options = ("--like", "terminator", "--like", "toy story", "--why")
    stdout = succeed("infer_milvus.py", *options, cwd=folder, **environment).stdout
    reasons = " ".join(line.strip() for line in stdout.splitlines() if line.startswith(" " * 10))
    assert "The Terminator +" in reasons
    assert "Terminator, The" not in reasons
