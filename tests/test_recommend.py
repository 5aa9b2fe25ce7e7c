"""Recommendations from the model of the sample, on Milvus, against exact search over all movies."""

import numpy as np
import pytest

from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.catalogue import Movie
from recommender.milvus.build import build_collection, embed_catalogue
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import MovieFilter
from recommender import lists as recommend_module
from recommender.store import load_model
from recommender.lists import Query, compute_vectors, predict_rating, rating_vector, recommend, taste_similarities
from recommender.users import RATING_VARIANCE, UserProfile, load_history

OWN_MOVIE = Movie(9001, "Alien Robots (2031)", ("Sci-Fi", "Horror"))
"""A movie that training has not seen."""
RANKINGS = ("stars", "picks", "both")


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / MODEL_FOLDER)


@pytest.fixture(scope="module")
def catalogue(model):
    return embed_catalogue(model, [*model.movies.values(), OWN_MOVIE])


@pytest.fixture(scope="module")
def collection(model, catalogue, new_place):
    with MilvusConnection(**new_place(), create=True) as connection:
        build_collection(connection, catalogue)
        yield MovieCollection(connection, model.fingerprint)


def movie_ids(recommendations):
    return [recommendation.movie.movie_id for recommendation in recommendations]


def liked(*movies):
    return dict.fromkeys(movies, "a movie")


PROFILES = {
    "demographics": lambda model: UserProfile.from_demographics(model, 1, 0, 10),
    "anyone": UserProfile.from_demographics,
    "user": lambda model: UserProfile.from_user(model, 42),
    "user, seen movies included": lambda model: UserProfile.from_user(model, 42, include_seen=True),
    "new user with movies": lambda model: UserProfile.from_demographics(model, 0).with_movies(
        liked(1214, 541), liked(1)
    ),
    "user with movies": lambda model: UserProfile.from_user(model, 7).with_movies(liked(1214), liked(783)),
    "movie that training has not seen": lambda model: UserProfile.from_demographics(model).with_movies(
        liked(OWN_MOVIE.movie_id), {}
    ),
    "new user with ratings": lambda model: UserProfile.from_demographics(model, 1).with_ratings(
        {1214: 5.0, 1: 1.5, 783: float("nan"), 2571: 3.5}
    ),
    "user with new ratings": lambda model: UserProfile.from_user(model, 7).with_ratings({OWN_MOVIE.movie_id: 5.0}),
}


def folded_in_vector(model, profile, movie_vectors):
    """Returns the rating vector as `UserPrior.posterior_mean` does, but solves for the vector, not for the ratings."""
    vector = model.profile_vectors[profile.row]
    if not profile.new_ratings:
        return vector
    design = 5 * movie_vectors.astype(float)
    start = vector + model.user_prior.mean.astype(float)
    errors = np.array(list(profile.new_ratings.values())) - design @ start
    precision = np.linalg.inv(model.user_prior.covariance + 1e-9 * np.eye(200))
    return start + np.linalg.solve(design.T @ design / RATING_VARIANCE + precision, design.T @ errors / RATING_VARIANCE)


def exact_scores(model, collection, catalogue, profile):
    """Returns predicted ratings and taste scores of all movies, both [movies]."""
    row_of = {movie.movie_id: row for row, movie in enumerate(catalogue.movies)}
    rated = [row_of[movie_id] for movie_id in profile.new_ratings]
    vector = folded_in_vector(model, profile, catalogue.vectors[rated, :200])
    taste = load_history(model, collection, profile).vector()
    return 5 * catalogue.vectors[:, :200] @ vector, catalogue.vectors[:, 200:] @ taste


@pytest.mark.parametrize("k", [1, 12, 500])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("ranking", RANKINGS)
def test_recommendations_are_those_of_exact_search(model, collection, catalogue, profile, ranking, k):
    """The contract of all rankings: ordered by their weights, without what is excluded, k or as many as there are."""
    profile = profile(model)
    [found] = recommend(model, collection, [profile], Query(ranking, k))
    predicted, taste = exact_scores(model, collection, catalogue, profile)
    values = {"stars": predicted, "picks": taste, "both": 0.2 * predicted + taste}[ranking]
    ranked = [row for row in np.argsort(-values) if catalogue.movies[row].movie_id not in profile.exclude_ids]
    assert len(found) == min(k, len(catalogue.movies) - len(profile.exclude_ids))
    assert not set(movie_ids(found)) & profile.exclude_ids
    top = ranked[:k]
    if k == 500:  # Neighbours in a list of all movies are too close for the order of float32 sums.
        np.testing.assert_allclose(
            [values[[movie.movie_id for movie in catalogue.movies].index(movie_id)] for movie_id in movie_ids(found)],
            values[top],
            atol=1e-5,
        )
        return
    assert [recommendation.movie for recommendation in found] == [catalogue.movies[row] for row in top]
    expected = predicted[top].clip(1, 5) if profile.new_ratings else predicted[top]
    np.testing.assert_allclose([movie.predicted_rating for movie in found], expected, atol=1e-4)
    np.testing.assert_allclose([movie.taste_score for movie in found], taste[top], atol=1e-5)
    assert [movie.num_ratings for movie in found] == [catalogue.num_ratings[row] for row in top]
    assert all(movie.reasons == [] for movie in found)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_filter_leaves_the_order_as_it_is(model, collection, ranking):
    profile = PROFILES["user with movies"](model)
    movie_filter = MovieFilter(genres=("Comedy",), first_year=1980, min_ratings=20)
    query = Query(ranking, 500)
    [everything] = recommend(model, collection, [profile], query)
    [found] = recommend(model, collection, [profile], query._replace(filter=collection.build_filter(movie_filter)))
    expected = [
        movie
        for movie in everything
        if "Comedy" in movie.movie.genres and movie.movie.year >= 1980 and movie.num_ratings >= 20
    ]
    assert 3 < len(found) < len(everything) / 2
    assert set(movie_ids(found)) == set(movie_ids(expected))
    assert movie_ids(found)[:3] == movie_ids(expected)[:3]


