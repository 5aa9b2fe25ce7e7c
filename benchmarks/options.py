"""What the options for choosing change: tables of `evaluate.py`."""

import numpy as np
from rankings import COLUMNS, LISTS_NAME_WIDTH, K, ListTest, liked
from tables import Table

from recommender.movielens.split import Split
from recommender.evaluation.metrics import interaction_mask, ndcg
from recommender.milvus.build import Catalogue
from recommender.rerank import diversify, fuse_ranks, normalize_rows, num_candidates
from recommender.users import RANKING_WEIGHTS, join_vectors
from recommender.scoring import top_k_indices

VARIETIES = (0.25, 0.5, 0.75, 1)
NUM_PAIRS = 1000
"""Number of random pairs of users who watch something together."""


class Lists:
    """The lists of all users by both models, with options."""

    def __init__(self, split: Split, catalogue: Catalogue, user_vectors: tuple[np.ndarray, np.ndarray]) -> None:
        self.test = ListTest.of(split)
        self.vectors = catalogue.vectors
        weights = RANKING_WEIGHTS["both"]
        self.queries = join_vectors(weights[0] * user_vectors[0], weights[1] * user_vectors[1])
        self.num_ratings = np.array(catalogue.num_ratings)
        self.genres = [set(movie.genres) for movie in catalogue.movies]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32[profiles, movies], with -inf for movies that a profile rated in training."""
        excluded = interaction_mask(self.test.exclude, rows, len(self.vectors))
        return np.where(excluded, -np.inf, self.queries[rows] @ self.vectors.T)

    def filtered(self, admitted: np.ndarray) -> np.ndarray:
        """Returns int64[profiles, 10], the lists of some movies, bool[movies]."""
        return self.test.top_lists(lambda rows: np.where(admitted, self.queries[rows] @ self.vectors.T, -np.inf))

    def diversified(self, variety: float) -> np.ndarray:
        """Returns int64[profiles, 10], the lists with `--variety`."""
        lists = []
        for row in self.test.profile_rows:
            [candidates] = top_k_indices(self.scores(np.array([row])), min(num_candidates(K), len(self.vectors)))
            lists.append(candidates[diversify(self.queries[row], self.vectors[candidates], variety, K)])
        return np.array(lists)

    def similarity(self, lists: np.ndarray) -> float:
        """Returns the mean cosine of the taste vectors of two movies in a list."""
        unit = normalize_rows(self.vectors[:, self.vectors.shape[1] // 2 :])[lists]  # [profiles, 10, 200]
        cosines = np.einsum("pid,pjd->pij", unit, unit)
        return float((cosines.sum((1, 2)) - K).mean() / (K * (K - 1)))


def evaluate_options(split: Split, catalogue: Catalogue, user_vectors: tuple[np.ndarray, np.ndarray]) -> None:
    """Prints the metrics of lists with options, and of lists for two."""
    lists = Lists(split, catalogue, user_vectors)
    everything = np.ones(len(lists.vectors), bool)
    columns = {**COLUMNS, "similarity": ".4f", "median ratings": ",.0f"}
    table = Table(f"Options: lists of {len(lists.test.profile_rows):,} users by both", columns, LISTS_NAME_WIDTH)
    rows = {"no option": lists.filtered(everything)}
    rows |= {f"--variety {variety:g}": lists.diversified(variety) for variety in VARIETIES}
    rows["--max-ratings 200"] = lists.filtered(lists.num_ratings <= 200)
    rows["--not-genre Drama"] = lists.filtered(np.array(["Drama" not in genres for genres in lists.genres]))
    for name, found in rows.items():
        popularity = np.median(lists.num_ratings[found])
        table.add(name, *lists.test.evaluate(found), lists.similarity(found), popularity)
    print_pairs(lists)


def print_pairs(lists: Lists) -> None:
    """Prints the NDCG@10 of both of two users, for the mean of their scores and for `--with`."""
    gains = pair_gains(lists)
    title = f"Something for two: NDCG@10 of {len(gains['--with']):,} random pairs, by both"
    table = Table(title, {"worse off": ".4f", "better off": ".4f", "mean": ".4f"}, LISTS_NAME_WIDTH)
    for name, values in gains.items():
        table.add(name, values.min(1).mean(), values.max(1).mean(), values.mean())


def pair_gains(lists: Lists) -> dict[str, np.ndarray]:
    """Returns float[pairs, 2], the NDCG@10 of random pairs of users, for the mean of their scores and for `--with`."""
    users = lists.test.profile_rows
    pairs = np.random.default_rng(0).choice(users, (NUM_PAIRS, 2))
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]])
    likes = liked(lists.test.test)
    gains: dict[str, list[np.ndarray]] = {"mean of both scores": [], "--with": []}
    for pair in pairs:
        scores = lists.scores(pair)
        excluded = np.isinf(scores).any(0)
        relevant = interaction_mask(likes, pair, len(lists.vectors)) & ~excluded
        if not relevant.any(1).all():
            continue
        mean = np.where(excluded, -np.inf, scores.mean(0))
        [candidates] = top_k_indices(mean[None], min(num_candidates(K), len(mean)))
        fused = candidates[fuse_ranks(scores[:, candidates])]
        for name, order in (("mean of both scores", candidates), ("--with", fused)):
            gains[name].append(ndcg(relevant[:, order[:K]], relevant.sum(1), K))
    return {name: np.array(values) for name, values in gains.items()}
