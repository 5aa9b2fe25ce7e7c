"""What the lists are like, beyond accuracy: films like a film, lists for two, reasons, novelty, variety.

    python benchmarks/list_quality.py data/ml-1m data/ml-latest-small

All lists are computed in numpy with the package's own functions, by models of the default split:
- similar films: the share of the films in tests/similar_films.tsv with a relative in their top ten, and the share of
  the top ten of 500 random films that share a genre with the film;
- lists for two: 1,500 random pairs of users; the place of that listed movie which is furthest down the list of one of
  both, in the median; NDCG@10 as a mean over both and of the worse-off;
- reasons: the share of distinct ones among all that are shown, three for each movie of a list of ten, 300 users;
- metrics of lists, see list_metrics.py, by novelty and by variety; "similarity" is the mean cosine of the taste vectors
  of two movies in a list.
"""

import csv
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import machine
import numpy as np
from blocks import Table
from list_metrics import COLUMNS, K, ListTest
from loader import Stars, Taste, liked, parser, read_data, test_split, train_picks, train_stars
from scipy.sparse import csr_array

from recommender.embed import similarity_parts
from recommender.evaluation import ndcg, top_k_indices
from recommender.films.matching import TitleError, find_title
from recommender.films.title_index import Title
from recommender.films.titles import title_key
from recommender.lists import GROUP_DEPTH, MIN_CANDIDATES, diversify, group_values
from recommender.movielens.catalogue import Movie
from recommender.picks.taste import History, anyone_share, history_weights, known_demographics
from recommender.reasons import Parts
from recommender.users import ANYONE_ROW
from recommender.vectors import RANKINGS, join, normalize_rows, similar_to, split

RELATIVES = machine.PROJECT / "tests" / "similar_films.tsv"
NUM_FILMS, NUM_PAIRS, NUM_EXPLAINED = 500, 1_500, 300
PAIR_COLUMNS = {"worst place": ",.0f", "NDCG@10, mean": ".4f", "worse-off": ".4f"}
NOVELTIES = VARIETIES = (0, 0.25, 0.5, 0.75, 1)


class Lists(NamedTuple):
    """Both models with the joined vectors of all movies, as Milvus has them."""

    stars: Stars
    taste: Taste
    test: ListTest
    vectors: np.ndarray
    """float32[movies, dim]"""
    user_tastes: np.ndarray
    """float32[profiles, 200]"""
    lengths: np.ndarray
    """float32[profiles], squared norms of the histories"""
    seen: csr_array
    """bool[profiles, movies], those rated in training"""
    liked: csr_array
    """bool[profiles, movies], those liked in the test"""

    @classmethod
    def of(cls, movies: Sequence[Movie], stars: Stars, taste: Taste) -> "Lists":
        """Joins the vectors of two models."""
        test = ListTest.of(taste.split)
        parts = similarity_parts(movies, taste.movie_vectors, test.num_ratings)
        vectors = join(stars.movie_vectors, taste.movie_vectors, parts)
        shape = len(stars.user_vectors), len(vectors)
        pairs = ((rows.profile_row, rows.movie_row) for rows in (test.exclude, liked(test.test)))
        seen, likes = (csr_array((np.ones(len(pair[0]), bool), pair), shape) for pair in pairs)
        return cls(stars, taste, test, vectors, taste.user_vectors(), taste.squared_norms(), seen, likes)

    def questions(self, ranking: str, rows: np.ndarray, is_personal: bool = True) -> np.ndarray:
        """Returns float32[profiles, dim], what profiles ask; they have no films to be similar to."""
        rating, taste, _ = RANKINGS[ranking]
        tastes = self.user_tastes[rows]
        if not is_personal:
            tastes = tastes + np.outer(anyone_share(self.lengths[rows]), self.user_tastes[ANYONE_ROW])
        nothing = np.zeros((len(rows), len(split(self.vectors[0])[2])))
        return join(rating * self.stars.user_vectors[rows], taste * tastes, nothing)

    def values(self, ranking: str, rows: np.ndarray, is_personal: bool = True) -> np.ndarray:
        """Returns float32[profiles, movies], by which movies are ordered; -inf for those rated in training."""
        return np.where(self.seen[rows].toarray(), -np.inf, self.questions(ranking, rows, is_personal) @ self.vectors.T)


def similar_films(lists: Lists, row: int) -> np.ndarray:
    """Returns int64[10], the movies most similar to a movie."""
    values = lists.vectors @ join(*map(np.zeros_like, split(lists.vectors[row])[:2]), similar_to(lists.vectors[row]))
    values[row] = -np.inf
    return top_k_indices(values[None], K)[0]


def print_similar(name: str, lists: Lists, movies: Sequence[Movie]) -> None:
    """Prints how often a relative is in the top ten, and how often a genre is shared."""
    titles = [Title(movie.movie_id, movie.title, 0, movie.imdb_id, movie.tmdb_id) for movie in movies]
    fields = {"title_key": [title_key(movie.title) for movie in movies], "year": [movie.year for movie in movies]}
    row_of = {movie.movie_id: row for row, movie in enumerate(movies)}

    def load_titles(field: str, values: Iterable[str | int]) -> list[Title]:
        wanted = set(values)
        return (
            [title for title, value in zip(titles, fields[field], strict=True) if value in wanted] if field else titles
        )

    def find(text: str) -> int | None:
        try:
            return row_of[find_title(text, load_titles).movie_id]
        except TitleError:
            return None

    num_films, num_found, missed = 0, 0, []
    with RELATIVES.open(encoding="utf-8", newline="") as file:
        for film, relatives, data_sets in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if name in data_sets.split():
                row, relative_rows = find(film), {find(relative) for relative in relatives.split(" | ")}
                found = row is not None and relative_rows & set(similar_films(lists, row).tolist())
                num_films, num_found = num_films + 1, num_found + bool(found)
                missed += [] if found else [film]
    known = np.flatnonzero(lists.test.num_ratings)
    rows = np.random.default_rng(0).choice(known, min(NUM_FILMS, len(known)), replace=False)
    genres = [set(movie.genres) for movie in movies]
    shares = [np.mean([bool(genres[row] & genres[other]) for other in similar_films(lists, row)]) for row in rows]
    table = Table(f"{name}: films like a film, top ten", {"films": "d", "share": ".3f"})
    if num_films:
        table.add("with a relative", num_films, num_found / num_films)
    table.add("listed films that share a genre", len(rows), float(np.mean(shares)))
    print("without a relative:", "; ".join(missed) or "none")


