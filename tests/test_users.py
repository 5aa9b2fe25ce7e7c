"""Profiles, histories and new ratings as vectors, against sums and Gaussian conditionals computed in another way."""

import numpy as np
import pytest
from conftest import SAMPLE

from recommender.cli.arguments import MODEL_FOLDER
from recommender.movielens.split import Split, held_out_rows, split_and_encode
from recommender.movielens.encoding import (
    NUM_DEMOGRAPHIC_PROFILES,
    UNKNOWN,
    MovieFeatures,
    demographic_profile_row,
    encode_movies,
    encode_profiles,
)
from recommender.movielens.encoding import Movie, User
from recommender.movielens.releases import read_movielens
from recommender.milvus.build import build_collection, embed_catalogue
from recommender.milvus.collection import MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.store import ModelError, load_model
from recommender.users import (
    DEMOGRAPHIC_OFFSETS,
    EVERYONE,
    RATING_VARIANCE,
    History,
    MovieEmbeddings,
    UserPrior,
    UserProfile,
    default_ranking,
    fit_user_prior,
    history_weights,
    join_vectors,
    load_history,
    shrinkage,
    split_vectors,
    stated_demographics,
)
from recommender.stars.embed import embed_profiles
from recommender.stars.fusion import FusionModel
from recommender.picks.taste_training import taste_vectors

OWN_MOVIE = Movie(9001, "Alien Robots (2031)", ("Sci-Fi", "Horror"))
"""A movie that training has not seen."""
MODEL_DIM = 200


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / MODEL_FOLDER)


@pytest.fixture(scope="module")
def collection(model, tmp_path_factory):
    movies = [*model.movies.values(), OWN_MOVIE]
    with MilvusConnection(str(tmp_path_factory.mktemp("vectors") / "movies.db"), create=True) as connection:
        build_collection(connection, embed_catalogue(model, movies))
        yield MovieCollection(connection, model.fingerprint)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_joined_vectors_are_split_again(random):
    rating, taste = random.normal(size=(2, 3, MODEL_DIM))
    joined = join_vectors(rating, taste)
    assert joined.shape == (3, 2 * MODEL_DIM)
    assert all(map(np.array_equal, split_vectors(joined), (rating, taste)))
    assert all(map(np.array_equal, split_vectors(joined[1]), (rating[1], taste[1])))
    assert np.array_equal(join_vectors(*split_vectors(joined)), joined)
    weights = 0.3, 0.7
    product = join_vectors(weights[0] * rating[0], weights[1] * taste[0]) @ joined[1]
    assert product == pytest.approx(0.3 * rating[0] @ rating[1] + 0.7 * taste[0] @ taste[1])


def test_movies_with_ratings_have_rows_and_others_are_sums(random):
    by_content = random.normal(size=(4 + 5, 6)).astype(np.float32)
    by_content[[0, 4]] = 0  # Padding.
    table = MovieEmbeddings(random.normal(size=(6, 6)).astype(np.float32), by_content)
    movies = MovieFeatures(
        movie_idx=np.array([2, UNKNOWN, 5, UNKNOWN]),
        genre_idx=np.array([[2, 3], [3, 0], [2, 0], [2, 3]]),
        word_idx=np.array([[2], [3], [4], [4]]),
    )
    before = table.by_id.copy()
    expected = [
        table.by_id[2],
        by_content[3] + by_content[4 + 3],
        table.by_id[5],
        by_content[2] + by_content[3] + by_content[4 + 4],
    ]
    np.testing.assert_allclose(table.lookup(movies, 4), expected, atol=1e-6)
    np.testing.assert_array_equal(table.lookup(movies.select(np.array([0, 2])), 4), table.by_id[[2, 5]])
    assert np.array_equal(table.by_id, before)


