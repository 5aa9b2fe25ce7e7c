import numpy as np
import paddle
import pytest

from recommender.models.two_tower import VECTOR_SIZE, FusionModel


@pytest.fixture(scope="module")
def model():
    paddle.seed(0)
    model = FusionModel(num_users=6, demographic_sizes=(3, 8, 22), num_movies=5, num_genres=6, num_words=9)
    model.eval()
    return model


MOVIES = (
    np.array([2, 3, 1, 4]),
    np.array([[2, 3], [4, 0], [5, 0], [2, 0]]),
    np.array([[2, 3, 4], [1, 0, 0], [5, 6, 0], [8, 8, 8]]),
)
PEOPLE = np.array([[2, 1, 1, 1], [3, 2, 7, 21], [1, 0, 0, 0]])


def tensors(arrays):
    return tuple(map(paddle.to_tensor, arrays))


def naive_tower(parts, combine):
    hidden = np.tanh(np.concatenate(parts) @ combine.weight.numpy() + combine.bias.numpy())
    return hidden / np.linalg.norm(hidden)


def linear(layer, values):
    return values @ layer.weight.numpy() + layer.bias.numpy()


def test_user_tower_agrees_with_numpy(model):
    tower = model.user_tower
    vectors = tower(paddle.to_tensor(PEOPLE)).numpy()
    assert vectors.shape == (3, VECTOR_SIZE)
    branches = [(branch[0], branch[-1]) for branch in tower.branches]
    for person, vector in zip(PEOPLE, vectors, strict=True):
        parts = [
            linear(layer, table.weight.numpy()[index]) for index, (table, layer) in zip(person, branches, strict=True)
        ]
        np.testing.assert_allclose(vector, naive_tower(parts, tower.combine), atol=1e-6)


def test_movie_tower_agrees_with_numpy(model):
    """Word by word and window by window, where the tower gathers all windows at once."""
    tower = model.movie_tower
    vectors = tower(*tensors(MOVIES)).numpy()
    words_table, genre_table = tower.word_embedding.weight.numpy(), tower.genre_embedding.weight.numpy()
    for movie, genres, words, vector in zip(*MOVIES, vectors, strict=True):
        title = np.zeros(32)
        padded = [0, *(word for word in words if word), 0]
        for i in range(1, len(padded) - 1):
            title += np.tanh(linear(tower.convolution, words_table[padded[i - 1 : i + 2]].ravel()))
        parts = [
            linear(tower.id_branch[-1], tower.id_branch[0].weight.numpy()[movie]),
            genre_table[[genre for genre in genres if genre]].sum(0),
            title,
        ]
        np.testing.assert_allclose(vector, naive_tower(parts, tower.combine), atol=1e-6)


def test_padding_does_not_change_a_movie(model):
    movie, genres, words = MOVIES
    wider = movie, np.pad(genres, ((0, 0), (0, 3))), np.pad(words, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model.movie_tower(*tensors(wider)), model.movie_tower(*tensors(MOVIES)), atol=1e-6)


def test_one_movie_is_embedded_as_among_many(model):
    together = model.movie_tower(*tensors(MOVIES)).numpy()
    for row in range(4):
        alone = model.movie_tower(*tensors(array[row : row + 1] for array in MOVIES)).numpy()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)


def test_score_is_five_times_the_cosine(model):
    person_row, movie_row = np.array([0, 2, 2, 1]), np.array([3, 3, 0, 1])
    score = model(paddle.to_tensor(PEOPLE), tensors(MOVIES), person_row, movie_row).numpy()
    users, movies = model.user_tower(paddle.to_tensor(PEOPLE)).numpy(), model.movie_tower(*tensors(MOVIES)).numpy()
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(movies, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(score, 5 * (users[person_row] * movies[movie_row]).sum(1), atol=1e-5)


def test_gradient_of_the_score_is_that_of_paddle(model):
    """The sparse products, against a gather of both vectors of each rating; one pair is rated twice."""
    person_row, movie_row = np.array([0, 2, 2, 1, 2]), np.array([3, 3, 0, 1, 3])
    rating = paddle.to_tensor(np.array([5, 1, 3, 4, 2], np.float32))
    weights = [weight for weight in model.parameters() if not weight.stop_gradient]
    score = model(paddle.to_tensor(PEOPLE), tensors(MOVIES), person_row, movie_row)
    gradients = paddle.grad(((score - rating) ** 2).mean(), weights)
    users, movies = model.user_tower(paddle.to_tensor(PEOPLE)), model.movie_tower(*tensors(MOVIES))
    rows = tensors((person_row, movie_row))
    naive = 5 * (paddle.gather(users, rows[0]) * paddle.gather(movies, rows[1])).sum(1)
    expected = paddle.grad(((naive - rating) ** 2).mean(), weights)
    np.testing.assert_allclose(score.numpy(), naive.numpy(), atol=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient.numpy(), other.numpy(), atol=1e-5)
