"""The towers, window by window in numpy, and the predicted rating by both of its implementations."""

import numpy as np
import pytest

from recommender.movielens.encoding import EMBEDDING_DIM, MovieFeatures, Vocabularies, Vocabulary
from recommender.stars.fusion import (
    EMBED_BATCH,
    FusionModel,
    embed_movies,
    embed_profiles,
    load_tower,
    normalize,
    save_towers,
)
from recommender.stars.paddle_setup import paddle

PROFILES = np.array([[2, 1, 1, 1], [3, 2, 7, 21], [1, 0, 0, 0]])
MOVIES = MovieFeatures(
    movie_idx=np.array([2, 3, 1, 4]),
    genre_idx=np.array([[2, 3], [4, 0], [5, 0], [2, 0]]),
    word_idx=np.array([[2, 3, 4], [1, 0, 0], [5, 6, 0], [8, 8, 8]]),
)
PROFILE_ROW, MOVIE_ROW = np.array([0, 2, 2, 1, 2]), np.array([3, 3, 0, 1, 3])
"""Pairs of a profile and a movie; one occurs twice."""
RATING = np.array([5, 1, 3, 4, 2], np.float32)


@pytest.fixture(scope="module")
def model():
    paddle.seed(0)
    vocabularies = Vocabularies(words=Vocabulary("abcdefg"), genres=Vocabulary("wxyz"), movies=Vocabulary([1, 2, 3]))
    model = FusionModel(4, vocabularies)
    model.user_tower.length.weight.set_value(0.3 * np.sin(np.arange(80, dtype=np.float32))[:, None])
    model.user_tower.length.bias.set_value(np.array([0.2], np.float32))
    model.eval()
    return model


def tensors(arrays):
    return tuple(map(paddle.to_tensor, arrays))


def linear(layer, values):
    return values @ layer.weight.numpy() + layer.bias.numpy()


def branch_output(branch, index):
    return linear(branch.linear, branch.embedding.weight.numpy()[index])


def tower_output(parts, output):
    hidden = np.tanh(linear(output, np.concatenate(parts)))
    return hidden / np.linalg.norm(hidden)


def test_user_tower_agrees_with_numpy(model):
    tower = model.user_tower
    vectors = tower(paddle.to_tensor(PROFILES)).numpy()
    assert vectors.shape == (len(PROFILES), EMBEDDING_DIM)
    branches = [tower.id_branch, *tower.demographic_branches]
    for profile, vector in zip(PROFILES, vectors, strict=True):
        parts = [branch_output(branch, index) for branch, index in zip(branches, profile, strict=True)]
        assert [len(part) for part in parts] == [32, 16, 16, 16]
        length = np.exp(linear(tower.length, np.concatenate(parts)))
        assert np.linalg.norm(vector) == pytest.approx(length.item(), rel=1e-5)
        np.testing.assert_allclose(vector, length * tower_output(parts, tower.output), atol=1e-6)


def test_movie_tower_agrees_with_numpy(model):
    """Word by word and window by window, where the tower gathers all windows at once."""
    tower = model.movie_tower
    vectors = tower(*tensors(MOVIES)).numpy()
    word_table, genre_table = tower.word_embedding.weight.numpy(), tower.genre_embedding.weight.numpy()
    for movie, genres, words, vector in zip(*MOVIES, vectors, strict=True):
        title = np.zeros(32)
        padded = [0, *(word for word in words if word), 0]
        for i in range(1, len(padded) - 1):
            title += np.tanh(linear(tower.convolution, word_table[padded[i - 1 : i + 2]].ravel()))
        genre_sum = genre_table[[genre for genre in genres if genre]].sum(0)
        parts = [branch_output(tower.id_branch, movie), genre_sum, title]
        np.testing.assert_allclose(vector, tower_output(parts, tower.output), atol=1e-6)


def test_padding_does_not_change_a_movie(model):
    movie_idx, genre_idx, word_idx = MOVIES
    wider = movie_idx, np.pad(genre_idx, ((0, 0), (0, 3))), np.pad(word_idx, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model.movie_tower(*tensors(wider)), model.movie_tower(*tensors(MOVIES)), atol=1e-6)


