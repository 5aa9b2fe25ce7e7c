"""Quality for users that training has not seen: by age, gender and job, by films that they like, by their ratings.

    python benchmarks/new_users.py data/ml-1m

Prints, with three splits that hold out a tenth of the users each (the first one alone where films are known):
- RMSE and MAE of ratings, and metrics of lists of all movies, by age, gender and job alone;
- lists where 1, 3, 5 or 10 liked films are known (--like), and where 5, 10 or 20 ratings are (--ratings); EASE and
  EDLAE have the settings that tune.py chose;
- RMSE where 0, 3, 5, 10 or 20 ratings are known, of each user's same other ratings.

Differences have 95 % intervals over users. Columns of lists: see list_metrics.py. Without demographics in the data the
first kind is of anyone.
"""

from pathlib import Path
from typing import NamedTuple

import loader
import numpy as np
from blocks import Table
from list_metrics import COLUMNS, ListTest, print_differences, print_rankings
from rivals import ease_weights, edlae_weights, fit_group_popularity, fit_popularity, linear_ranking, load_settings

from recommender.evaluation import movie_means, rating_metrics
from recommender.movielens.encoding import demographic_profile_row
from recommender.movielens.split import RELEVANCE_THRESHOLD, Ratings, Split
from recommender.stars.predict import UserPrior, fit_user_prior

NUM_LIKED, NUM_RATED, NUM_FOLDED_IN = (1, 3, 5, 10), (5, 10, 20), (0, 3, 5, 10, 20)
MIN_LIKED, MIN_RATED = 15, 30
"""Lower bounds on the liked or rated movies of users of whom some are known."""
FIRST_EVALUATED = 20
"""Position, in a random order of a user's ratings, from which predicted ratings are evaluated."""


class NewUserModels(NamedTuple):
    """Both models, trained without some users, whose ratings are `split.test`."""

    split: Split
    stars: loader.Stars
    """With the vector of gender, age and occupation for each user."""
    taste: loader.Taste
    prior: UserPrior

    @classmethod
    def train(cls, split: Split, cache: Path, seed: int) -> "NewUserModels":
        """Trains both models on a split of users."""
        stars, profiles = loader.train_stars(split, cache, seed=seed), split.train.profiles
        prior = fit_user_prior(stars.user_vectors, profiles)
        anonymous = stars.user_vectors[demographic_profile_row(*profiles[:, 1:].T)]
        return cls(split, stars._replace(user_vectors=anonymous), loader.train_picks(split, cache, seed=seed), prior)

    def fold_in(self, known: Ratings) -> loader.Stars:
        """Returns the fusion model with known ratings folded into the users' vectors."""
        vectors = self.stars.user_vectors.copy()
        for row in np.unique(known.profile_row):
            _, movie_row, rating = known.select(known.profile_row == row)
            vectors[row] = self.prior.posterior_mean(vectors[row], self.stars.movie_vectors[movie_row], rating)
        return self.stars._replace(user_vectors=vectors)


