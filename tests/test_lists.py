"""Lists of movies for a user, for many and for several together, against exact search over all movies in numpy."""

import numpy as np
import pytest
from small_model import GONE, NEW_MOVIE, WITHOUT_TRAINING_RATINGS, films

from recommender import lists
from recommender.lists import Query, diversify, encode_users, group_values, recommend
from recommender.milvus.filters import MovieFilter
from recommender.users import UserProfile
from recommender.vectors import STAR_WEIGHT

RANKINGS = {"stars": (5, 0, 0), "picks": (0, 1, 0), "both": (5 * STAR_WEIGHT, 1, 0), "similar": (0, 0, 1)}
"""Weights of the three parts of the joined vector; a star is 5 times a product."""
NEW_RATINGS = {13: 5.0, 43: 1.5, 83: float("nan"), NEW_MOVIE.movie_id: 3.5}

PROFILES = {
    "demographics": lambda model: UserProfile.from_demographics(model, 1, 0, 10),
    "anyone": UserProfile.from_demographics,
    "user": lambda model: UserProfile.from_user(model, 43),
    "user, seen movies included": lambda model: UserProfile.from_user(model, 43, include_seen=True),
    "user without training ratings": lambda model: UserProfile.from_user(model, WITHOUT_TRAINING_RATINGS),
    "films": lambda model: UserProfile.from_demographics(model, 0).with_films(films([13, NEW_MOVIE.movie_id], [43])),
    "ratings": lambda model: UserProfile.from_demographics(model, 1).with_films(films(rated=NEW_RATINGS)),
    "user with ratings": lambda model: UserProfile.from_user(model, 7).with_films(
        films(rated={NEW_MOVIE.movie_id: 5.0})
    ),
}


@pytest.fixture(params=PROFILES)
def profile(request, saved_model):
    return PROFILES[request.param](saved_model)


def ids(found):
    return [recommendation.movie.movie_id for recommendation in found]


def question(user, ranking):
    return np.concatenate([weight * part for weight, part in zip(RANKINGS[ranking], user, strict=True)])


def together(model, collection, group, query):
    """Returns the views of all users for each movie of a shared list."""
    return list(zip(*recommend(model, collection, group, query._replace(is_shared=True)), strict=True))


def exact_order(catalogue, values, excluded):
    """Returns the rows of the catalogue by value, best first."""
    order = np.argsort(-values, kind="stable")
    return [row for row in order if catalogue.movies[row].movie_id not in excluded]


@pytest.mark.parametrize("ranking", RANKINGS)
def test_recommendations_are_those_of_exact_search(saved_model, collection, catalogue, profile, ranking):
    query = Query(ranking, 12)
    [found] = recommend(saved_model, collection, [profile], query)
    [user] = encode_users(saved_model, collection, [profile], query)
    values = catalogue.vectors @ question(user, ranking)
    rows = exact_order(catalogue, values, profile.exclude_ids)[:12]
    if values.any():  # By `similar`, all movies are equal where nothing is liked.
        assert [movie.movie for movie in found] == [catalogue.movies[row] for row in rows]
    assert len(found) == 12
    rows = [catalogue.row(movie_id) for movie_id in ids(found)]
    stars = 5 * catalogue.vectors[rows, :200] @ user.rating
    np.testing.assert_allclose([movie.score for movie in found], stars.clip(1, 5), atol=1e-5)
    picks = catalogue.vectors[rows, 200:400] @ user.taste
    np.testing.assert_allclose([movie.pick for movie in found], picks, atol=1e-6)
    similarity = catalogue.vectors[rows, 400:] @ user.similar
    np.testing.assert_allclose([movie.similarity for movie in found], similarity, atol=1e-6)
    assert [movie.num_ratings for movie in found] == catalogue.num_ratings[rows].tolist()
    assert all(movie.reasons == [] for movie in found)