@pytest.mark.parametrize("demographic_idx", [[0, 0, 0], [2, 0, 21], [1, 7, 1]])
@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.5, 0.5]])
def test_taste_vector_is_the_shrunken_mean_of_history_and_demographics(random, weights, demographic_idx):
    table = random.normal(size=(34, MODEL_DIM)).astype(np.float32)
    embeddings = random.normal(size=(len(weights), MODEL_DIM)).astype(np.float32)
    variances = random.uniform(0, 2, MODEL_DIM).astype(np.float32)
    weights = np.array(weights, np.float32)
    expected = table[33].astype(float)
    for row, weight in zip(embeddings, weights, strict=True):
        expected += row * weight
    for offset, index in zip((0, 3, 11), demographic_idx, strict=True):
        expected += table[offset + index] if index else 0
    squared_length = (weights**2).sum() + 1
    expected *= variances / (variances + 0.3 / squared_length) / np.sqrt(squared_length)
    history = History(embeddings, weights, stated_demographics(table, np.array(demographic_idx)), variances)
    parts = history.contributions()
    assert parts.shape == (len(weights) + np.count_nonzero(demographic_idx) + 1, MODEL_DIM)
    vector = history.vector()
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected, atol=1e-5)
    np.testing.assert_allclose(parts.sum(0), vector, atol=1e-5)


def test_shrinkage_trusts_long_histories_and_large_variances_more():
    factors = shrinkage(np.array([0.0, 0.1, 1.0, 100.0], np.float32), np.array([0, 10, 1e6], np.float32))
    assert factors.shape == (3, 4)
    assert (factors[:, 0] == 0).all()
    assert (np.diff(factors, axis=1) > 0).all()
    assert (np.diff(factors[:, 1:], axis=0) > 0).all()
    assert factors[2, 2] == pytest.approx(1, abs=1e-5)


def test_demographic_embeddings_do_not_overlap():
    assert DEMOGRAPHIC_OFFSETS.tolist() == [0, 3, 11]
    assert EVERYONE == 33


def test_weights_of_a_history_grow_with_the_stars():
    assert history_weights(np.array([1, 2, 3, 4, 5])).tolist() == pytest.approx([0.1, 0.3, 0.6, 1, 1.4])
    assert history_weights(np.array([0.5, 3.5, 4.5])).tolist() == pytest.approx([0.1, 0.8, 1.2])
    assert history_weights(np.array([np.nan])).tolist() == [0.5], "seen and not rated"
    assert history_weights(np.array([], np.float32)).dtype == np.float32


def draw_prior(random):
    factors = random.normal(size=(MODEL_DIM, MODEL_DIM))
    covariance = 0.002 * factors @ factors.T / MODEL_DIM
    return UserPrior(random.normal(0, 0.01, MODEL_DIM).astype(np.float32), covariance.astype(np.float32))


def draw_ratings(random, count):
    movie_vectors = random.normal(size=(count, MODEL_DIM))
    movie_vectors /= np.linalg.norm(movie_vectors, axis=1, keepdims=True)
    vector = random.normal(size=MODEL_DIM)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return vector, movie_vectors.astype(np.float32), random.uniform(1, 5, count)


@pytest.mark.parametrize("count", [1, 5, 300])
def test_posterior_mean_is_a_ridge_regression_on_the_offset(random, count):
    """Solved for the vector, where the package solves for the ratings."""
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, count)
    design = 5 * movie_vectors.astype(float)
    start = vector + prior.mean.astype(float)
    precision = np.linalg.inv(prior.covariance.astype(float) + 1e-12 * np.eye(MODEL_DIM))
    normal = design.T @ design / RATING_VARIANCE + precision
    expected = start + np.linalg.solve(normal, design.T @ (ratings - design @ start) / RATING_VARIANCE)
    posterior = prior.posterior_mean(vector, movie_vectors, ratings)
    assert posterior.dtype == np.float32
    np.testing.assert_allclose(posterior, expected, atol=1e-4)