def test_many_profiles_at_once_get_what_each_gets_alone(model, collection, monkeypatch):
    monkeypatch.setattr(recommend_module, "USER_BATCH", 13)
    profiles = [UserProfile.from_user(model, user_id).with_movies(liked(1214), {}) for user_id in range(1, 31)]
    profiles[4] = PROFILES["new user with ratings"](model)
    query = Query("both", 7, collection.build_filter(MovieFilter(min_ratings=20)), explain=True)
    together = list(recommend(model, collection, profiles, query))
    for profile, found in zip(profiles, together, strict=True):
        [alone] = recommend(model, collection, [profile], query)
        assert len(found) == 7
        assert movie_ids(alone) == movie_ids(found)
        assert not set(movie_ids(found)) & profile.exclude_ids
        assert alone[0].reasons == found[0].reasons != []


def test_no_profile_gets_nothing(model, collection):
    assert list(recommend(model, collection, [], Query("both", 7))) == []


def test_liked_movies_change_taste_scores_and_not_predicted_ratings(model, collection):
    results = []
    for stated in ({}, liked(1214)):
        profile = UserProfile.from_demographics(model, 1, 0, 10).with_movies(stated, {})
        [found] = recommend(model, collection, [profile], Query("stars", 300))
        results.append({movie.movie.movie_id: movie for movie in found})
    before, after = results
    assert before.keys() - after.keys() == {1214}
    for movie_id, movie in after.items():
        assert movie.predicted_rating == pytest.approx(before[movie_id].predicted_rating, abs=1e-6)
    assert any(abs(movie.taste_score - before[movie_id].taste_score) > 0.05 for movie_id, movie in after.items())


def test_new_ratings_move_predictions_towards_them(model, collection):
    [rated] = recommend(model, collection, [UserProfile.from_demographics(model)], Query("stars", 4))
    profile = UserProfile.from_demographics(model).with_ratings(dict.fromkeys(movie_ids(rated), 1.0))
    vector = compute_vectors(model, collection, profile).rating
    for movie in rated:
        stored = collection.fetch([movie.movie.movie_id])[movie.movie.movie_id]
        assert 1 < 5 * vector @ stored.vector[:200] < movie.predicted_rating - 0.1


def test_rating_vector_of_a_profile_without_new_ratings_is_that_of_the_tower(model):
    profile = UserProfile.from_user(model, 42).with_movies(liked(1214), {})
    vector = model.profile_vectors[profile.row]
    assert rating_vector(model, profile, vector, {}) is vector


def test_only_predictions_with_new_ratings_are_clipped(model):
    movie = np.eye(200, dtype=np.float32)[0]
    anyone = UserProfile.from_demographics(model)
    for length, plain, clipped in ((1.2, 6, 5), (0.1, 0.5, 1), (0.7, 3.5, 3.5)):
        assert predict_rating(model, anyone, length * movie, movie) == pytest.approx(plain)
        assert predict_rating(model, anyone.with_ratings({1: 3.0}), length * movie, movie) == pytest.approx(clipped)


def test_similarities_of_tastes(model, collection):
    """Least squares: what is left of each taste without the taste of an unknown user, then correlations."""
    anyone = UserProfile.from_demographics(model)
    profiles = [PROFILES["user with movies"](model), PROFILES["new user with ratings"](model)]
    profiles += [UserProfile.from_user(model, 42), UserProfile.from_user(model, 42, include_seen=True), anyone]
    found = taste_similarities(model, collection, profiles)
    average, *tastes = (load_history(model, collection, profile).vector() for profile in (anyone, *profiles))
    residuals = [taste - np.linalg.lstsq(average[:, None], taste)[0] * average for taste in tastes[:4]]
    expected = [[one @ other / np.sqrt(one @ one * (other @ other)) for other in residuals] for one in residuals]
    np.testing.assert_allclose(found[:4, :4], expected, atol=1e-4)
    assert found[2, 3] == pytest.approx(1, abs=1e-4)
    assert abs(found[:4, :4] - 1).max() > 0.1
    np.testing.assert_allclose(found[4], 0, atol=1e-6, err_msg="an unknown user has no taste of their own")
