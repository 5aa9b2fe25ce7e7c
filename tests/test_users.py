"""Profiles of users and the questions that they become, against sums computed one by one."""

import numpy as np
import pytest
from small_model import GONE, NEW_MOVIE, ONLY_TEST_RATINGS, WITHOUT_TRAINING_RATINGS, films

from recommender.errors import UsageError
from recommender.films.matching import FilmHistory
from recommender.milvus.collection import StoredMovie
from recommender.movielens.encoding import UNKNOWN, demographic_profile_row, encode_movies
from recommender.picks.taste import HALF_ANYONE_LENGTH, MAX_ANYONE_SHARE
from recommender.store import ModelError
from recommender.users import (
    UserProfile,
    demographic_labels,
    encode_user,
    load_history,
    needed_movies,
    new_stars,
    rating_vector,
)
from recommender.vectors import RANKINGS, TASTE_DIM

NAN = float("nan")
WEIGHTS = {1: 0.1, 2: 0.3, 3: 0.6, 4: 1, 5: 1.4}


def nobody(model):
    return UserProfile.from_demographics(model)


def test_profile_of_a_user(saved_model):
    profile = UserProfile.from_user(saved_model, 43)
    rated = saved_model.ratings_of(43)
    training = rated[~rated["held_out"]]
    assert 0 < len(training) < len(rated)
    assert profile.history == pytest.approx({movie: WEIGHTS[stars] for movie, stars, _ in training.tolist()})
    assert profile.exclude_ids == set(profile.history)
    assert profile.row == saved_model.profile_row(43)
    assert (profile.user_id, profile.new_ratings, profile.has_training_ratings) == (43, {}, True)
    assert profile.description == "user 43: female, under 18, other"
    assert UserProfile.from_user(saved_model, 43, include_seen=True).exclude_ids == frozenset()
    assert not UserProfile.from_user(saved_model, WITHOUT_TRAINING_RATINGS).has_training_ratings
    with pytest.raises(ModelError, match="no user 44 in the training data; there are 200 users"):
        UserProfile.from_user(saved_model, 44)


def test_profile_of_demographics(saved_model):
    profile = UserProfile.from_demographics(saved_model, 1, 0, 10)
    assert profile.description == "female, under 18, K-12 student"
    assert profile.row == demographic_profile_row(2, 1, 11)
    assert demographic_labels(saved_model, profile.row) == [("female", 2), ("under 18", 1), ("K-12 student", 11)]
    assert UserProfile.from_demographics(saved_model, None, 6, None).description == "anyone, 56+, any job"
    assert nobody(saved_model) == UserProfile(0, "anyone, any age, any job")


def test_demographics_are_refused_where_the_data_have_none(saved_model, monkeypatch):
    monkeypatch.setattr(saved_model, "facts", saved_model.facts._replace(has_demographics=False))
    for label in ((0, None, None), (None, 0, None), (None, None, 0)):
        with pytest.raises(UsageError, match="trained on data without age, gender and job; leave them out"):
            UserProfile.from_demographics(saved_model, *label)
    assert nobody(saved_model).description == "anyone"


def test_new_ratings_join_the_history_and_are_excluded(saved_model):
    profile = nobody(saved_model).with_films(films(rated={1: 4.5, 2: 3.5, 3: NAN}))
    assert profile.history == pytest.approx({1: 1.2, 2: 0.8, 3: 0.5})
    assert profile.new_ratings == {1: 4.5, 2: 3.5}, "a movie without stars is in the history only"
    assert profile.exclude_ids == {1, 2, 3}
    more = profile.with_films(films(rated={2: 5.0, 4: 1.0}))
    assert more.history == pytest.approx({1: 1.2, 2: 1.4, 3: 0.5, 4: 0.1})
    assert more.new_ratings == {1: 4.5, 2: 5.0, 4: 1.0}
    assert more.exclude_ids == {1, 2, 3, 4}
    assert nobody(saved_model).with_films(films(rated={})) == nobody(saved_model)


