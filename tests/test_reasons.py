"""Reasons: their parts add up to the value by which movies are ranked, and bear the names that people know."""

import numpy as np
import pytest
from small_model import GONE, NEW_MOVIE, WITHOUT_TRAINING_RATINGS, films

from recommender.lists import Query, encode_users, recommend
from recommender.movielens.encoding import demographic_profile_row
from recommender.picks.taste import HALF_ANYONE_LENGTH, MAX_ANYONE_SHARE
from recommender.reasons import Parts, has_reasons, split_question
from recommender.users import UserProfile
from recommender.vectors import RANKINGS, STAR_WEIGHT, TASTE_DIM

NAN = float("nan")
NEW_RATINGS = {13: 5.0, NEW_MOVIE.movie_id: 4.0, 43: 0.5, 83: NAN}
WITH_HISTORY = {
    "films": lambda model: UserProfile.from_demographics(model, 0).with_films(films([13, NEW_MOVIE.movie_id], [43])),
    "user": lambda model: UserProfile.from_user(model, 43),
    "ratings": lambda model: UserProfile.from_demographics(model, 1, 2).with_films(films(rated=NEW_RATINGS)),
    "user with ratings": lambda model: UserProfile.from_user(model, 43).with_films(films(rated=NEW_RATINGS)),
}
WITH_RATINGS = ("ratings", "user with ratings")
WITHOUT_HISTORY = {
    "all demographics": lambda model: UserProfile.from_demographics(model, 1, 0, 10),
    "age": lambda model: UserProfile.from_demographics(model, age=6),
}
PROFILES = WITH_HISTORY | WITHOUT_HISTORY


@pytest.fixture
def profile(request, saved_model):
    return PROFILES[request.param](saved_model)


def part_values(model, collection, catalogue, profile, ranking):
    """Returns float[parts, movies], what each part contributes to each movie, and the parts' labels."""
    parts = split_question(model, collection, profile, ranking)
    return parts.vectors @ catalogue.vectors.T, parts.labels


def encode(model, collection, profile, ranking="both"):
    [user] = encode_users(model, collection, [profile], Query(ranking, 1))
    return user


def taste_factor(model, profile):
    """Returns float[200], by which the sum of a profile's embeddings is multiplied: its length and the shrinkage."""
    squared_length = sum(weight**2 for weight in profile.history.values()) + 1
    return model.taste.variances / (model.taste.variances + 0.3 / squared_length) / np.sqrt(squared_length)


def shared_taste(model, profile):
    """Returns float[200], what is no movie of the history: demographics, everyone, and less of anyone's taste."""
    indices = model.profiles[profile.row, 1:].tolist()
    rows = [offset + index for offset, index in zip((0, 3, 11), indices, strict=True) if index]
    length = sum(weight**2 for weight in profile.history.values())
    everyone = model.taste.demographics[33]
    anyone = everyone * model.taste.variances / (model.taste.variances + 0.3)
    total = model.taste.demographics[rows].sum(0) + everyone
    share = MAX_ANYONE_SHARE * length / (length + HALF_ANYONE_LENGTH)
    return total * taste_factor(model, profile) - share * anyone


@pytest.mark.parametrize("profile", WITH_HISTORY, indirect=True)
@pytest.mark.parametrize("ranking", ["picks", "both"])
def test_reasons_and_what_is_no_movie_are_the_ranked_value(saved_model, collection, catalogue, profile, ranking):
    values, labels = part_values(saved_model, collection, catalogue, profile, ranking)
    assert len(labels) == len(profile.history)
    ratings, tastes = catalogue.vectors[:, :200], catalogue.vectors[:, 200:400]
    rest = tastes @ shared_taste(saved_model, profile)
    if ranking == "both":
        rest = rest + 5 * STAR_WEIGHT * ratings @ saved_model.profile_vectors[profile.row]
    elif NEW_MOVIE.movie_id not in profile.history:
        embeddings = saved_model.taste.inputs.by_id[saved_model.movie_idx(np.array(list(profile.history)))]
        factors = taste_factor(saved_model, profile) * np.array(list(profile.history.values()))[:, None]
        np.testing.assert_allclose(values, (embeddings * factors) @ tastes.T, atol=1e-6, err_msg="each of them")
    expected = catalogue.vectors @ encode(saved_model, collection, profile).query(ranking)
    np.testing.assert_allclose(values.sum(0) + rest, expected, atol=1e-4)