def print_demographics(name: str, all_models: list[NewUserModels]) -> None:
    """Prints quality by age, gender and job alone, as means over splits."""
    ratings, lists, gains, users = [], [], [], []
    for models in all_models:
        train, test = models.split.train, models.split.test
        predictions = {"stars": models.stars.predict(test)}
        predictions["movie mean"] = movie_means(train.ratings, test)
        ratings.append({row: rating_metrics(predicted, test.rating) for row, predicted in predictions.items()})
        nothing = test.select(np.zeros(len(test.rating), bool))
        pair = models.stars, models.taste
        rankings = {row: loader.mixed_ranking(row, *pair, nothing) for row in ("picks", "both", "stars")}
        rankings["most popular by gender and age"] = fit_group_popularity(train)
        rankings["most popular"] = fit_popularity(train)
        evaluation = ListTest.of(models.split, exclude=nothing)
        found = {row: evaluation.top_lists(ranking) for row, ranking in rankings.items()}
        lists.append({row: evaluation.evaluate(own) for row, own in found.items()})
        gains.append({row: evaluation.hits(own)[1] for row, own in found.items()})
        users.append(evaluation.profile_rows)
    title = f"{name}: new users by age, gender and job"
    table = Table(f"{title}: ratings, mean of {len(all_models)} splits", {"RMSE": ".4f", "MAE": ".4f"})
    for row in ratings[0]:
        table.add(row, *np.mean([metrics[row] for metrics in ratings], axis=0))
    table = Table(f"{title}: lists, mean of {len(all_models)} splits", COLUMNS)
    for row in lists[0]:
        table.add(row, *np.mean([metrics[row] for metrics in lists], axis=0))
    all_gains = {row: np.concatenate([own[row] for own in gains]) for row in gains[0]}
    print_differences(f"{title}: NDCG@10 of picks", all_gains.pop("picks"), all_gains, np.concatenate(users))


def print_known(name: str, models: NewUserModels) -> None:
    """Prints lists of new users of whom some films or ratings are known; these are not listed."""
    train, settings, random = models.split.train, load_settings(name), np.random.default_rng(0)
    matrices = {"EDLAE": edlae_weights(train, **settings["EDLAE"]), "EASE": ease_weights(train, **settings["EASE"])}
    likes = loader.with_at_least(loader.liked(models.split.test), MIN_LIKED)
    rated = loader.with_at_least(models.split.test, MIN_RATED)
    for kind, ratings, number in [*(("liked", likes, n) for n in NUM_LIKED), *(("rated", rated, n) for n in NUM_RATED)]:
        known, test = loader.split_known(ratings, number, random)
        stars = models.stars
        if kind == "rated":
            stars = models.fold_in(known)
        else:  # A film that is liked and not rated weighs as much as one of 4 stars.
            known = known._replace(rating=np.full_like(known.rating, RELEVANCE_THRESHOLD))
        nothing = known.select(np.zeros(len(known.rating), bool))
        pair = stars, models.taste
        rankings = {row: loader.mixed_ranking(row, *pair, known) for row in ("picks", "both")}
        rankings["picks, age, gender and job alone"] = models.taste.ranking(nothing)
        for rival, matrix in matrices.items():
            rankings[rival] = linear_ranking(train._replace(ratings=known), settings[rival]["weights"], matrix)
        rankings["most popular"] = fit_popularity(train)
        evaluation = ListTest.of(models.split, test, known)
        print_rankings(f"{name}: new users, {kind} films that are known: {number}", evaluation, rankings)


def print_folded_in(name: str, models: NewUserModels) -> None:
    """Prints the RMSE of predicted ratings by the number of ratings that are known."""
    ratings = loader.with_at_least(models.split.test, MIN_RATED)
    position = loader.random_positions(ratings.profile_row, np.random.default_rng(0))
    evaluated = ratings.select(position >= FIRST_EVALUATED)
    title = f"{name}: new users with {MIN_RATED} ratings or more, RMSE by the number that is known"
    table = Table(title, {str(number): ".4f" for number in NUM_FOLDED_IN})
    folded = [models.fold_in(ratings.select(position < number)) for number in NUM_FOLDED_IN]
    table.add("stars", *(rating_metrics(stars.predict(evaluated), evaluated.rating).rmse for stars in folded))


def main() -> None:
    """Prints the tables."""
    args = loader.parser(__doc__, loader.NUM_TEST_SPLITS).parse_args()
    for name, data in loader.read_data(args):
        splits = [loader.new_users_split(data, seed) for seed in range(args.seeds)]
        all_models = [NewUserModels.train(split, args.cache, seed) for seed, split in enumerate(splits)]
        print_demographics(name, all_models)
        print_known(name, all_models[0])
        print_folded_in(name, all_models[0])


if __name__ == "__main__":
    main()