def test_posterior_mean_is_a_gaussian_conditional(random):
    """The mean of an offset given ratings, of their joint Gaussian, conditioned on one rating after the other."""
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, 20)
    mean, covariance = prior.mean.astype(float), prior.covariance.astype(float)
    for movie_vector, rating in zip(5 * movie_vectors.astype(float), ratings, strict=True):
        with_rating = covariance @ movie_vector
        variance = movie_vector @ with_rating + RATING_VARIANCE
        mean = mean + with_rating * (rating - movie_vector @ (vector + mean)) / variance
        covariance = covariance - np.outer(with_rating, with_rating) / variance
    np.testing.assert_allclose(prior.posterior_mean(vector, movie_vectors, ratings), vector + mean, atol=1e-5)


def test_contributions_of_ratings_add_up_to_the_posterior_mean(random):
    prior = draw_prior(random)
    vector, movie_vectors, ratings = draw_ratings(random, 7)
    parts = prior.contributions(vector, movie_vectors, ratings)
    assert parts.shape == (7, MODEL_DIM)
    posterior = prior.posterior_mean(vector, movie_vectors, ratings)
    np.testing.assert_allclose(vector + prior.mean + parts.sum(0), posterior, atol=1e-6)


def test_ratings_as_predicted_do_not_move_the_vector(random):
    prior = draw_prior(random)._replace(mean=np.zeros(MODEL_DIM, np.float32))
    vector, movie_vectors, _ = draw_ratings(random, 7)
    posterior = prior.posterior_mean(vector, movie_vectors, 5 * movie_vectors @ vector)
    np.testing.assert_allclose(posterior, vector, atol=1e-5)


USERS = [User(user_id, "MF"[user_id % 2], 25, user_id % 21) for user_id in range(1, 41)]


def test_user_prior_has_the_moments_of_the_offsets_from_demographics(random):
    """The mean is halved and the covariance one and a half times theirs; chosen on held-out users."""
    profiles = encode_profiles(USERS, np.ones(40, bool))
    vectors = random.normal(size=(len(profiles), MODEL_DIM)).astype(np.float32)
    prior = fit_user_prior(vectors, profiles)
    offsets = []
    for row, (_, gender, age, occupation) in enumerate(profiles[NUM_DEMOGRAPHIC_PROFILES:], NUM_DEMOGRAPHIC_PROFILES):
        offsets.append(vectors[row] - vectors[demographic_profile_row(gender, age, occupation)])
    centered = np.array(offsets) - np.mean(offsets, axis=0)
    np.testing.assert_allclose(prior.mean, 0.5 * np.mean(offsets, axis=0), atol=1e-6)
    np.testing.assert_allclose(prior.covariance, 1.5 * centered.T @ centered / 39, atol=1e-5)
    assert prior.mean.dtype == prior.covariance.dtype == np.float32


def test_user_prior_is_of_users_with_training_ratings_only(random):
    has_ratings = np.arange(40) % 4 != 0
    profiles = encode_profiles(USERS, has_ratings)
    vectors = random.normal(size=(len(profiles), MODEL_DIM)).astype(np.float32)
    prior = fit_user_prior(vectors, profiles)
    kept = np.append(np.ones(NUM_DEMOGRAPHIC_PROFILES, bool), has_ratings)
    expected = fit_user_prior(vectors[kept], profiles[kept])
    np.testing.assert_allclose(prior.mean, expected.mean, atol=1e-7)
    np.testing.assert_allclose(prior.covariance, expected.covariance, atol=1e-6)
    assert not np.allclose(prior.mean, fit_user_prior(vectors, encode_profiles(USERS, np.ones(40, bool))).mean)


@pytest.mark.filterwarnings("error")
def test_user_prior_of_one_user_is_finite_and_folds_in_ratings(random):
    for has_ratings in (np.array([True]), np.array([False, True, False])):
        profiles = encode_profiles(USERS[: len(has_ratings)], has_ratings)
        vectors = random.normal(size=(len(profiles), MODEL_DIM)).astype(np.float32)
        prior = fit_user_prior(vectors, profiles)
        assert np.isfinite(prior.mean).all()
        assert not prior.covariance.any()
        assert prior.mean.dtype == prior.covariance.dtype == np.float32
        assert np.isfinite(prior.posterior_mean(*draw_ratings(random, 3))).all()