@pytest.mark.parametrize("profile", WITH_RATINGS, indirect=True)
def test_reasons_by_stars_of_new_ratings_are_the_change_by_folding_in(saved_model, collection, catalogue, profile):
    values, labels = part_values(saved_model, collection, catalogue, profile, "stars")
    after = encode(saved_model, collection, profile).rating
    before = saved_model.profile_vectors[profile.row]
    change = 5 * catalogue.vectors[:, :200] @ (after - before)
    assert abs(change).max() > 0.1
    np.testing.assert_allclose(values.sum(0), change, atol=1e-4)
    rows = [row for row, movie_id in enumerate(profile.history) if movie_id not in profile.new_ratings]
    assert not values[rows].any(), "movies without new stars do not move predicted ratings"
    assert len(labels) == len(profile.history)


@pytest.mark.parametrize("profile", WITH_HISTORY, indirect=True)
def test_reasons_by_similarity_are_the_liked_movies(saved_model, collection, catalogue, profile):
    values, _ = part_values(saved_model, collection, catalogue, profile, "similar")
    user = encode(saved_model, collection, profile, "similar")
    np.testing.assert_allclose(values.sum(0), catalogue.vectors[:, 400:] @ user.similar, atol=1e-5)
    rows = [row for row, movie_id in enumerate(profile.history) if movie_id not in profile.liked]
    assert not values[rows].any()


def stars(model, catalogue, *demographic_idx):
    """Returns float[movies], the predicted ratings of a demographic profile."""
    return 5 * catalogue.vectors[:, :200] @ model.profile_vectors[demographic_profile_row(*demographic_idx)]


@pytest.mark.parametrize("ranking", ["stars", "both", "picks"])
def test_reasons_of_demographics_are_differences_with_and_without_each(saved_model, collection, catalogue, ranking):
    profile = UserProfile.from_demographics(saved_model, 1, 0, 10)
    values, labels = part_values(saved_model, collection, catalogue, profile, ranking)
    assert labels == ["female", "under 18", "K-12 student"]
    without = [stars(saved_model, catalogue, *indices) for indices in ((0, 1, 11), (2, 0, 11), (2, 1, 0))]
    change = stars(saved_model, catalogue, 2, 1, 11) - np.array(without)
    tastes = saved_model.taste.demographics[[2, 3 + 1, 11 + 11]] * taste_factor(saved_model, profile)
    picks = tastes @ catalogue.vectors[:, 200:400].T
    expected = {"stars": change, "picks": picks, "both": STAR_WEIGHT * change + picks}
    np.testing.assert_allclose(values, expected[ranking], atol=1e-5)


def test_reasons_by_stars_of_a_user_are_demographics_and_own_ratings(saved_model, collection, catalogue):
    profile = UserProfile.from_user(saved_model, 43)
    values, labels = part_values(saved_model, collection, catalogue, profile, "stars")
    assert labels == [*profile.description.removeprefix("user 43: ").split(", "), "own ratings"]
    predicted = 5 * catalogue.vectors[:, :200] @ saved_model.profile_vectors[profile.row]
    expected = predicted - stars(saved_model, catalogue, *saved_model.profiles[profile.row, 1:])
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(values[-1], expected, atol=1e-5)


def test_films_without_stars_are_no_reasons_by_stars(saved_model, collection):
    parts = split_question(saved_model, collection, WITH_HISTORY["films"](saved_model), "stars")
    assert parts.labels == ["male"]
    assert not parts.vectors[:, 200:].any()
    assert parts.kin is None


LABELS = ["first", "second", "third", "fourth", "fifth"]


