"""Chooses settings on validation rows: of other models, and what each setting of ours is worth.

    python benchmarks/tune.py rivals data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py posterior data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py towers data/ml-100k data/ml-1m data/ml-latest-small
    python benchmarks/tune.py lists data/ml-100k data/ml-1m data/ml-latest-small

Test rows are not looked at: a tenth of the training rows are held out, and for new users a tenth of the users, none of
whom new_users.py tests on. `rivals` tries a grid of each model and writes the best into benchmarks/settings.json.
`posterior` and `towers` print a row for each setting that is changed while the others stay: RMSE, and seconds of
processor time. `lists` prints what the constants of lists.py, vectors.py and taste.py do: the weight of a star in
`both`, the rule of `anyone_share` (for known users and for new ones with 5, 10 and 20 ratings), the damping of lists
for two, and variety.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import loader
import numpy as np
from blocks import Table
from list_metrics import COLUMNS, ListTest
from list_quality import PAIR_COLUMNS, Lists, pair_quality, print_varieties
from new_users import MIN_RATED
from rivals import LIST_RIVALS, RATING_RIVALS, save_settings

from recommender import lists as list_settings
from recommender.evaluation import rating_metrics, weighted_sum
from recommender.movielens.encoding import NUM_DEMOGRAPHIC_PROFILES
from recommender.movielens.releases import MovieLens
from recommender.movielens.split import Ratings, Split
from recommender.picks.taste import anyone_share
from recommender.stars.fusion import embed_movies, embed_profiles
from recommender.stars.fusion_training import FusionConfig, train_fusion
from recommender.stars.posterior import PosteriorConfig, PosteriorMean, sample_posterior
from recommender.stars.predict import COSINE_SCALE, predict_ratings
from recommender.users import ANYONE_ROW

SUBJECTS = ("rivals", "posterior", "towers", "lists")
POSTERIOR_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"num_factors": number} for number in (12, 20)),
    *({"ridge": ridge} for ridge in (1.0, 10.0)),
    *({"reliability_freedom": freedom} for freedom in (5.0, 20.0, 1e9)),
    *({"num_sweeps": number} for number in (50, 150)),
]
TOWER_SETTINGS: list[dict[str, Any]] = [
    {},
    *({"epochs": number} for number in (2, 3, 6)),
    *({"learning_rate": rate} for rate in (0.003, 0.012)),
    *({"final_learning_rate": share} for share in (0.01, 0.3)),
    *({"ema_alpha": alpha} for alpha in (0.003, 0.03)),
    {"targets": "ratings"},
]
STAR_WEIGHTS = (0, 0.05, 0.1, 0.15, 0.2, 0.3)
SHARE_RULES = [(0.0, 1), *((most, half) for most in (0.3, 0.4, 0.5) for half in (15, 30, 60, 120))]
"""Largest shares of anyone's taste, and lengths of a history that have half of it."""
NUM_KNOWN = (5, 10, 20)
DAMPINGS = (0.05, 0.1, 0.2, 0.4, 0.8)


def tune_rivals(data_sets: dict[str, MovieLens], names: Sequence[str]) -> None:
    """Chooses the settings of each model and writes them down, one by one."""
    for data_name, data in data_sets.items():
        split = loader.validation_split(data)
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
                shown = ", ".join(f"{key} {value}" for key, value in best.items())
                table.add(name, value, len(tried), seconds, "  " + shown)
                save_settings(data_name, name, best)


def fit_posterior(split: Split, settings: dict[str, Any]) -> PosteriorMean:
    """Samples the posterior mean with some settings changed."""
    return sample_posterior(split.train, PosteriorConfig.for_ratings(len(split.train.ratings.rating), **settings))


def evaluate_posterior(split: Split, settings: dict[str, Any]) -> float:
    """Returns the RMSE of the posterior mean."""
    posterior = fit_posterior(split, settings)
    predicted = posterior.predict(split.test.profile_row - NUM_DEMOGRAPHIC_PROFILES, split.test.movie_row)
    return rating_metrics(predicted, split.test.rating).rmse


def evaluate_towers(split: Split, posterior: PosteriorMean, settings: dict[str, Any]) -> float:
    """Returns the RMSE of the towers, trained on a posterior mean that all settings share."""
    config = FusionConfig.for_ratings(len(split.train.ratings.rating), **settings)
    target = posterior if config.targets == "posterior" else None
    model, _ = train_fusion(split.train, split.vocabularies, config, target)
    users = embed_profiles(model.user_tower, split.train.profiles)
    movies = embed_movies(model.movie_tower, split.train.movies)
    predicted = predict_ratings(users, movies, split.test.profile_row, split.test.movie_row)
    stars = split.train.ratings.rating
    return rating_metrics(predicted.clip(stars.min(), stars.max()), split.test.rating).rmse


