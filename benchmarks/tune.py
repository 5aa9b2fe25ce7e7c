"""Chooses settings on validation rows: of other models, and what each setting of ours is worth.

    python benchmarks/tune.py rivals data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py posterior data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py towers data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py taste data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py lists data/ml-100k data/ml-1m data/ml-latest-small

Test rows are not looked at: a tenth of the training rows are held out, and for new users a tenth of the users, none of
whom new_users.py tests on. `rivals` tries a grid of each model and writes the best into benchmarks/settings.json.
`posterior`, `towers` and `taste` print a row for each setting of a model that is changed while the others stay: RMSE,
or NDCG@10 of users and of new users with three liked films, and seconds of processor time. `lists` prints what the
constants of lists.py, vectors.py and taste.py do: the weight of a star in `both`, the rule of `anyone_share` (for known
users and for new ones with 5, 10 and 20 ratings), the damping of lists for two, and variety.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from list_metrics import ListTest
from list_quality import VARIETIES, Lists, diverse_lists, list_similarity, pair_quality
from loader import (
    liked,
    new_users_validation_split,
    parser,
    read_data,
    split_known,
    train_picks,
    train_stars,
    validation_split,
    with_at_least,
)
from new_users import MIN_LIKED, MIN_RATED
from rivals import LIST_RIVALS, RATING_RIVALS, SETTINGS
from tables import Table

from recommender import lists as list_settings
from recommender.evaluation import rating_metrics, weighted_sum
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES
from recommender.movielens.releases import MovieLens
from recommender.movielens.split import RELEVANCE_THRESHOLD, Split
from recommender.picks.taste import anyone_share
from recommender.stars.fusion import embed_movies, embed_profiles
from recommender.stars.fusion_training import FusionConfig, train_fusion
from recommender.stars.posterior import PosteriorConfig, PosteriorMean, sample_posterior
from recommender.stars.predict import COSINE_SCALE, predict_ratings
from recommender.users import ANYONE_ROW

SUBJECTS = ("rivals", "posterior", "towers", "taste", "lists")
NUM_TASTE_LIKED = 3
POSTERIOR_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"num_factors": number} for number in (8, 12, 16, 24)),
    *({"ridge": ridge} for ridge in (0.3, 1.0, 3.0, 10.0, 30.0)),
    *({"num_sweeps": number} for number in (60, 100, 150, 200)),
    *({"burn_in": number} for number in (5, 30)),
    *({"sketch_size": size} for size in (60, 160)),
]
TOWER_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"epochs": number} for number in (1, 2, 3, 5)),
    *({"learning_rate": rate} for rate in (0.003, 0.012)),
    *({"batch_size": size} for size in (500, 1000, 2000, 4000, 8000)),
    *({"final_learning_rate": share} for share in (0.01, 0.3)),
    *({"l2": l2} for l2 in (1e-5, 1e-4)),
    *({"ema_alpha": alpha} for alpha in (0.003, 0.03)),
    {"targets": "ratings"},
]
TASTE_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"ridge": ridge} for ridge in (0.3, 1.5)),
    *({"num_steps": number} for number in (0, 15)),
    {"num_steps": 60, "learning_rate": 0.0005},
    {"learning_rate": 0.002},
    *({"movie_dropout": share} for share in (0.0, 0.4, 0.7)),
    *({"history_dropout": share} for share in (0.0, 0.2, 0.6)),
]
STAR_WEIGHTS = (0, 0.05, 0.1, 0.15, 0.2, 0.3)
SHARE_RULES = [(0.0, 1), *((most, half) for most in (0.3, 0.4, 0.5) for half in (15, 30, 60, 120))]
"""Largest shares of anyone's taste, and lengths of a history that have half of it."""
DAMPINGS = (0.05, 0.1, 0.2, 0.4, 0.8)


def tune_rivals(data_sets: dict[str, MovieLens], names: Sequence[str]) -> None:
    """Chooses the settings of each model and writes them down, one by one."""
    for data_name, data in data_sets.items():
        split = validation_split(data)
        test, rating = ListTest.of(split), split.test.rating
        lists = ("NDCG@10", LIST_RIVALS, split.train, lambda ranking, test=test: float(test.gains(ranking).mean()), 1)
        ratings = ("RMSE", RATING_RIVALS, split, lambda predicted, r=rating: rating_metrics(predicted, r).rmse, -1)
        for metric, rivals, fitted, evaluate, sign in (lists, ratings):
            columns = {metric: ".4f", "tried": "d", "CPU s": ".1f", "settings": ""}
            table = Table(f"{data_name}: settings of other models, {len(rating):,} validation rows", columns)
            for name in [name for name in rivals if not names or name in names]:
                tried = []
                for settings in rivals[name].grid:
                    started = time.process_time()
                    model = rivals[name].fit(fitted, **settings)
                    seconds = time.process_time() - started
                    tried.append((evaluate(model), settings, seconds))
                value, best, seconds = max(tried, key=lambda trial, sign=sign: sign * trial[0])
                shown = ", ".join(f"{key} {value}" for key, value in best.items() if key not in ("algorithm", "verbose"))
                table.add(name, value, len(tried), seconds, "  " + shown)
                chosen = json.loads(SETTINGS.read_text())
                chosen.setdefault(data_name, {})[name] = best
                SETTINGS.write_text(json.dumps(chosen, indent=1, sort_keys=True) + "\n")