@pytest.fixture
def split_without_ratings_of_a_user() -> Split:
    """The sample; all ratings of its first user, in order of ids, are test rows."""
    data = read_movielens(SAMPLE)
    return split_and_encode(data, (data.ratings.user_id == 1).to_numpy() | held_out_rows(len(data.ratings)))


def test_user_without_training_ratings_is_their_demographic_profile(split_without_ratings_of_a_user):
    split = split_without_ratings_of_a_user
    dataset = split.train
    first = NUM_DEMOGRAPHIC_PROFILES
    assert dataset.profiles[first, 0] == UNKNOWN
    assert (dataset.profiles[first + 1 :, 0] != UNKNOWN).all()
    model = FusionModel(dataset.num_users, split.vocabularies)
    vectors = embed_profiles(model.user_tower, dataset.profiles)
    anonymous = demographic_profile_row(*dataset.profiles[first, 1:])
    np.testing.assert_allclose(vectors[first], vectors[anonymous], atol=1e-6)


def test_profile_of_a_user(model):
    profile = UserProfile.from_user(model, 42)
    rated = model.ratings_of(42)
    training = rated[~rated["held_out"]]
    assert 0 < len(training) < len(rated)
    weights = {1: 0.1, 2: 0.3, 3: 0.6, 4: 1, 5: 1.4}
    assert dict(profile.history) == pytest.approx(
        {movie_id: weights[stars] for movie_id, stars, _ in training.tolist()}
    )
    assert profile.exclude_ids == set(profile.history)
    assert profile.row == model.profile_row(42)
    assert profile.user_id == 42
    assert not profile.new_ratings
    assert profile.description.startswith("user 42: ")
    assert UserProfile.from_user(model, 42, include_seen=True).exclude_ids == frozenset()
    with pytest.raises(ModelError, match="no user 301"):
        UserProfile.from_user(model, 301)


def test_profile_of_demographics(model):
    profile = UserProfile.from_demographics(model, 1, 0, 10)
    assert profile.description == "female, under 18, K-12 student"
    assert profile.row == demographic_profile_row(2, 1, 11)
    assert UserProfile.from_demographics(model, None, 6, None).description == "anyone, 56+, any job"
    assert UserProfile.from_demographics(model).row == 0
    assert (profile.user_id, profile.history, profile.new_ratings, profile.exclude_ids) == (None, {}, {}, frozenset())


def test_stated_movies_join_the_history_and_are_excluded(model):
    user = UserProfile.from_user(model, 42)
    disliked = min(user.history, key=user.history.get)
    profile = user.with_movies({disliked: "One", 9001: "Two"}, {9002: "Three"})
    assert set(profile.history) == set(user.history) | {9001, 9002} == profile.exclude_ids
    stated = profile.history[disliked], profile.history[9001], profile.history[9002]
    assert stated == (1, 1, 0.5), "what is stated counts, not what was rated"
    assert profile.description == f"{user.description}; likes One, Two; knows Three"
    assert UserProfile.from_user(model, 42, True).with_movies({9001: "Two"}, {}).exclude_ids == {9001}
    both = UserProfile.from_demographics(model).with_movies({5: "Five"}, {5: "Five"})
    assert both.history == {5: 1}
    assert not profile.new_ratings


def test_stated_movies_and_their_ratings(model):
    rated = UserProfile.from_demographics(model).with_ratings({1: 5.0, 2: 1.0, 3: 5.0, 4: 1.0})
    profile = rated.with_movies({1: "Liked as rated", 2: "Liked, not as rated"}, {3: "Seen", 4: "Seen as rated"})
    assert profile.history == pytest.approx({1: 1.4, 2: 1, 3: 0.5, 4: 0.1})


