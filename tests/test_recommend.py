"""Questions to the model of the sample, on a real Milvus Lite, against exact search over all movies."""

import numpy as np
import pytest
from conftest import SAMPLE
from recommender.inference.fold_in import NOISE

from recommender.cli.arguments import MODEL_FOLDER
from recommender.data.dataset import split_and_encode
from recommender.data.features import anonymous_row, read_movies_data
from recommender.data.movielens import Movie, read_movielens
from recommender.index.build import build_index, embed_catalogue
from recommender.index.collection import MovieIndex
from recommender.index.connection import Milvus
from recommender.inference.model_folder import ModelError, load_model
from recommender.inference.recommend import STARS_WEIGHT, Wish, known_of, person_of, recommend
from recommender.inference.user_vectors import parts_of, vector_of
from recommender.training.taste import embed_tastes

OWN = Movie(9001, "Alien Robots (2031)", ("Sci-Fi", "Horror"))


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / MODEL_FOLDER)


@pytest.fixture(scope="module")
def catalogue(trained, model):
    """All movies, and one that training has not seen."""
    return embed_catalogue(model, [*read_movies_data(trained / "movies_data.txt", model.vocabularies), OWN])


@pytest.fixture(scope="module")
def index(model, catalogue, tmp_path_factory):
    with Milvus(str(tmp_path_factory.mktemp("recommend") / "movies.db"), create=True) as milvus:
        build_index(milvus, catalogue)
        yield MovieIndex(milvus, model.fingerprint)


def movie_ids(answer):
    return [one.movie.movie_id for one in answer]


PEOPLE = {
    "described": {"demographics": (1, 0, 10)},
    "anybody": {},
    "known": {"user_id": 42},
    "new, with films": {"demographics": (0, None, None), "liked": [1214, 541], "seen": [1]},
    "known, with films": {"user_id": 7, "liked": [1214], "seen": [783]},
    "liked what training has not seen": {"liked": [OWN.movie_id]},
    "visitor": {"demographics": (1, None, None), "ratings": {1214: 5.0, 1: 1.5, 783: float("nan"), 2571: 3.5}},
}


def ridge(model, person, movie_vectors):
    """Moves somebody's vector as `Deviations.moved` does, but by solving for the vector, not for the ratings."""
    start = model.arrays.user_vectors[person.row]
    if not person.ratings:
        return start
    rated, errors = 5 * movie_vectors, np.array(list(person.ratings.values())) - 5 * movie_vectors @ start
    mean, covariance = model.deviations.deviation_mean, model.deviations.deviation_covariance.astype(float)
    precision = np.linalg.inv(covariance + 1e-9 * np.eye(200))
    return start + np.linalg.solve(rated.T @ rated / NOISE + precision, rated.T @ errors / NOISE + precision @ mean)


@pytest.mark.parametrize("asked", PEOPLE.values(), ids=PEOPLE)
@pytest.mark.parametrize("by", ["stars", "picks", "both"])
def test_answers_are_those_of_exact_search(model, index, catalogue, asked, by):
    person = person_of(model, **asked)
    [answer] = recommend(model, index, [person], Wish(by, 12))
    row_of = {movie.movie_id: row for row, movie in enumerate(catalogue.movies)}
    rated = [row_of[movie_id] for movie_id in person.ratings]
    moved = ridge(model, person, catalogue.vectors[rated, :200])
    stars = 5 * catalogue.vectors[:, :200] @ moved
    picks = catalogue.vectors[:, 200:] @ vector_of(*known_of(model, index, person))
    order = {"stars": stars, "picks": picks, "both": STARS_WEIGHT * stars + picks}[by]
    shown = [row for row in np.argsort(-order) if catalogue.movies[row].movie_id not in person.left_out][:12]
    assert movie_ids(answer) == [catalogue.movies[row].movie_id for row in shown]
    scores = stars[shown].clip(1, 5) if rated else stars[shown]
    np.testing.assert_allclose([one.score for one in answer], scores, atol=1e-4)
    np.testing.assert_allclose([one.pick for one in answer], picks[shown], atol=1e-5)
    assert [one.num_ratings for one in answer] == [catalogue.num_ratings[row] for row in shown]