def fit_posterior(split: Split, settings: dict[str, Any]) -> PosteriorMean:
    """Samples the posterior mean with some settings changed."""
    return sample_posterior(split.train, PosteriorConfig.for_ratings(len(split.train.ratings.rating), **settings))


def evaluate_posterior(split: Split, settings: dict[str, Any]) -> tuple[float]:
    """Returns the RMSE of the posterior mean."""
    posterior = fit_posterior(split, settings)
    predicted = posterior.predict(split.test.profile_row - NUM_DEMOGRAPHIC_PROFILES, split.test.movie_row)
    return (rating_metrics(predicted, split.test.rating).rmse,)


def evaluate_towers(split: Split, posterior: PosteriorMean, settings: dict[str, Any]) -> tuple[float]:
    """Returns the RMSE of the towers, trained on a posterior mean that all settings share."""
    config = FusionConfig.for_ratings(len(split.train.ratings.rating), **settings)
    target = posterior if config.targets == "posterior" else None
    model = train_fusion(split.train, split.vocabularies, config, target).model
    users = embed_profiles(model.user_tower, split.train.profiles)
    movies = embed_movies(model.movie_tower, split.train.movies)
    predicted = predict_ratings(users, movies, split.test.profile_row, split.test.movie_row)
    stars = split.train.ratings.rating
    return (rating_metrics(predicted.clip(stars.min(), stars.max()), split.test.rating).rmse,)


def evaluate_taste(split: Split, new_users: Split, args: argparse.Namespace, settings: dict[str, Any]) -> tuple[float, ...]:
    """Returns the NDCG@10 of picks of known users, and of new users with some liked films."""
    known_users = ListTest.of(split).gains(train_picks(split, args.cache, **settings).ranking()).mean()
    known, rest = split_known(with_at_least(liked(new_users.test), MIN_LIKED), NUM_TASTE_LIKED, np.random.default_rng(0))
    known = known._replace(rating=np.full_like(known.rating, RELEVANCE_THRESHOLD))
    ranking = train_picks(new_users, args.cache, **settings).ranking(known)
    return known_users, ListTest.of(new_users, rest, known).gains(ranking).mean()