def test_liked_and_seen_movies_beside_ratings(saved_model):
    rated = nobody(saved_model).with_films(films(rated={1: 5.0, 2: 1.0, 3: 5.0, 4: 1.0}))
    profile = rated.with_films(films(liked=[1, 2, 9001], seen=[3, 4, 9002]))
    assert profile.history == pytest.approx({1: 1.4, 2: 1, 3: 0.5, 4: 0.1, 9001: 1, 9002: 0.5})
    assert profile.new_ratings == rated.new_ratings
    assert set(profile.liked) == {1, 2, 9001}
    assert profile.exclude_ids == {1, 2, 3, 4, 9001, 9002}
    user = UserProfile.from_user(saved_model, 43, include_seen=True)
    assert user.with_films(films([9001])).exclude_ids == {9001}, "what is named is known"


def test_films_of_a_file(saved_model):
    history = FilmHistory(rated={1: 4.0, 2: 2.0}, liked={2, 3}, seen={4}, exclude={5})
    profile = nobody(saved_model).with_films(history)
    assert profile.history == pytest.approx({1: 1, 2: 1, 3: 1, 4: 0.5}), "a heart counts beside two stars"
    assert profile.new_ratings == {1: 4.0, 2: 2.0}
    assert profile.exclude_ids == {1, 2, 3, 4, 5}


def test_default_ranking(saved_model):
    anyone, woman = nobody(saved_model), UserProfile.from_demographics(saved_model, 1)
    eleven = range(11)
    expected = {
        "stars": [anyone, woman, UserProfile.from_user(saved_model, WITHOUT_TRAINING_RATINGS)],
        "similar": [anyone.with_films(films([1])), anyone.with_films(films(eleven[:10], []))],
        "picks": [
            woman.with_films(films([1])),
            anyone.with_films(films([1], [2])),
            anyone.with_films(films([], [2])),
            anyone.with_films(films(eleven, [])),
            anyone.with_films(films(rated={1: NAN})),
        ],
        "both": [anyone.with_films(films(rated={1: 4.0})), UserProfile.from_user(saved_model, 43)],
    }
    for ranking, profiles in expected.items():
        assert [profile.default_ranking for profile in profiles] == [ranking] * len(profiles)


def test_new_ratings_are_on_the_scale_of_the_training_data(saved_model):
    """These have whole stars from 1; a service may have half a star."""
    profile = nobody(saved_model).with_films(films(rated={1: 0.5, 2: NAN, 3: 4.5}))
    assert new_stars(saved_model, profile).tolist() == [1, 4.5]


def test_history_has_the_embeddings_of_its_movies(saved_model):
    known = saved_model.movie_ids[3]
    profile = UserProfile.from_demographics(saved_model, 0, None, 4).with_films(
        films([9001], [known, ONLY_TEST_RATINGS])
    )
    assert needed_movies(saved_model, profile, "picks") == {9001, ONLY_TEST_RATINGS}
    rated = profile.with_films(films(rated={known: 5.0, 9002: NAN}))
    assert needed_movies(saved_model, rated, "both") == {known, 9001, 9002, ONLY_TEST_RATINGS}
    assert needed_movies(saved_model, UserProfile(0, "", history={known: 1.0}), "similar") == {known}
    movies = {9001: NEW_MOVIE, ONLY_TEST_RATINGS: saved_model.movies[ONLY_TEST_RATINGS]}
    stored = {movie_id: StoredMovie(movie, 0, np.zeros(0)) for movie_id, movie in movies.items()}
    history = load_history(saved_model, profile, stored)
    rows = dict(zip(profile.history, zip(history.weights, history.embeddings, strict=True), strict=True))
    taste = saved_model.taste
    for movie_id, weight in ((9001, 1), (known, 0.5), (ONLY_TEST_RATINGS, 0.5)):
        expected = taste.inputs.by_id[2 + 3]
        if movie_id != known:
            features = encode_movies([movies[movie_id]], saved_model.vocabularies)
            assert features.movie_idx.tolist() == [UNKNOWN]
            [expected] = taste.inputs.lookup(features, saved_model.vocabularies.genres.size)
        assert rows[movie_id][0] == weight
        np.testing.assert_array_equal(rows[movie_id][1], expected)
    np.testing.assert_array_equal(history.demographics, taste.demographics[[1, 11 + 5, 33]])


