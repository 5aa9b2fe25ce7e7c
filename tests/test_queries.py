"""Random queries over all combinations of options, against a second implementation that is written from the docs.

It is slow and plain: it reads the stored vectors and records, and has its own code for histories, filters, rankings,
variety and groups. Nothing here comes from `recommender` but arrays and records.
"""

import re

import numpy as np
import pytest
from commands import ids
from small_model import USER_IDS

from recommender.api import Recommender
from recommender.errors import UsageError
from recommender.milvus.build import build_collection
from recommender.milvus.connection import MilvusConnection
from recommender.movielens.encoding import encode_movies

NUM_QUERIES = 150
BETWEEN = 1e-5
"""Values of a ranking that are closer than this may change places: sums in another order."""
WEIGHTS = {1: 0.1, 2: 0.3, 3: 0.6, 4: 1.0, 5: 1.4}
"""Of a film in a history, by stars."""
GENRES = ["drama", "Comedy", "sci fi", "WAR", "film noir", "childrens", "Horror"]


def genre_key(genre):
    """A genre without case and punctuation, as people type it."""
    return re.sub("[^a-z]", "", genre.casefold())


class Plain:
    """The second implementation."""

    def __init__(self, model, catalogue):
        self.model, (self.movies, self.vectors, self.num_ratings) = model, catalogue
        self.row = {movie.movie_id: row for row, movie in enumerate(self.movies)}
        self.rating, self.taste, self.content = np.split(self.vectors.astype(float), [200, 400], axis=1)

    def embedding(self, movie_id):
        """A movie's input embedding; of a movie that training has not seen, the sum of its genres' and words'."""
        model = self.model
        if movie_id in model.movie_ids:
            return model.taste.inputs.by_id[2 + model.movie_ids.tolist().index(movie_id)]
        _, genres, words = encode_movies([self.movies[self.row[movie_id]]], model.vocabularies)
        table, num_genres = model.taste.inputs.by_content, model.vocabularies.genres.size
        return table[genres[0]].sum(0) + table[num_genres + words[0]].sum(0)

    def who(self, age=None, gender=None, job=None, user=None, like=(), seen=(), films=(), include_seen=False):
        """A person: the row of their profile, history, new ratings, what is not listed, and the usual order.

        `films` has pairs of a movie id and stars or None.
        """
        model, history, stars = self.model, {}, {}
        if user is None:
            wanted = [0, *(0 if label is None else 1 + label for label in (gender, age, job))]
            rows = np.flatnonzero((np.asarray(model.profiles)[: 3 * 8 * 22, 1:] == wanted[1:]).all(1))
            own = int(rows[0])
        else:
            own = 3 * 8 * 22 + model.user_ids.tolist().index(user)
            for rating in model.ratings_of(user):
                if not rating["held_out"]:
                    history[int(rating["movie_id"])] = WEIGHTS[int(rating["rating"])]
        trained = bool(history)
        hidden = set() if include_seen else set(history)
        for movie_id, given in films:
            history[movie_id] = WEIGHTS[given] if given else 0.5
            stars |= {movie_id: given} if given else {}
        for movie_id in seen:
            history[movie_id] = min(history.get(movie_id, 0.5), 0.5)
        for movie_id in like:
            history[movie_id] = max(history.get(movie_id, 1.0), 1.0)
        hidden |= {movie_id for movie_id, _ in films} | {*like, *seen}
        liked = [movie_id for movie_id, weight in history.items() if weight >= 1]
        if stars or trained:
            usual = "both"
        elif history:
            alone = (user, age, gender, job) == (None,) * 4
            usual = "similar" if alone and len(liked) == len(history) <= 10 else "picks"
        else:
            usual = "stars"
        return {"own": own, "history": history, "stars": stars, "hidden": hidden, "liked": liked, "usual": usual}

    def taste_of(self, history, known):
        """The taste vector of a history; `known` are rows of the table of demographics."""
        total = self.model.taste.demographics[[*known, -1]].astype(float).sum(0)
        for movie_id, weight in history.items():
            total += weight * self.embedding(movie_id)
        length = sum(weight**2 for weight in history.values())
        variances = self.model.taste.variances.astype(float)
        return total / np.sqrt(length + 1) * variances / (variances + 0.3 / (length + 1))

    def values(self, person, novelty=0.0, is_personal=True):
        """What a person would think of each movie: score, pick and likeness."""
        indices = np.asarray(self.model.profiles)[person["own"], 1:]
        known = [offset + index for offset, index in zip((0, 3, 11), indices, strict=True) if index]
        length = sum(weight**2 for weight in person["history"].values())
        share = (0.4 * length / (length + 30) if is_personal else 0) + novelty
        taste = self.taste_of(person["history"], known) - share * self.taste_of({}, [])

        rating = self.model.profile_vectors[person["own"]].astype(float)
        if person["stars"]:
            scaled = 5 * self.rating[[self.row[movie_id] for movie_id in person["stars"]]]
            covariance = self.model.user_prior.covariance.astype(float)
            gap = np.array(list(person["stars"].values())) - scaled @ rating
            noise = 0.75 * np.eye(len(scaled))
            rating = rating + covariance @ scaled.T @ np.linalg.inv(scaled @ covariance @ scaled.T + noise) @ gap

        likeness = np.zeros(len(self.movies))
        liked = [self.row[movie_id] for movie_id in person["liked"] if movie_id in self.row]
        for row in liked:
            likeness += self.likeness_to(row) / len(liked)
        return {"score": 5 * self.rating @ rating, "pick": self.taste @ taste, "similar": likeness}

    def likeness_to(self, row):
        """How like one movie all movies are; of titles, which are projected at random, the stored numbers count."""
        tastes = self.taste[:, :100]
        lengths = np.linalg.norm(tastes, axis=1)
        typical = np.median(lengths[self.num_ratings >= 20])
        total = tastes @ tastes[row] / (max(lengths[row], 1e-9) * (lengths + typical))
        genres = [set(map(genre_key, movie.genres)) for movie in self.movies]
        total += [0.2 * len(other & genres[row]) / np.sqrt(len(other) * len(genres[row])) for other in genres]
        titles = self.content[:, 100 + len(set().union(*genres)) :][:, :64]
        total += titles @ titles[row]  # Their weight, 0.2, is within them.
        bumps = np.array(
            [
                [np.exp(-((((movie.year or 9999) - center) / 10) ** 2)) for center in range(1890, 2040, 10)]
                for movie in self.movies
            ]
        )
        bumps /= np.maximum(np.linalg.norm(bumps, axis=1, keepdims=True), 1e-9)
        return total + 0.15 * bumps @ bumps[row]

    def admitted(self, order):
        """Whether each movie passes the filters; `order` are the arguments of `recommend`, among and such as ids."""
        admitted = []
        for movie, count in zip(self.movies, self.num_ratings, strict=True):
            genres = {genre_key(genre) for genre in movie.genres}
            spans = [str(span).partition("-") for span in order.get("year", ())]
            in_years = any(
                movie.year and int(first or 0) <= movie.year <= int((last if dash else first) or 9999)
                for first, dash, last in spans
            )
            admitted.append(
                (not order.get("genre") or bool(genres & {genre_key(genre) for genre in order["genre"]}))
                and not genres & {genre_key(genre) for genre in order.get("not_genre", ())}
                and (not spans or in_years)
                and count >= self.bound(order.get("min_ratings"), 0)
                and count <= self.bound(order.get("max_ratings"), 10**9)
                and movie.movie_id in order.get("among", self.row)
                and movie.movie_id not in order.get("not_among", ())
            )
        return np.array(admitted)

    def bound(self, text, default):
        if text is None:
            return default
        if str(text).endswith("%"):
            return int(np.percentile(self.num_ratings, int(text[:-1])))
        return int(text)


