"""Step three: inserts the movies into Milvus (-i) and recommends movies for a user."""

if __name__ == "__main__":
    from recommender.cli.process import prepare_process

    prepare_process()

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recommender.films.film_files import FilmFiles
from recommender.cli.output import (
    VERBOSE_COLUMNS,
    format_json,
    format_original_table,
    format_table,
    group_columns,
    output_columns,
    to_group_row,
    to_row,
    write_csv,
)
from recommender.cli.process import run_and_report, run_main
from recommender.cli.query_options import DEFAULT_MIN_RATINGS, QueryOptions, parse_args
from recommender.movielens.encoding import encode_movies
from recommender.movielens.catalogue import ID_PREFIX
from recommender.movielens.catalogue import read_movies_data
from recommender.errors import RecommenderError, pluralize
from recommender.files import STANDARD_STREAM, atomic_write
from recommender.milvus.build import build_collection, embed_catalogue
from recommender.milvus.collection import ALIAS, MovieCollection
from recommender.milvus.connection import MilvusConnection
from recommender.milvus.filters import MovieFilter, is_in
from recommender.reasons import has_reasons
from recommender.store import SavedModel, load_model
from recommender.lists import (
    Query,
    excluded_for_any,
    predict_rating,
    rating_vector,
    recommend,
    recommend_together,
    taste_similarities,
)
from recommender.films.matching import find_movie
from recommender.users import UserProfile, default_ranking


def resolve_profile(model: SavedModel, files: FilmFiles, options: QueryOptions) -> UserProfile:
    """Returns the profile that the options describe."""
    if options.user is not None:
        profile = UserProfile.from_user(model, options.user, options.include_seen)
    else:
        profile = UserProfile.from_demographics(model, options.gender, options.age, options.job)
    if options.ratings:
        profile = profile.with_ratings(files.load_ratings(options.ratings))
    liked, seen = (
        {title.movie_id: title.title for title in (find_movie(files.collection, text) for text in texts)}
        for texts in (options.like, options.seen)
    )
    both = [title for movie_id, title in liked.items() if movie_id in seen]
    if both:
        raise RecommenderError(f"{both[0]} is in both --like and --seen; name it once")
    return profile.with_movies(liked, seen)


def resolve_group(model: SavedModel, files: FilmFiles, options: QueryOptions) -> dict[str, UserProfile]:
    """Returns the profiles of several users together, by name, without one of whom nothing is stated.

    A file is named without its folder if that is clear.
    """
    anyone, first = UserProfile.from_demographics(model), resolve_profile(model, files, options)
    names = ["you" if options.user is None else f"user {options.user}"]
    names += [other.name if isinstance(other, Path) else f"user {other}" for other in options.together]
    profiles = {} if first == anyone else {names[0]: first}
    for other, name in zip(options.together, names[1:], strict=True):
        if isinstance(other, Path):
            clear_name = name if names.count(name) == 1 else f"{other.parent}/{name}"
            profiles[clear_name] = anyone.with_ratings(files.load_ratings([other]))
        else:
            profiles[name] = UserProfile.from_user(model, other, options.include_seen)
    return profiles


def complete_options(files: FilmFiles, options: QueryOptions, profiles: Iterable[UserProfile]) -> QueryOptions:
    """Returns the options with the films of --among and the defaults that depend on what is known of the users.

    Prints what --max-ratings leaves.
    """
    collection, movie_filter = files.collection, options.movie_filter
    ranking = options.by or default_ranking(profiles)
    if options.among:
        movie_filter = replace(movie_filter, among=files.load_films(options.among))
    if movie_filter.max_ratings is not None:
        remaining = collection.count(collection.build_filter(movie_filter))
        print(f"{remaining:,} of {pluralize(collection.num_movies, 'movie')} remain", file=sys.stderr)
    elif movie_filter.min_ratings is None and ranking == "stars":
        movie_filter = replace(movie_filter, min_ratings=DEFAULT_MIN_RATINGS)
    return replace(options, by=ranking, movie_filter=movie_filter)


def build_query(collection: MovieCollection, options: QueryOptions) -> Query:
    """Returns ranking, number of movies, filter and order."""
    movie_filter = collection.build_filter(options.movie_filter)
    return Query(options.by, options.top_k, movie_filter, options.why, options.variety)