def test_one_movie_is_embedded_as_among_many(model):
    together = model.movie_tower(*tensors(MOVIES)).numpy()
    for row in range(len(together)):
        alone = model.movie_tower(*tensors(MOVIES.select(np.array([row])))).numpy()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_first_predictions_are_about_the_mean_rating_of_users_of_length_1():
    """Equal id weights of both towers and a common output bias; a cosine of random vectors would be about 0."""
    paddle.seed(0)
    model = FusionModel(4, Vocabularies(Vocabulary("abcdefg"), Vocabulary("wxyz"), Vocabulary([1, 2, 3])))
    predicted = model(paddle.to_tensor(PROFILES), tensors(MOVIES), *tensors((PROFILE_ROW, MOVIE_ROW))).numpy()
    assert (abs(predicted - 3.5) < 1.5).all()
    user_tower, movie_tower = model.user_tower, model.movie_tower
    assert (user_tower.id_branch.linear.weight == movie_tower.id_branch.linear.weight).all()
    assert (user_tower.output.weight[:32] == movie_tower.output.weight[:32]).all()
    np.testing.assert_allclose(np.linalg.norm(embed_profiles(user_tower, PROFILES), axis=1), 1, atol=1e-6)


def test_predicted_rating_is_five_times_the_inner_product(model):
    predicted = model(paddle.to_tensor(PROFILES), tensors(MOVIES), *tensors((PROFILE_ROW, MOVIE_ROW))).numpy()
    users, movies = model.user_tower(paddle.to_tensor(PROFILES)).numpy(), model.movie_tower(*tensors(MOVIES)).numpy()
    np.testing.assert_allclose(np.linalg.norm(movies, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(predicted, 5 * (users[PROFILE_ROW] * movies[MOVIE_ROW]).sum(1), atol=1e-5)


def test_towers_once_per_distinct_row_have_the_gradient_of_once_per_rating(model):
    rating = paddle.to_tensor(RATING)
    weights = [weight for weight in model.parameters() if not weight.stop_gradient]
    predicted = model(paddle.to_tensor(PROFILES), tensors(MOVIES), *tensors((PROFILE_ROW, MOVIE_ROW)))
    grads = paddle.grad(((predicted - rating) ** 2).mean(), weights)
    users = model.user_tower(paddle.to_tensor(PROFILES[PROFILE_ROW]))
    movies = model.movie_tower(*tensors(array[MOVIE_ROW] for array in MOVIES))
    naive = 5 * (users * movies).sum(1)
    expected = paddle.grad(((naive - rating) ** 2).mean(), weights)
    np.testing.assert_allclose(predicted.numpy(), naive.numpy(), atol=1e-5)
    for grad, other in zip(grads, expected, strict=True):
        assert abs(other.numpy()).max() > 0
        np.testing.assert_allclose(grad.numpy(), other.numpy(), atol=1e-5)


def test_normalize():
    vectors = paddle.to_tensor([[3.0, 4.0], [0.0, 0.0]])
    vectors.stop_gradient = False
    unit = normalize(vectors)
    np.testing.assert_allclose(unit.numpy(), [[0.6, 0.8], [0, 0]], atol=1e-6)
    unit.sum().backward()
    assert np.isfinite(vectors.grad.numpy()).all(), "of zero vectors, too"


def test_saved_towers_embed_as_the_model_does(model, tmp_path):
    save_towers(tmp_path, model)
    vectors = embed_profiles(load_tower(tmp_path / "user_tower"), PROFILES)
    np.testing.assert_allclose(vectors, embed_profiles(model.user_tower, PROFILES), atol=1e-6)
    vectors = embed_movies(load_tower(tmp_path / "movie_tower"), MOVIES)
    np.testing.assert_allclose(vectors, embed_movies(model.movie_tower, MOVIES), atol=1e-6)


def test_profiles_are_embedded_in_batches(model):
    rows = np.arange(EMBED_BATCH + 2) % 3
    vectors = embed_profiles(model.user_tower, PROFILES[rows])
    np.testing.assert_allclose(vectors, embed_profiles(model.user_tower, PROFILES)[rows], atol=1e-6)