def ranking_values(values, by):
    """What a list is ordered by."""
    return {
        "stars": values["score"] / 5,
        "picks": values["pick"],
        "both": values["pick"] + 0.125 * values["score"],
        "similar": values["similar"],
    }[by]


def check_order(found, values, candidates, tastes, order):
    """Returns what is wrong with the rows of a list, or "". Movies of equal value may stand in any order.

    With variety, each movie in turn must have the largest gain, given those before it.
    """
    k, skip, variety = order.get("k", 5), order.get("skip", 0), float(order.get("variety", 0))
    if len(found) != max(0, min(k, len(candidates) - skip)) or not set(found) <= set(candidates):
        return f"{len(found)} movies of {len(candidates)} candidates"
    if not variety:
        expected = np.sort(values[candidates])[::-1][skip : skip + k]
        return "" if np.allclose(values[found], expected, atol=BETWEEN) else "another order"
    scaled = {
        row: (values[row] - values[candidates].min()) / max(np.ptp(values[candidates]), 1e-9) for row in candidates
    }
    unit = tastes / np.maximum(np.linalg.norm(tastes, axis=1, keepdims=True), 1e-9)

    def gain(row, chosen):
        alike = max((unit[row] @ unit[other] for other in chosen), default=0)
        return (1 - 0.8 * variety) * scaled[row] - 0.8 * variety * alike

    chosen = []
    for _ in range(min(skip + len(found), len(candidates))):
        best = max((row for row in candidates if row not in chosen), key=lambda row: gain(row, chosen))
        place = len(chosen) - skip
        if place >= 0 and found[place] != best:
            if gain(found[place], chosen) < gain(best, chosen) - BETWEEN:
                return f"place {place} has less gain"
            best = found[place]
        chosen.append(best)
    return ""