def recommend_one(model: SavedModel, files: FilmFiles, options: QueryOptions) -> None:
    """Prints the best movies for one user."""
    collection = files.collection
    profile = resolve_profile(model, files, options)
    options = complete_options(files, options, [profile])
    if options.why and not has_reasons(model, profile, options.by):
        raise RecommenderError(f"nothing stated determines the order by {options.by}; leave out --why")
    found = next(recommend(model, collection, [profile], build_query(collection, options)))
    columns = output_columns(options.by, options.why, model.has_links)
    rows = [to_row(rank, recommendation) for rank, recommendation in enumerate(found)]
    heading = [f"rows in collection {ALIAS}: {collection.num_movies}", f"recommended for: {profile.description}"]
    is_original = options.by == "stars" and not options.why and not profile.history
    print_list(collection, options, [profile], columns, rows, heading, is_original)


def recommend_for_group(model: SavedModel, files: FilmFiles, options: QueryOptions) -> None:
    """Prints the best movies for several users together."""
    collection = files.collection
    group = resolve_group(model, files, options)
    profiles = list(group.values())
    options = complete_options(files, options, profiles)
    found = recommend_together(model, collection, profiles, build_query(collection, options))
    rows = [to_group_row(rank, dict(zip(group, each, strict=True))) for rank, each in enumerate(found)]
    heading = [
        describe_similarities(list(group), taste_similarities(model, collection, profiles)),
        f"rows in collection {ALIAS}: {collection.num_movies}",
        *(
            f"recommended for: {name}: {profile.description.removeprefix(f'{name}: ')}"
            for name, profile in group.items()
        ),
    ]
    print_list(collection, options, profiles, group_columns(group, options.by, model.has_links), rows, heading)


def describe_similarities(names: Sequence[str], similarities: np.ndarray) -> str:
    """Returns how alike the tastes of each two users are, in words."""
    pairs = combinations(range(len(names)), 2)
    shown = ", ".join(f"{names[one]} and {names[other]} {similarities[one, other]:.2f}" for one, other in pairs)
    return f"how alike tastes are, from -1 to 1: {shown}"


def print_list(
    collection: MovieCollection,
    options: QueryOptions,
    profiles: Sequence[UserProfile],
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    heading: Sequence[str],
    is_original: bool = False,
) -> None:
    """Prints a list in the format that is asked for; a table in that of the original if it has no other columns."""
    if options.format == "json":
        is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
        print(format_json(columns, rows, ascii_only=not is_unicode))
    elif options.format == "csv":
        write_csv(sys.stdout, columns, rows)
    else:
        print(*heading, sep="\n")
        print(format_original_table(rows) if is_original else format_table(columns, rows))
    if len(rows) < options.top_k:
        exclude_ids = excluded_for_any(profiles)
        shortfall = explain_shortfall(collection, options.movie_filter, bool(exclude_ids), exclude_ids)
        print(f"Only {len(rows)} of {options.top_k}: {shortfall}.", file=sys.stderr)


def explain_shortfall(
    collection: MovieCollection, movie_filter: MovieFilter, excludes_seen: bool, exclude_ids: Collection[int] = ()
) -> str:
    """Returns why there are fewer movies than asked for."""
    num_more = collection.count_below_min_ratings(movie_filter, exclude_ids)
    if num_more == 0:
        return "no more movies match" + (" that were not seen" if excludes_seen else "")
    fewer = f"fewer than {pluralize(movie_filter.min_ratings or 0, 'rating')}"
    return f"{pluralize(num_more, 'more movie')} would match with {fewer}; try --min-ratings 0"


def predict_one(
    model: SavedModel, files: FilmFiles, towers: Sequence[Callable[..., Any]], options: QueryOptions
) -> None:
    """Prints the predicted rating of one movie twice, through Milvus and by the towers in Paddle."""
    from recommender.stars.embed import embed_movies, embed_profiles

    collection = files.collection
    text = options.movie or ""
    movie_id = find_movie(collection, ID_PREFIX + text if text.isdecimal() else text).movie_id
    profile = replace(resolve_profile(model, files, options), exclude_ids=frozenset())
    stored = collection.fetch({movie_id, *profile.new_ratings})
    query = Query("stars", 1, is_in("id", [movie_id]))
    [found] = next(recommend(model, collection, [profile], query))
    user_tower, movie_tower = towers
    features = encode_movies([movie.movie for movie in stored.values()], model.vocabularies)
    movie_vectors = dict(zip(stored, embed_movies(movie_tower, features), strict=True))
    profile_vector = embed_profiles(user_tower, model.profiles[[profile.row]])[0]
    vector = rating_vector(model, profile, profile_vector, movie_vectors)
    print(f"{profile.description} on {movie_id} {found.movie.title}, in stars")
    print(f"predicted, through Milvus\t{found.predicted_rating:.4f}")
    print(f"predicted, by Paddle\t\t{predict_rating(model, profile, vector, movie_vectors[movie_id]):.4f}")
    if options.user is not None:
        print(f"actual\t\t\t\t{actual_rating(model, options.user, movie_id)}")