def test_many_at_once_get_what_each_gets_alone(model, index):
    people = [person_of(model, user_id, liked=[1214]) for user_id in range(1, 61)]
    wish = Wish("both", 7, index.where(min_ratings=20), why=True)
    together = list(recommend(model, index, people, wish))
    for person, answer in zip(people, together, strict=True):
        [alone] = recommend(model, index, [person], wish)
        assert movie_ids(alone) == movie_ids(answer)
        assert not set(movie_ids(answer)) & set(person.left_out)
        assert alone[0].reasons == answer[0].reasons


def test_tastes_are_those_that_training_judged(model, index):
    """Person by person, from the model folder, and all at once, from the training rows."""
    data = read_movielens(SAMPLE)
    held_out = np.random.RandomState(0).random_sample(len(data.ratings)) < 0.1
    split = split_and_encode(data, held_out)
    together = embed_tastes(split.train, split.vocabularies, model.taste)
    people = [person_of(model, user_id) for user_id in (1, 42, 300)] + [person_of(model, demographics=(1, 2, 3))]
    for person in people:
        alone = vector_of(*known_of(model, index, person))
        np.testing.assert_allclose(alone, together[person.row], atol=1e-5)


def test_what_is_told_joins_the_history_and_is_left_out(model):
    rated = model.ratings_of(42)
    trained_on = set(rated["movie_id"][~rated["held_out"]].tolist())
    disliked = int(rated["movie_id"][(rated["rating"] < 4) & ~rated["held_out"]][0])
    person = person_of(model, 42, liked=[disliked, 9001], seen=[9002])
    weights = dict(zip(person.movie_ids.tolist(), person.weights.tolist(), strict=True))
    assert set(weights) == trained_on | {9001, 9002} == set(person.left_out)
    assert (weights[disliked], weights[9001], weights[9002]) == (1, 1, 0.5), "what is told counts, not what was rated"
    assert set(person_of(model, 42, liked=[9001], include_seen=True).left_out) == {9001}
    assert person_of(model, liked=[5], seen=[5]).weights.tolist() == [1]
    with pytest.raises(ModelError, match="no user 301"):
        person_of(model, 301)


def test_liked_films_change_the_picks_and_not_the_stars(model, index):
    wish = Wish("stars", 300)
    answers = []
    for liked in ([], [1214]):
        person = person_of(model, demographics=(1, 0, 10), liked=liked)
        [answer] = recommend(model, index, [person], wish)
        answers.append({one.movie.movie_id: one for one in answer})
    before, after = answers
    assert before.keys() - after.keys() == {1214}
    for movie_id, one in after.items():
        assert one.score == pytest.approx(before[movie_id].score, abs=1e-6)
    assert any(abs(one.pick - before[movie_id].pick) > 0.05 for movie_id, one in after.items())


@pytest.mark.parametrize("asked", PEOPLE.values(), ids=PEOPLE)
def test_reasons_are_the_largest_parts_of_the_pick(model, index, catalogue, asked):
    person = person_of(model, **asked)
    [answer] = recommend(model, index, [person], Wish("picks", 3, why=True))
    row_of = {movie.movie_id: row for row, movie in enumerate(catalogue.movies)}
    titles = [catalogue.movies[row_of[movie_id]].name for movie_id in person.movie_ids.tolist()]
    for one in answer:
        vector = catalogue.vectors[row_of[one.movie.movie_id], 200:]
        parts = parts_of(*known_of(model, index, person)) @ vector[:-1]
        assert parts.sum() + vector[-1] == pytest.approx(one.pick, abs=1e-4)
        if titles:
            films = sorted(zip(parts.tolist(), titles, strict=False), reverse=True)
            expected = [title for added, title in films[:3] if added > 0]
        else:
            expected = [word for word in person.name.split(", ") if not word.startswith("any")]
            assert sum(reason.added for reason in one.reasons) == pytest.approx(parts.sum(), abs=1e-5)
        assert sorted(reason.what for reason in one.reasons) == sorted(expected)
        assert [reason.added for reason in one.reasons] == sorted((r.added for r in one.reasons), reverse=True)


def test_description(model):
    assert person_of(model, demographics=(1, 0, 10)).name == "female, under 18, K-12 student"
    assert person_of(model, demographics=(None, 6, None)).name == "anyone, 56+, any job"
    assert person_of(model, 42).name.startswith("user 42: ")
    assert person_of(model, demographics=(1, 0, 10)).row == anonymous_row(2, 1, 11)