def print_settings(
    title: str, columns: dict[str, str], rows: Sequence[dict[str, Any]], evaluations: Sequence[Callable[..., Any]]
) -> None:
    """Prints a row for each change of settings: what each evaluation returns for it, and its seconds."""
    table = Table(title, columns)
    for settings in rows:
        values: list[float] = []
        for evaluate in evaluations:
            started = time.process_time()
            values += evaluate(settings)
            values.append(time.process_time() - started)
        table.add(", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()) or "as it is", *values)


def tune_ours(subject: str, data_sets: dict[str, MovieLens], args: argparse.Namespace) -> None:
    """Prints the settings of one of our models."""
    splits = {name: validation_split(data) for name, data in data_sets.items()}
    if subject == "taste":
        columns = {f"{name}{of}": ".1f" if of == ": s" else ".4f" for name in splits for of in ("", ": new", ": s")}
        pairs = [(splits[name], new_users_validation_split(data)) for name, data in data_sets.items()]
        evaluations = [lambda own, pair=pair: evaluate_taste(*pair, args, own) for pair in pairs]
        print_settings("taste model: NDCG@10 of picks, validation rows", columns, TASTE_SETTINGS, evaluations)
        return
    columns = {f"{name}{of}": ".0f" if of else ".4f" for name in splits for of in ("", ": s")}
    if subject == "posterior":
        evaluations = [lambda own, split=split: evaluate_posterior(split, own) for split in splits.values()]
        print_settings("posterior mean: RMSE, validation rows", columns, POSTERIOR_SETTINGS, evaluations)
    else:
        means = {name: fit_posterior(split, {}) for name, split in splits.items()}
        evaluations = [lambda own, name=name: evaluate_towers(splits[name], means[name], own) for name in splits]
        print_settings("towers: RMSE, validation rows", columns, TOWER_SETTINGS, evaluations)


def tune_lists(data_sets: dict[str, MovieLens], args: argparse.Namespace) -> None:
    """Prints what the constants of lists do."""
    all_lists: dict[str, list[Lists]] = {}
    for name, data in data_sets.items():
        split = validation_split(data)
        seeds = range(args.seeds)
        models = [(train_stars(split, args.cache, seed=seed), train_picks(split, args.cache, seed=seed)) for seed in seeds]
        all_lists[name] = [Lists.of(data.movies, *pair) for pair in models]

    columns = {f"{name}{of}": ".2f" if of else ".4f" for name in data_sets for of in ("", ": stars")}
    table = Table("weight of a star in `both`: NDCG@10, mean stars of listed and rated movies", columns)
    for weight in STAR_WEIGHTS:
        values = []
        for lists in all_lists.values():
            rows = []
            for own in lists:
                users, movies = (own.stars.user_vectors, own.user_tastes), (own.stars.movie_vectors, own.taste.movie_vectors)
                metrics = own.test.evaluate(own.test.top_lists(weighted_sum((COSINE_SCALE * weight, 1), users, movies)))
                rows.append((metrics.ndcg, metrics.list_rating))
            values += np.mean(rows, axis=0).tolist()
        table.add(f"weight {weight:g}", *values)

    tune_share(data_sets, all_lists, args)
    first = {name: lists[0] for name, lists in all_lists.items()}
    columns = {f"{name}{of}": ",.0f" if of == ": place" else ".4f" for name in first for of in (": place", ": mean", ": worse-off")}
    table = Table("damping of lists for two: worst place, NDCG@10", columns)
    for damping in DAMPINGS:
        list_settings.SHARE_DAMPING = damping
        table.add(f"damping {damping:g}", *(value for lists in first.values() for value in pair_quality(lists, "both")))
    columns = {f"{name}{of}": ".4f" for name in first for of in ("", ": similarity")}
    table = Table("variety: NDCG@10 of both, similarity within a list", columns)
    for variety in VARIETIES:
        found = [(lists, diverse_lists(lists, "both", variety)) for lists in first.values()]
        pairs = [(lists.test.evaluate(own).ndcg, list_similarity(lists, own)) for lists, own in found]
        table.add(f"--variety {variety:g}", *np.ravel(pairs))


def tune_share(data_sets: dict[str, MovieLens], all_lists: dict[str, list[Lists]], args: argparse.Namespace) -> None:
    """Prints the NDCG@10 of picks by the rule of `anyone_share`, for known users and for new ones."""
    cases = []
    for name, data in data_sets.items():
        cases.append((name, [(lists.taste, None, lists.test) for lists in all_lists[name]]))
        split = new_users_validation_split(data)
        rated = with_at_least(split.test, MIN_RATED)
        tastes = [train_picks(split, args.cache, seed=seed) for seed in range(args.seeds)]
        for number in (5, 10, 20):
            known, rest = split_known(rated, number, np.random.default_rng(0))
            cases.append((f"{number} ratings", [(taste, known, ListTest.of(split, rest, known)) for taste in tastes]))
    print("\nNDCG@10 of picks by the share of anyone's taste; new users with 5, 10 and 20 ratings behind each data set")
    columns = [(f"{number} {name}", ".4f") for number, (name, _) in enumerate(cases)]
    table = Table("share of anyone's taste: NDCG@10 of picks", dict(columns))
    for most, half in SHARE_RULES:
        values = []
        for _, trained in cases:
            gains = []
            for taste, known, test in trained:
                vectors, length = taste.user_vectors(known), taste.squared_norms(known)
                change = anyone_share(length) - most * length / (length + half)
                users = vectors + change[:, None].astype(np.float32) * vectors[ANYONE_ROW]
                gains.append(test.gains(weighted_sum((1,), (users,), (taste.movie_vectors,))).mean())
            values.append(float(np.mean(gains)))
        table.add(f"at most {most:g}, half at {half}" if most else "none", *values)


def main() -> None:
    """Prints the tables of one subject."""
    options = parser(__doc__, num_seeds=1)
    options.add_argument("subject", choices=SUBJECTS)
    options._actions.insert(1, options._actions.pop())
    options.add_argument("--only", nargs="+", default=[], choices=[*LIST_RIVALS, *RATING_RIVALS], metavar="MODEL")
    args = options.parse_args()
    data_sets = dict(read_data(args))
    if args.subject == "rivals":
        tune_rivals(data_sets, args.only)
    elif args.subject == "lists":
        tune_lists(data_sets, args)
    else:
        tune_ours(args.subject, data_sets, args)


if __name__ == "__main__":
    main()