@pytest.fixture(scope="module")
def plain(saved_model, catalogue):
    return Plain(saved_model, catalogue)


@pytest.fixture(scope="module")
def movies(small_template, saved_model, catalogue, new_place):
    """The small model, open on Lite or on a server."""
    place = new_place()
    with MilvusConnection(**place) as connection:
        build_collection(connection, *catalogue, saved_model.fingerprint)
    place.pop("create", None)
    with Recommender.open(small_template.folder, **place) as movies:
        yield movies


def subset(random, values, size):
    return [values[row] for row in sorted(random.choice(len(values), size, replace=False))]


class Asker:
    """Draws random people and orders, as arguments of `Recommender` and of `Plain`."""

    def __init__(self, plain, folder):
        self.movies, self.folder, self.random = plain.movies, folder, np.random.default_rng(0)
        self.num_files = 0

    def write(self, header, lines):
        self.num_files += 1
        path = self.folder / f"{self.num_files}.{'csv' if header else 'txt'}"
        path.write_text("\n".join([header, *lines] if header else lines) + "\n", "utf-8")
        return path

    def draw_movies(self, size):
        return subset(self.random, self.movies, size)

    def person(self):
        """A person, twice: as `Recommender` gets it, and as `Plain` does."""
        random = self.random
        real, naive = {}, {}
        kind = random.choice(["anyone", "demographics", "user", "films", "films and demographics"])
        if kind == "user":
            real["user"] = naive["user"] = int(random.choice(USER_IDS))
            if random.random() < 0.3:
                real["include_seen"] = naive["include_seen"] = True
        if "demographics" in kind:
            for name, size in (("age", 7), ("gender", 2), ("job", 21)):
                if random.random() < 0.6:
                    real[name] = naive[name] = int(random.integers(size))
        if "films" in kind:
            movies = self.draw_movies(random.integers(1, 25))
            share = random.choice([0, 0.7, 1])
            stars = [int(random.integers(1, 6)) if random.random() < share else None for _ in movies]
            lines = [f'"{movie.title}",{given or ""}' for movie, given in zip(movies, stars, strict=True)]
            real["ratings"] = self.write("Title,Rating", lines)
            naive["films"] = [(movie.movie_id, given) for movie, given in zip(movies, stars, strict=True)]
        if random.random() < 0.4:
            liked, seen = np.split(np.array(self.draw_movies(5), object), [random.integers(1, 4)])
            for name, chosen in (("like", liked), ("seen", seen[: random.integers(0, 3)])):
                naive[name] = [int(movie[0]) for movie in chosen]
                real[name] = [f"id:{movie_id}" for movie_id in naive[name]]
        return real, naive

    def order(self):
        """Which movies in which order, twice as `person`."""
        random = self.random
        order = {"k": int(random.choice([1, 5, 10, 70]))}
        options = {
            "skip": lambda: int(random.integers(0, 12)),
            "by": lambda: str(random.choice(["stars", "picks", "both", "similar"])),
            "variety": lambda: round(float(random.random()), 2),
            "novelty": lambda: round(float(random.random()), 2),
            "genre": lambda: subset(random, GENRES, 2),
            "not_genre": lambda: subset(random, GENRES, 1),
            "year": lambda: subset(random, ["1950-1969", "1985-", "-1960", 1990, "1975"], 2),
            "min_ratings": lambda: random.choice(["0", "5", "30%", "20"]).item(),
            "max_ratings": lambda: random.choice(["70%", "60", "90%"]).item(),
        }
        for name, draw in options.items():
            if random.random() < 0.25:
                order[name] = draw()
        real, naive = dict(order), dict(order)
        for name in ("among", "not_among"):
            if random.random() < 0.2:
                movies = self.draw_movies(random.integers(1, 40))
                naive[name] = {movie.movie_id for movie in movies}
                real[name] = self.write("", [movie.title for movie in movies])
        return real, naive