def actual_rating(model: SavedModel, user_id: int, movie_id: int) -> str:
    """Returns the rating of a user of the training data in words."""
    ratings = model.ratings_of(user_id)
    rated = ratings[ratings["movie_id"] == movie_id]
    if len(rated) == 0:
        return "not rated"
    return f"{rated[0]['rating']:g} ({'a test row' if rated[0]['held_out'] else 'seen in training'})"


def recommend_many(model: SavedModel, files: FilmFiles, options: QueryOptions) -> None:
    """Writes the best movies for each of many users to a CSV file, atomically."""
    collection = files.collection
    users, load_profile = resolve_users(model, files, options)
    options = complete_options(files, options, map(load_profile, users))
    results = recommend(model, collection, map(load_profile, users), build_query(collection, options))
    columns = [name for name in output_columns(options.by, options.why, model.has_links) if name not in VERBOSE_COLUMNS]
    columns = ["user_id", *columns]
    num_short = 0
    output = options.output or STANDARD_STREAM
    with atomic_write(output) as file:
        write_csv(file, columns, [])
        progress = tqdm(results, total=len(users), unit="user", disable=None, smoothing=0)
        for user, found in zip(users, progress, strict=True):
            num_short += len(found) < options.top_k
            rows = [{"user_id": user, **to_row(rank, movie)} for rank, movie in enumerate(found)]
            write_csv(file, columns, rows, header=False)
    log = sys.stderr if output == STANDARD_STREAM else sys.stdout
    print(
        f"recommendations for {pluralize(len(users), 'user')}, ordered by {options.by}, written to {output}", file=log
    )
    if num_short:
        shortfall = explain_shortfall(collection, options.movie_filter, not options.include_seen)
        fewer = f"{pluralize(num_short, 'user')} got fewer than {pluralize(options.top_k, 'movie')}"
        print(f"{fewer}: {shortfall}.", file=sys.stderr)


def resolve_users(
    model: SavedModel, files: FilmFiles, options: QueryOptions
) -> tuple[Sequence[Any], Callable[[Any], UserProfile]]:
    """Returns the users that --users names, by id or name, and a function that returns the profile of one."""

    def load_registered(user_id: int) -> UserProfile:
        return UserProfile.from_user(model, user_id, options.include_seen)

    if not isinstance(options.users, Path):
        return model.user_ids.tolist(), load_registered
    users = files.load_new_users(options.users)
    if isinstance(users, dict):
        if options.include_seen:
            raise RecommenderError(
                "--include-seen is for users of the training data; new users never get what they rated"
            )
        anyone = UserProfile.from_demographics(model)
        return list(users), lambda user: anyone.with_ratings(users[user])
    for user_id in users:
        model.profile_row(user_id)  # Raises for an unknown id, before anything is written.
    return users, load_registered


def answer(options: QueryOptions) -> None:
    """Loads the model, builds the collection if asked to, and answers the query."""
    model = load_model(options.model)
    catalogue, towers = None, []
    if options.infer:
        catalogue = embed_catalogue(model, read_movies_data(options.movies_data, model.fingerprint)[0])
        print("get infer vectors finished!", file=sys.stderr)
    if options.movie is not None:
        from recommender.stars.embed import load_tower

        towers = [load_tower(model.tower_path(name)) for name in ("user_tower", "movie_tower")]
    with MilvusConnection(options.uri, options.token, options.tls_ca, options.wait, create=options.infer) as connection:
        print("Server connected." if connection.is_server else "Milvus Lite opened.", file=sys.stderr)
        if catalogue:
            build_collection(connection, catalogue, options.index)
        collection = MovieCollection(connection, model.fingerprint, load_training_titles=lambda: model.titles)
        with FilmFiles(collection, options.unmatched) as files:
            if options.users is not None:
                recommend_many(model, files, options)
            elif options.movie is not None:
                predict_one(model, files, towers, options)
            elif options.together:
                recommend_for_group(model, files, options)
            else:
                recommend_one(model, files, options)
    if model.notice:
        print(model.notice, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse_args(argv)
    return run_and_report(lambda: answer(options), options.paths.command)


if __name__ == "__main__":
    run_main(main)