def pair_quality(lists: Lists, ranking: str) -> tuple[float, float, float]:
    """Returns of random pairs the median worst place and the mean NDCG@10 of both and of the worse-off.

    As in `recommend_together`, a movie must be among the first `GROUP_DEPTH` of both, and none of them has seen it.
    """
    random, users = np.random.default_rng(0), lists.test.profile_rows
    places, gains = [], []
    while len(places) < NUM_PAIRS:
        pair = random.choice(users, 2, replace=False)
        values = lists.values(ranking, pair, is_personal=False)
        seen_by_any = np.isinf(values).any(0)
        relevant = lists.liked[pair].toarray() & ~seen_by_any
        if not relevant.any(1).all():
            continue
        own_place = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
        values[:, seen_by_any] = -np.inf
        place = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
        candidates = np.flatnonzero((place < GROUP_DEPTH).all(0) & ~seen_by_any)
        best = candidates[np.argsort(-group_values(values[:, candidates]), kind="stable")[:K]]
        places.append(1 + own_place[:, best].max())
        gains.append(ndcg(relevant[:, best], relevant.sum(1), K))
    return float(np.median(places)), float(np.mean(gains)), float(np.min(gains, axis=1).mean())


def reason_share(lists: Lists, ranking: str) -> float:
    """Returns the mean share of distinct reasons among those of a list of ten."""
    random, train = np.random.default_rng(0), lists.taste.split.train
    num_genres = lists.taste.split.vocabularies.genres.size
    count = min(NUM_EXPLAINED, len(lists.test.profile_rows))
    shares = []
    for row in random.choice(lists.test.profile_rows, count, replace=False):
        _, movie_row, rating = train.ratings.select(train.ratings.profile_row == row)
        if not len(movie_row):
            continue
        parameters = lists.taste.parameters
        inputs = parameters.inputs.lookup(train.movies.select(movie_row), num_genres)
        demographics = known_demographics(parameters.demographics, train.profiles[row, 1:])
        history = History(inputs, history_weights(rating), demographics, parameters.variances)
        tastes = RANKINGS[ranking][1] * history.contributions()[: len(movie_row)]
        kin = similar_to(lists.vectors[movie_row])
        parts = Parts([str(movie) for movie in movie_row], join(np.zeros_like(tastes), tastes, 0 * kin), kin)
        best = top_k_indices(lists.values(ranking, np.array([row])), K)[0]
        reasons = [reason.label for movie in best for reason in parts.reasons(lists.vectors[movie])]
        shares.append(len(set(reasons)) / max(len(reasons), 1))
    return float(np.mean(shares))


def list_similarity(lists: Lists, found: np.ndarray) -> float:
    """Returns the mean cosine of the taste vectors of two movies in a list, int64[profiles, 10]."""
    unit = normalize_rows(lists.taste.movie_vectors)[found]  # [profiles, 10, 200]
    cosines = np.einsum("pid,pjd->pij", unit, unit)
    return float((cosines.sum((1, 2)) - K).mean() / (K * (K - 1)))


def print_varieties(name: str, lists: Lists) -> None:
    """Prints the metrics of the lists of `both` by `--variety`."""
    table = Table(f"{name}: both by variety", COLUMNS | {"similarity": ".3f"})
    for variety in VARIETIES:
        found = []
        for row in lists.test.profile_rows:
            values = lists.values("both", np.array([row]))
            candidates = top_k_indices(values, min(MIN_CANDIDATES, values.shape[1]))[0]
            found.append(candidates[diversify(values[0, candidates], lists.vectors[candidates], variety, K)])
        table.add(
            f"--variety {variety:g}", *lists.test.evaluate(np.array(found)), list_similarity(lists, np.array(found))
        )


def main() -> None:
    """Prints the tables of each data set."""
    args = parser(__doc__, 0).parse_args()
    for name, data in read_data(args):
        whole = test_split(data)
        lists = Lists.of(data.movies, train_stars(whole, args.cache), train_picks(whole, args.cache))
        print_similar(name, lists, data.movies)
        table = Table(f"{name}: lists for two, {NUM_PAIRS:,} random pairs, {len(data.movies):,} movies", PAIR_COLUMNS)
        for ranking in ("both", "picks"):
            table.add(ranking, *pair_quality(lists, ranking))
        table = Table(f"{name}: reasons, {NUM_EXPLAINED} users", {"distinct": ".3f"})
        for ranking in ("both", "picks"):
            table.add(ranking, reason_share(lists, ranking))
        table = Table(f"{name}: picks by novelty", COLUMNS | {"similarity": ".3f"})
        for novelty in NOVELTIES:
            found = lists.test.top_lists(lists.taste.ranking(novelty=novelty))
            table.add(f"--novelty {novelty:g}", *lists.test.evaluate(found), list_similarity(lists, found))
        print_varieties(name, lists)


if __name__ == "__main__":
    main()