def check_values(frame, rows, values, names=("score", "pick", "similar"), prefix=""):
    """Returns the columns whose numbers differ."""
    wrong = []
    for name in names:
        if prefix + name in frame:
            expected = values[name][rows].clip(1, 5) if name == "score" else values[name][rows]
            if not np.allclose(frame[prefix + name].astype(float), expected, atol=1e-4):
                wrong.append(prefix + name)
    return wrong


def is_refused(everyone, by, ask):
    """Returns whether a list is in order of likeness to nothing, which must be refused."""
    if by != "similar" or all(who["liked"] for who in everyone):
        return False
    with pytest.raises(UsageError, match="needs a film that is liked"):
        ask()
    return True


def ask_alone(movies, plain, asker):
    """Asks for one person; returns what differs, with the arguments."""
    (person, naive_person), (order, naive_order) = asker.person(), asker.order()
    who = plain.who(**naive_person)
    by = naive_order.setdefault("by", who["usual"])
    if by in ("stars", "similar") and not {"min_ratings", "max_ratings"} & naive_order.keys():
        naive_order["min_ratings"] = 50 if by == "stars" else 1
    if is_refused([who], by, lambda: movies.recommend(**person, **order)):
        return [], person, order, 0
    values = plain.values(who, naive_order.get("novelty", 0))
    hidden = np.array([movie.movie_id in who["hidden"] for movie in plain.movies])
    candidates = np.flatnonzero(plain.admitted(naive_order) & ~hidden)
    frame = movies.recommend(**person, **order)
    rows = [plain.row[movie_id] for movie_id in ids(frame.to_dict("records"))]
    wrong = [check_order(rows, ranking_values(values, by), candidates, plain.taste, naive_order)]
    wrong += ["attrs"] if frame.attrs["by"] != by else []
    if rows:
        wrong += check_values(frame, rows, values)
        wrong += ["ratings"] if frame["ratings"].tolist() != plain.num_ratings[rows].tolist() else []
        wrong += (
            ["top"]
            if frame["top"].tolist() != list(range(order.get("skip", 0), order.get("skip", 0) + len(rows)))
            else []
        )
        wrong += (
            ["year"]
            if [year or None for year in frame["year"].fillna(0)] != [plain.movies[row].year for row in rows]
            else []
        )
    return [problem for problem in wrong if problem], person, order, len(rows)


def ask_together(movies, plain, asker):
    """Asks for two or three people."""
    people, naive_people = zip(*(asker.person() for _ in range(asker.random.integers(2, 4))), strict=True)
    order, naive_order = asker.order()
    everyone = [plain.who(**person) for person in naive_people]
    by = naive_order.setdefault("by", "picks" if any(who["history"] for who in everyone) else "stars")
    if by in ("stars", "similar") and not {"min_ratings", "max_ratings"} & naive_order.keys():
        naive_order["min_ratings"] = 50 if by == "stars" else 1
    if is_refused(everyone, by, lambda: movies.together(people, **order)):
        return [], people, order, 0
    views = [plain.values(who, naive_order.get("novelty", 0), is_personal=False) for who in everyone]
    hidden = np.array([any(movie.movie_id in who["hidden"] for who in everyone) for movie in plain.movies])
    candidates = np.flatnonzero(plain.admitted(naive_order) & ~hidden)
    total = np.zeros(len(plain.movies))
    for view in views:
        own = ranking_values(view, by)
        best = np.maximum(np.sort(own[candidates])[-10:], 0).mean() if len(candidates) else 1
        total += np.log(np.maximum(own / max(best, 1e-9), 0) + 0.7)
    names = [f"p{number}" for number in range(len(people))]
    frame = movies.together(people, names, **order)
    rows = [plain.row[movie_id] for movie_id in ids(frame.to_dict("records"))]
    wrong = [check_order(rows, total, candidates, plain.taste, naive_order)]
    if rows:
        for name, view in zip(names, views, strict=True):
            wrong += check_values(frame, rows, view, ("score", "pick"), f"{name}: ")
    return [problem for problem in wrong if problem], people, order, len(rows)