def naive_taste(model, profile, novelty=0.0):
    """Returns float64[200]: the shrunken mean of a history and demographics, less a share of anyone's."""

    def shrunken(total, squared_length):
        variances = model.taste.variances.astype(float)
        return total / np.sqrt(squared_length) * variances / (variances + 0.3 / squared_length)

    table = model.taste.demographics.astype(float)
    indices = zip((0, 3, 11), model.profiles[profile.row, 1:], strict=True)
    total = table[33] + sum(table[offset + index] for offset, index in indices if index)
    for movie_id, weight in profile.history.items():
        total += weight * model.taste.inputs.by_id[model.movie_idx(np.array([movie_id]))[0]]
    length = sum(weight**2 for weight in profile.history.values())
    share = MAX_ANYONE_SHARE * length / (length + HALF_ANYONE_LENGTH) + novelty
    return shrunken(total, length + 1) - share * shrunken(table[33], 1)


@pytest.mark.parametrize("novelty", [0, 0.4])
def test_vectors_of_a_profile(saved_model, catalogue, novelty):
    """The tower's vector with new ratings folded in; the taste; the mean question of what is liked."""
    first, second, third = (movie.movie_id for movie in catalogue.movies[:3])
    profile = (
        UserProfile.from_user(saved_model, 43)
        .with_films(films(rated={first: 1.0, second: 5.0}))
        .with_films(films([third]))
    )
    rows = zip(catalogue.movies[:3], catalogue.num_ratings, catalogue.vectors, strict=False)
    stored = {row[0].movie_id: StoredMovie(*row) for row in rows}
    user = encode_user(saved_model, profile, stored, catalogue.vectors.shape[1], novelty, True)

    rated = catalogue.vectors[:2, :200]
    own = saved_model.profile_vectors[profile.row]
    folded = saved_model.user_prior.posterior_mean(own, rated, np.array([1.0, 5.0]))
    assert abs(folded - own).max() > 0.01
    np.testing.assert_allclose(user.rating, folded, atol=1e-6)
    np.testing.assert_allclose(user.taste, naive_taste(saved_model, profile, novelty), atol=1e-5)
    liked = catalogue.vectors[[catalogue.row(second), catalogue.row(third)]]
    tastes = liked[:, 200 : 200 + TASTE_DIM]
    tastes = tastes / np.linalg.norm(tastes, axis=1, keepdims=True)
    np.testing.assert_allclose(user.similar, np.hstack([tastes, liked[:, 400 + TASTE_DIM :]]).mean(0), atol=1e-6)
    for ranking, weights in RANKINGS.items():
        expected = np.concatenate([weight * part for weight, part in zip(weights, user, strict=True)])
        np.testing.assert_allclose(user.query(ranking), expected, atol=1e-6)


def test_rating_vector_without_new_ratings_is_that_of_the_tower(saved_model):
    profile = UserProfile.from_user(saved_model, 43).with_films(films([GONE]))
    own = saved_model.profile_vectors[profile.row]
    assert rating_vector(saved_model, profile, own, []) is own


def test_question_of_someone_who_likes_nothing_is_like_nothing(saved_model, catalogue):
    profile = nobody(saved_model).with_films(films([], [3]))
    dim = catalogue.vectors.shape[1]
    user = encode_user(saved_model, profile, {}, dim, 0, True)
    assert user.query("picks").shape == (dim,)
    assert not user.similar.any()


def test_taste_of_the_unknown_user(saved_model):
    history = load_history(saved_model, nobody(saved_model), {})
    np.testing.assert_allclose(history.vector(), naive_taste(saved_model, nobody(saved_model)), atol=1e-6)