def test_scores_lie_between_the_lowest_and_the_highest_rating(saved_model, collection, catalogue):
    profiles = [UserProfile.from_user(saved_model, user_id, include_seen=True) for user_id in range(1, 100, 2)]
    found = [movie for own in recommend(saved_model, collection, profiles, Query("stars", 100)) for movie in own]
    scores = np.array([movie.score for movie in found])
    assert (scores.min(), scores.max()) == (1, 5)
    assert len(found) == 50 * len(catalogue.movies)
    assert ((scores > 1) & (scores < 5)).mean() > 0.5


@pytest.mark.parametrize("ranking", RANKINGS)
def test_filter_leaves_the_order_as_it_is(saved_model, collection, ranking):
    profile = PROFILES["films"](saved_model)
    query = Query(ranking, 100)
    movie_filter = MovieFilter(genres=("Comedy",), years=((1960, None),), min_ratings=20)
    [everything] = recommend(saved_model, collection, [profile], query)
    [found] = recommend(
        saved_model, collection, [profile], query._replace(filter=collection.build_filter(movie_filter))
    )
    expected = [
        movie
        for movie in everything
        if "Comedy" in movie.movie.genres and (movie.movie.year or 0) >= 1960 and movie.num_ratings >= 20
    ]
    assert 3 < len(expected) < len(everything) / 2
    assert ids(found) == ids(expected)


@pytest.mark.parametrize("variety", [0, 0.5])
def test_skip_shows_the_next_ones(saved_model, collection, variety):
    profile = UserProfile.from_user(saved_model, 43)
    [whole] = recommend(saved_model, collection, [profile], Query("both", 12, variety=variety))
    [rest] = recommend(saved_model, collection, [profile], Query("both", 5, variety=variety, skip=7))
    assert rest == whole[7:]
    [end] = recommend(saved_model, collection, [profile], Query("both", 5, skip=1000))
    assert end == []


def test_many_profiles_at_once_get_what_each_gets_alone(saved_model, collection):
    profiles = [UserProfile.from_user(saved_model, user_id).with_films(films([13])) for user_id in range(1, 61, 2)]
    profiles[4] = PROFILES["ratings"](saved_model)
    query = Query("both", 7, collection.build_filter(MovieFilter(min_ratings=5)), explain=True, novelty=0.3)
    everyone = recommend(saved_model, collection, profiles, query)
    assert len(everyone) == 30
    for profile, found in zip(profiles, everyone, strict=True):
        [alone] = recommend(saved_model, collection, [profile], query)
        assert len(found) == 7
        assert ids(alone) == ids(found)
        assert [reason.label for reason in alone[0].reasons] == [reason.label for reason in found[0].reasons] != []


def test_novelty_takes_what_everyone_likes_from_lists(saved_model, collection, catalogue):
    profiles = [UserProfile.from_demographics(saved_model, 1, age) for age in range(7)]
    [anyone] = encode_users(saved_model, collection, [UserProfile.from_demographics(saved_model)], Query("picks", 1))
    liked_by_all = catalogue.vectors[:, 200:400] @ anyone.taste
    means = []
    for novelty in (0, 0.5, 1):
        found = recommend(saved_model, collection, profiles, Query("picks", 10, novelty=novelty))
        means.append(np.mean([liked_by_all[catalogue.row(movie_id)] for own in found for movie_id in ids(own)]))
    assert means[0] > means[1] > means[2] + 0.02


def naive_diversify(relevance, vectors, variety, k):
    span = max(relevance) - min(relevance)
    scaled = [(value - min(relevance)) / span for value in relevance]
    weight = 0.8 * variety

    def similarity(first, second):
        a, b = vectors[first, 200:400], vectors[second, 200:400]
        return a @ b / np.sqrt(a @ a * (b @ b))

    order = [int(np.argmax(relevance))]
    while len(order) < k:
        left = [row for row in range(len(vectors)) if row not in order]
        order.append(
            max(left, key=lambda row: (1 - weight) * scaled[row] - weight * max(similarity(row, o) for o in order))
        )
    return order