def ask_many(movies, plain, asker):
    """Asks for many users at once."""
    users = subset(asker.random, list(USER_IDS), 7)
    order, naive_order = asker.order()
    everyone = [plain.who(user=user) for user in users]
    usual = {who["usual"] for who in everyone}
    by = naive_order.setdefault("by", "both" if "both" in usual else "stars")
    if by in ("stars", "similar") and not {"min_ratings", "max_ratings"} & naive_order.keys():
        naive_order["min_ratings"] = 50 if by == "stars" else 1
    if is_refused(everyone, by, lambda: movies.recommend_many(users, **order)):
        return [], users, order, 0
    frame = next(movies.recommend_many(users, **order)[1])
    wrong, num_rows = [], len(frame)
    for user, who in zip(users, everyone, strict=True):
        values = plain.values(who, naive_order.get("novelty", 0))
        hidden = np.array([movie.movie_id in who["hidden"] for movie in plain.movies])
        candidates = np.flatnonzero(plain.admitted(naive_order) & ~hidden)
        own = frame[frame["user_id"] == user] if num_rows else frame
        rows = [plain.row[movie_id] for movie_id in own["movie_id"]] if num_rows else []
        wrong.append(check_order(rows, ranking_values(values, by), candidates, plain.taste, naive_order))
    return [problem for problem in wrong if problem], users, order, num_rows


def test_random_queries(movies, plain, tmp_path):
    asker = Asker(plain, tmp_path)
    differences, num_rows = [], 0
    for number in range(NUM_QUERIES):
        ask = ask_many if number % 10 == 0 else ask_together if number % 3 == 0 else ask_alone
        wrong, *arguments, size = ask(movies, plain, asker)
        num_rows += size
        if wrong:
            differences.append((number, wrong, *arguments))
    assert not differences
    assert num_rows > 5 * NUM_QUERIES, "most lists are not empty"


def test_similar(movies, plain):
    for movie in plain.movies[::6]:
        frame = movies.similar(f"id:{movie.movie_id}")
        values = plain.likeness_to(plain.row[movie.movie_id])
        candidates = np.array([row for row, other in enumerate(plain.movies) if other != movie])
        rows = [plain.row[movie_id] for movie_id in frame["movie_id"]]
        assert check_order(rows, values, candidates, plain.taste, {"k": 10}) == ""
        assert np.allclose(frame["similar"].astype(float), values[rows], atol=1e-4)


def test_a_wrong_list_is_noticed(plain):
    """The checks of this module can fail: with two places exchanged, a movie missing, one too many, one twice."""
    values, candidates = np.random.default_rng(0).normal(size=len(plain.movies)), np.arange(3, 60)
    best = candidates[np.argsort(-values[candidates])].tolist()
    assert check_order(best[:6], values, candidates, plain.taste, {"k": 6}) == ""
    varied = []
    for k in range(1, 7):
        order = {"k": k, "variety": 0.7}
        varied = next(
            rows for row in best if not check_order(rows := [*varied, row], values, candidates, plain.taste, order)
        )
    for rows, order in ((best[:6], {"k": 6}), (varied, {"k": 6, "variety": 0.7})):
        for wrong in ([rows[1], rows[0], *rows[2:]], rows[:5], [*rows[:5], 0], [*rows[:5], rows[4]]):
            assert check_order(wrong, values, candidates, plain.taste, order)