def print_settings(
    title: str, columns: dict[str, str], rows: Sequence[dict[str, Any]], evaluations: Sequence[Callable[..., float]]
) -> None:
    """Prints a row for each change of settings: what each evaluation returns for it, and its seconds."""
    table = Table(title, columns)
    for settings in rows:
        values = []
        for evaluate in evaluations:
            started = time.process_time()
            values += [evaluate(settings), time.process_time() - started]
        table.add(", ".join(f"{name} {value}" for name, value in settings.items()) or "as it is", *values)


def tune_ours(subject: str, data_sets: dict[str, MovieLens]) -> None:
    """Prints the settings of one of our models."""
    splits = {name: loader.validation_split(data) for name, data in data_sets.items()}
    columns = {f"{name}{of}": ".0f" if of else ".4f" for name in splits for of in ("", ": s")}
    if subject == "posterior":
        evaluations = [lambda own, split=split: evaluate_posterior(split, own) for split in splits.values()]
        print_settings("posterior mean: RMSE, validation rows", columns, POSTERIOR_SETTINGS, evaluations)
    else:
        means = {name: fit_posterior(split, {}) for name, split in splits.items()}
        evaluations = [lambda own, name=name: evaluate_towers(splits[name], means[name], own) for name in splits]
        print_settings("towers: RMSE, validation rows", columns, TOWER_SETTINGS, evaluations)


def tune_lists(name: str, data: MovieLens, args: argparse.Namespace) -> None:
    """Prints what the constants of lists do."""
    split, new_users = loader.validation_split(data), loader.new_users_split(data, loader.VALIDATION_SEED)
    seeds = range(args.seeds)
    all_stars = [loader.train_stars(split, args.cache, seed=seed) for seed in seeds]
    all_picks = [loader.train_picks(split, args.cache, seed=seed) for seed in seeds]
    test = ListTest.of(split)
    table = Table(f"{name}: weight of a star in `both`", COLUMNS)
    for weight in STAR_WEIGHTS:
        metrics = []
        for stars, taste in zip(all_stars, all_picks, strict=True):
            users, movies = (stars.user_vectors, taste.user_vectors()), (stars.movie_vectors, taste.movie_vectors)
            metrics.append(test.evaluate(test.top_lists(weighted_sum((COSINE_SCALE * weight, 1), users, movies))))
        table.add(f"weight {weight:g}", *np.mean(metrics, axis=0))

    cases = [[(taste, None, test) for taste in all_picks]]
    new_picks = [loader.train_picks(new_users, args.cache, seed=seed) for seed in seeds]
    for number in NUM_KNOWN:
        rated = loader.with_at_least(new_users.test, MIN_RATED)
        known, rest = loader.split_known(rated, number, np.random.default_rng(0))
        cases.append([(taste, known, ListTest.of(new_users, rest, known)) for taste in new_picks])
    columns = {"known users": ".4f"} | {f"{number} ratings": ".4f" for number in NUM_KNOWN}
    table = Table(f"{name}: share of anyone's taste, NDCG@10 of picks", columns)
    for most, half in SHARE_RULES:
        gains = [[shared_ranking_gain(*trained, most, half) for trained in case] for case in cases]
        table.add(f"at most {most:g}, half at {half}" if most else "none", *np.mean(gains, axis=1))

    lists = Lists.of(data.movies, all_stars[0], all_picks[0])
    table = Table(f"{name}: damping of lists for two", PAIR_COLUMNS)
    for damping in DAMPINGS:
        list_settings.SHARE_DAMPING = damping
        table.add(f"damping {damping:g}", *pair_quality(lists, "picks"))
    print_varieties(name, lists)


def shared_ranking_gain(taste: loader.Taste, known: Ratings | None, test: ListTest, most: float, half: float) -> float:
    """Returns the NDCG@10 of picks with another rule of `anyone_share`."""
    vectors, length = taste.user_vectors(known), taste.squared_norms(known)
    change = anyone_share(length) - most * length / (length + half)
    users = vectors + change[:, None].astype(np.float32) * vectors[ANYONE_ROW]
    return float(test.gains(weighted_sum((1,), (users,), (taste.movie_vectors,))).mean())


def main() -> None:
    """Prints the tables of one subject."""
    options = loader.parser(__doc__, 1, SUBJECTS)
    options.add_argument("--only", nargs="+", default=[], choices=[*LIST_RIVALS, *RATING_RIVALS], metavar="MODEL")
    args = options.parse_args()
    data_sets = dict(loader.read_data(args))
    if args.subject == "rivals":
        tune_rivals(data_sets, args.only)
    elif args.subject == "lists":
        for name, data in data_sets.items():
            tune_lists(name, data, args)
    else:
        tune_ours(args.subject, data_sets)


if __name__ == "__main__":
    main()