def test_default_ranking(model):
    anyone = UserProfile.from_demographics(model)
    liking, rating = anyone.with_movies({1: "One"}, {}), anyone.with_ratings({1: 4.0})
    seeing = anyone.with_ratings({1: float("nan")})
    user, without_ratings = UserProfile.from_user(model, 42), UserProfile(anyone.row, "", 7)
    orders = {
        "stars": [[anyone], [UserProfile.from_demographics(model, 1)], [without_ratings], [anyone, anyone], []],
        "picks": [[liking], [seeing], [anyone, liking]],
        "both": [[rating], [user], [liking, rating], [anyone, user], [seeing.with_ratings({2: 1.0})]],
    }
    for ranking, groups in orders.items():
        for profiles in groups:
            assert default_ranking(iter(profiles)) == ranking
    ids = iter([42, 10**9])
    assert default_ranking(UserProfile.from_user(model, user_id) for user_id in ids) == "both"
    assert list(ids) == [10**9], "it stops at the first user with ratings"


def test_new_ratings_join_the_history_and_are_excluded(model):
    anyone = UserProfile.from_demographics(model)
    profile = anyone.with_ratings({1: 4.5, 2: 3.5, 3: float("nan")})
    assert profile.history == pytest.approx({1: 1.2, 2: 0.8, 3: 0.5})
    assert profile.new_ratings == {1: 4.5, 2: 3.5}, "a movie without stars is in the history only"
    assert profile.exclude_ids == {1, 2, 3}
    assert profile.description == anyone.description
    more = profile.with_ratings({2: 5.0, 4: 1.0})
    assert more.history == pytest.approx({1: 1.2, 2: 1.4, 3: 0.5, 4: 0.1})
    assert more.new_ratings == {1: 4.5, 2: 5.0, 4: 1.0}
    assert anyone.with_ratings({}) == anyone


def test_new_ratings_are_on_the_scale_of_the_training_data(model):
    """The sample has whole stars from 1; a service may have half a star."""
    assert model.min_rating == 1
    profile = UserProfile.from_demographics(model).with_ratings({1: 0.5, 2: float("nan"), 3: 4.5})
    assert profile.stars(model).tolist() == [1, 4.5]
    assert UserProfile.from_demographics(model).stars(model).tolist() == []


def test_history_has_the_embeddings_of_its_movies(model, collection):
    known = model.vocabularies.movies.tokens[3]
    profile = UserProfile.from_demographics(model, 0, None, 4).with_movies(
        {OWN_MOVIE.movie_id: "Own"}, {known: "Known"}
    )
    history = load_history(model, collection, profile)
    embeddings = dict(zip(profile.history, history.embeddings, strict=True))
    assert dict(zip(profile.history, history.weights, strict=True)) == {known: 0.5, OWN_MOVIE.movie_id: 1}
    np.testing.assert_array_equal(embeddings[known], model.taste_inputs.by_id[2 + 3])
    own = encode_movies([OWN_MOVIE], model.vocabularies)
    assert own.movie_idx.tolist() == [UNKNOWN]
    [expected] = model.taste_inputs.lookup(own, model.vocabularies.genres.size)
    np.testing.assert_array_equal(embeddings[OWN_MOVIE.movie_id], expected)
    assert expected.any()
    np.testing.assert_array_equal(history.demographics, model.taste_demographics[[1, 11 + 5, 33]])


def test_taste_vectors_are_those_that_training_evaluated(model, collection):
    """One by one from the model folder, and all at once from the training rows."""
    data = read_movielens(SAMPLE)
    split = split_and_encode(data, held_out_rows(len(data.ratings)))
    together = taste_vectors(split.train, split.vocabularies, model.taste)
    profiles = [UserProfile.from_user(model, user_id) for user_id in (1, 42, 300)]
    for profile in [*profiles, UserProfile.from_demographics(model, 1, 2, 3)]:
        alone = load_history(model, collection, profile).vector()
        np.testing.assert_allclose(alone, together[profile.row], atol=1e-5)