@pytest.mark.parametrize("variety", [0, 0.1, 0.5, 0.8, 1])
def test_maximal_marginal_relevance(variety):
    random = np.random.default_rng(0)
    vectors, relevance = random.normal(size=(60, 450)), np.sort(random.normal(size=60))[::-1]
    vectors[:, 200:400] += 2 * random.normal(size=200)  # Tastes have much in common.
    order = diversify(relevance, vectors, variety, 30)
    assert order == naive_diversify(relevance, vectors, variety, 30)
    assert (order == list(range(30))) == (variety == 0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_variety_of_few_candidates_and_equal_ones(count):
    vectors = np.random.default_rng(0).normal(size=(count, 450))
    for relevance in (np.arange(count), np.zeros(count)):
        assert sorted(diversify(relevance, vectors, 0.5, 10)) == list(range(count))
        assert sorted(diversify(relevance, np.zeros((count, 450)), 0.5, 10)) == list(range(count))


def test_variety_is_chosen_from_the_candidates(saved_model, collection, catalogue, monkeypatch):
    monkeypatch.setattr(lists, "MIN_CANDIDATES", 20)
    profile = UserProfile.from_user(saved_model, 43)
    query = Query("both", 12, variety=1)
    [found] = recommend(saved_model, collection, [profile], query)
    [user] = encode_users(saved_model, collection, [profile], query)
    values = catalogue.vectors @ question(user, "both")
    rows = exact_order(catalogue, values, profile.exclude_ids)[:24]
    expected = naive_diversify(values[rows], catalogue.vectors[rows], 1, 12)
    assert ids(found) == [catalogue.movies[rows[position]].movie_id for position in expected]


def naive_group_values(values):
    totals = np.zeros(values.shape[1])
    for own in values:
        best = np.mean([max(value, 0) for value in sorted(own, reverse=True)[:10]])
        for position, value in enumerate(own):
            totals[position] += np.log(max(value, 0) / best + 0.7)
    return totals


def test_values_of_a_group():
    values = np.random.default_rng(0).normal(size=(3, 40))
    assert ((values < 0).sum(0) > 1).any()
    np.testing.assert_allclose(group_values(values), naive_group_values(values))
    np.testing.assert_allclose(group_values(values * [[100], [1], [0.1]]), naive_group_values(values), err_msg="scale")
    hated = np.array([[1.0, 0.6, 0.9], [-5, 0.6, -0.1]])
    assert group_values(hated).argmax() == 1, "what neither hates comes first"
    assert group_values(hated)[0] == pytest.approx(np.log(1 / (2.5 / 3) + 0.7) + np.log(0.7))
    assert group_values(np.zeros((2, 0))).tolist() == []
    assert np.isfinite(group_values(-np.ones((2, 3)))).all(), "somebody likes nothing at all"


GROUPS = {
    "two users": ("user", "user with ratings"),
    "two users, the other way": ("user with ratings", "user"),
    "three": ("ratings", "user", "films"),
}


@pytest.fixture(params=GROUPS)
def group(request, saved_model):
    return [PROFILES[name](saved_model) for name in GROUPS[request.param]]


@pytest.mark.parametrize("ranking", ["stars", "picks", "both"])
def test_list_for_several_users(saved_model, collection, catalogue, group, ranking):
    """By what each would search for alone; without what any of them has seen; with the view of each."""
    query = Query(ranking, 8)
    found = together(saved_model, collection, group, query)
    users = encode_users(saved_model, collection, group, query._replace(is_shared=True))
    values = np.array([catalogue.vectors @ question(user, ranking) for user in users])
    excluded = set().union(*(profile.exclude_ids for profile in group))
    allowed = [row for row, movie in enumerate(catalogue.movies) if movie.movie_id not in excluded]
    totals = naive_group_values(values[:, allowed])
    expected = [catalogue.movies[allowed[position]].movie_id for position in np.argsort(-totals)[:8]]
    assert [views[0].movie.movie_id for views in found] == expected
    for views in found:
        assert len(views) == len(group)
        vector = catalogue.vectors[catalogue.row(views[0].movie.movie_id)]
        for view, user in zip(views, users, strict=True):
            assert view.movie == views[0].movie
            assert view.score == pytest.approx(np.clip(5 * user.rating @ vector[:200], 1, 5), abs=1e-5)
            assert view.pick == pytest.approx(user.taste @ vector[200:400], abs=1e-6)


def test_list_for_several_users_with_filter_skip_and_reasons(saved_model, collection, group):
    movie_filter = collection.build_filter(MovieFilter(max_ratings=60))
    query = Query("both", 8, movie_filter, explain=True)
    whole = together(saved_model, collection, group, query._replace(k=100))
    assert all(views[0].num_ratings <= 60 for views in whole)
    for variety in (0, 0.5):
        first = together(saved_model, collection, group, query._replace(k=10, variety=variety))
        assert len(first) == 10
        rest = together(saved_model, collection, group, query._replace(k=4, skip=6, variety=variety))
        assert rest == first[6:]
    for place, profile in enumerate(group):
        [own] = recommend(saved_model, collection, [profile], query._replace(k=100))
        reasons = {movie.movie.movie_id: movie.reasons for movie in own}
        for views in whole[:5]:
            expected = reasons[views[0].movie.movie_id]
            assert [reason.label for reason in views[place].reasons] == [reason.label for reason in expected] != []


def test_movies_for_several_users_are_sought_deep_enough(saved_model, collection, monkeypatch):
    """Each list is read to `GROUP_DEPTH`, or to ten times what is asked for."""
    group = [PROFILES[name](saved_model) for name in ("user", "films")]
    seen_by_any = group[0].exclude_ids | group[1].exclude_ids
    users = encode_users(saved_model, collection, group, Query("picks", 1, is_shared=True))
    questions = np.array([user.query("picks") for user in users])
    for group_depth, k, depth in ((12, 1, 12), (3, 5, 50)):
        monkeypatch.setattr(lists, "GROUP_DEPTH", group_depth)
        found = together(saved_model, collection, group, Query("picks", k))
        hits = collection.search(questions, depth, "", [seen_by_any] * 2)
        common = [movie_id for movie_id in hits[0] if movie_id in hits[1]]
        values = naive_group_values(np.array([[own[movie_id] for movie_id in common] for own in hits]))
        expected = [common[position] for position in np.argsort(-values)[:k]]
        assert [views[0].movie.movie_id for views in found] == expected
    nothing = collection.build_filter(MovieFilter(years=((1800, 1801),)))
    assert together(saved_model, collection, group, Query("picks", 2, nothing)) == []


def test_variety_for_several_users(saved_model, collection, catalogue, monkeypatch):
    monkeypatch.setattr(lists, "MIN_CANDIDATES", 20)
    group = [PROFILES[name](saved_model) for name in ("user", "films")]
    everything = together(saved_model, collection, group, Query("picks", 100))
    whole = [views[0].movie.movie_id for views in everything]
    users = encode_users(saved_model, collection, group, Query("picks", 1, is_shared=True))
    rows = [catalogue.row(movie_id) for movie_id in whole]
    totals = naive_group_values(np.array([catalogue.vectors[rows, 200:400] @ user.taste for user in users]))
    expected = naive_diversify(totals[:20], catalogue.vectors[rows[:20]], 0.9, 7)
    found = together(saved_model, collection, group, Query("picks", 7, variety=0.9))
    assert [views[0].movie.movie_id for views in found] == [whole[position] for position in expected]


def test_movies_that_left_the_catalogue_count_as_long_as_training_knows_them(saved_model, collection, catalogue):
    user = next(key for key in saved_model.user_ids if GONE in UserProfile.from_user(saved_model, key).history)
    profile = UserProfile.from_user(saved_model, user)
    query = Query("picks", 5)
    [own] = encode_users(saved_model, collection, [profile], query)
    without = {key: weight for key, weight in profile.history.items() if key != GONE}
    [other] = encode_users(
        saved_model, collection, [UserProfile(profile.row, "", history=without, has_training_ratings=True)], query
    )
    assert abs(own.taste - other.taste).max() > 1e-4
    [found] = recommend(saved_model, collection, [profile], query._replace(ranking="similar"))
    assert len(found) == 5