def test_reasons_of_a_history_contribute_to_the_movie_and_are_like_it():
    """The three largest products of contribution and squared likeness; shown is the contribution, largest first."""
    vectors, kin = np.zeros((5, 450)), np.zeros((5, 50))
    vectors[:, 0] = [1, -2, 3, 0.5, 2]
    kin[:, 0] = [0.9, 1, 0.15, 0.8, 0.5]
    movie = np.zeros(450)
    movie[[0, 400]] = 1
    assert Parts(LABELS, vectors, kin).reasons(movie) == [("fifth", 2), ("first", 1), ("fourth", 0.5)]
    assert Parts(LABELS[:2], vectors[:2], kin[:2]).reasons(movie) == [("first", 1)], "none that speaks against it"
    assert Parts([], vectors[:0], kin[:0]).reasons(movie) == []


def test_all_demographics_are_reasons():
    vectors = np.zeros((4, 450))
    vectors[:, 0] = [1, -2, 3, 0.5]
    expected = [("third", 3), ("first", 1), ("fourth", 0.5), ("second", -2)]
    assert Parts(LABELS[:4], vectors, None).reasons(np.eye(450)[0]) == expected


@pytest.mark.parametrize("profile", PROFILES, indirect=True)
@pytest.mark.parametrize("ranking", RANKINGS)
def test_recommendations_come_with_the_reasons_of_their_ranking(saved_model, collection, catalogue, profile, ranking):
    [found] = recommend(saved_model, collection, [profile], Query(ranking, 4, explain=True))
    values, labels = part_values(saved_model, collection, catalogue, profile, ranking)
    for recommendation in found:
        row = catalogue.row(recommendation.movie.movie_id)
        column = dict(zip(labels, values[:, row].tolist(), strict=True))
        chosen = list(column)
        if profile.new_ratings if ranking == "stars" else profile.history:
            kin = {}
            for label, movie_id in zip(labels, profile.history, strict=True):
                liked = catalogue.vectors[catalogue.row(movie_id)]
                taste = liked[200 : 200 + TASTE_DIM] / np.linalg.norm(liked[200 : 200 + TASTE_DIM])
                likeness = np.append(taste, liked[400 + TASTE_DIM :]) @ catalogue.vectors[row, 400:]
                kin[label] = max(column[label], 0) * max(likeness, 0) ** 2
            chosen = sorted(column, key=lambda label: -kin[label])[:3]
            chosen = [label for label in chosen if column[label] > 0]
        expected = sorted(chosen, key=lambda label: -column[label])
        assert [reason.label for reason in recommendation.reasons] == expected
        contributions = [reason.contribution for reason in recommendation.reasons]
        np.testing.assert_allclose(contributions, [column[label] for label in expected], atol=1e-6)


def test_movies_have_their_articles_in_front(saved_model, collection):
    profile = UserProfile.from_demographics(saved_model).with_films(films([3, 13, NEW_MOVIE.movie_id]))
    labels = split_question(saved_model, collection, profile, "picks").labels
    assert sorted(labels) == ["Alien Robots", "Silent Engine", "The Silent Harbor"]
    assert saved_model.movies[3].name == "Silent Harbor, The"


def test_movie_that_left_the_catalogue_is_named(saved_model, collection):
    users = [UserProfile.from_user(saved_model, user_id) for user_id in saved_model.user_ids.tolist()]
    profile = next(user for user in users if GONE in user.history)
    assert collection.fetch([GONE]) == {}
    parts = split_question(saved_model, collection, profile, "picks")
    gone = list(profile.history).index(GONE)
    assert parts.labels[gone] == "Silent Mirror"
    assert parts.vectors[gone].any()
    assert not parts.kin[gone].any(), "without its vector, it is like no movie"


def test_what_determines_a_ranking(saved_model):
    anyone, woman = UserProfile.from_demographics(saved_model), UserProfile.from_demographics(saved_model, 1)
    liking, seeing = anyone.with_films(films([13])), anyone.with_films(films([], [13]))
    rating = anyone.with_films(films(rated={13: 4.0}))
    user = UserProfile.from_user(saved_model, 43)
    without = UserProfile(0, "", WITHOUT_TRAINING_RATINGS)
    people = (anyone, woman, liking, rating, seeing, user, without)
    for ranking, expected in (
        ("stars", (False, True, False, True, False, True, False)),
        ("picks", (False, True, True, True, True, True, False)),
        ("both", (False, True, True, True, True, True, False)),
    ):
        assert tuple(has_reasons(saved_model, profile, ranking) for profile in people) == expected
