"""Step three: puts the movies into Milvus (-i) and finds the ones that suit a person best."""

if __name__ == "__main__":
    from recommender.cli.process import start

    start()

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from recommender.cli.arguments import (
    LITE_URI,
    MODEL_FOLDER,
    MOVIES_DATA,
    Places,
    age,
    choice,
    create_parser,
    number,
    path,
    plain_text,
    run,
    span_of_years,
)
from recommender.cli.output import IN_FULL, as_json, as_table, columns_of, record, write_csv
from recommender.cli.process import finish
from recommender.data.features import encode_movies, read_movies_data
from recommender.data.movielens import AGE_LABELS, GENDER_LABELS, OCCUPATIONS
from recommender.data.ratings_csv import find_films, parse_user_ids, parse_visitor_ratings
from recommender.errors import counted
from recommender.files import STANDARD_STREAM, read_bytes, written_whole
from recommender.index.build import BUILD_PARAMETERS, EXACT_UP_TO, build_index, embed_catalogue
from recommender.index.collection import ALIAS, MAX_TOP_K, MovieIndex
from recommender.index.connection import Milvus, without_password
from recommender.inference.model_folder import SavedModel, load_model
from recommender.inference.recommend import (
    WEIGHTS,
    Person,
    Wish,
    explain_few,
    find_movie,
    person_of,
    recommend,
    score_of,
    stars_vector,
)

INDEX_RULE = f"HNSW is for servers, and their default beyond {EXACT_UP_TO:,} movies"
DEFAULT_TOP_K = 5
DEFAULT_MIN_RATINGS = 50


def _numbered(labels: Sequence[str]) -> str:
    return "\n".join(f"  {index:>2}  {label}" for index, label in enumerate(labels))


EPILOG = f"""\
examples:
  python infer_milvus.py -a 0 -g 1 -j 10 -i             index the movies, then recommend
  python infer_milvus.py -a 25-34 -g F -j programmer    labels work as well as numbers
  python infer_milvus.py -a 6 -k 20                     what is left out is unknown
  python infer_milvus.py --like alien --like "blade runner" --why
                                                        by titles, parts of them, or ids like id:1214
  python infer_milvus.py -a 30 -g F --like "toy story" --seen "pretty woman"
  python infer_milvus.py --ratings data/sample/my_ratings.csv          what you rated, as a CSV file
  python infer_milvus.py --user 42                      a user of the training data, without what they rated
  python infer_milvus.py --user 1 --movie 783           the predicted rating of one movie; -a, -g and -j do too
  python infer_milvus.py -g F --genre War --genre Western --year 1950-1969 --by picks
  python infer_milvus.py --users all -k 10 --output recommendations.csv
  python infer_milvus.py -g 0 --uri http://127.0.0.1:19530

ages, by number or label; more than {len(AGE_LABELS) - 1} is an age in years:
{_numbered(AGE_LABELS)}
genders:
{_numbered(GENDER_LABELS)}
jobs:
{_numbered(OCCUPATIONS)}

Score is the predicted rating in stars: five times the cosine of user and movie vector. Pick says how likely the person
is to pick the movie. Of a person of whom no films are known, the order is that of the stars; where films are known, it
is that of both, and --by chooses otherwise.

environment: RECOMMENDER_MILVUS_URI, RECOMMENDER_MILVUS_TOKEN and RECOMMENDER_MILVUS_TLS_CA stand for --uri, --token and
--tls-ca."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line; exits with 2 where it is wrong."""
    parser = create_parser(__doc__, EPILOG)
    person = parser.add_argument_group("for whom")
    person.add_argument("-a", "--age", type=age, help="age group, as listed below")
    person.add_argument("-g", "--gender", type=choice("gender", GENDER_LABELS), help="0 or M, 1 or F")
    person.add_argument("-j", "--job", type=choice("job", OCCUPATIONS), help="job, as listed below")
    titles: dict[str, Any] = {"action": "append", "default": [], "type": plain_text, "metavar": "TITLE"}
    person.add_argument("--like", **titles, help="a film that they liked; may be repeated")
    person.add_argument("--seen", **titles, help="a film that they know and did not like much; may be repeated")
    person.add_argument("--ratings", type=path, metavar="FILE", help="what they rated: CSV with title, rating, year")
    person.add_argument("--user", type=number(int, 1), help="a user of the training data, by id")
    many = "many at once, into --output: everyone, users' ids a line each, or ratings with a column user"
    person.add_argument("--users", metavar="FILE|all", help=many)
    wanted = parser.add_argument_group("what")
    wanted.add_argument("-k", "--top-k", type=number(int, 1, MAX_TOP_K), help=f"how many (default: {DEFAULT_TOP_K})")
    wanted.add_argument("--by", choices=list(WEIGHTS), help="order by predicted stars, by likely picks, or by both")
    wanted.add_argument("--why", action="store_true", help="say what speaks for each movie that they might pick")
    wanted.add_argument("--movie", type=number(int, 1), help="only the predicted rating of this movie, by id")
    wanted.add_argument("--genre", action="append", default=[], type=plain_text, help="of any genre given; repeatable")
    wanted.add_argument("--year", type=span_of_years, default=(None, None), help="of 1994, 1990-1999, 1990- or -1960")
    least = f"least number of training ratings (default: {DEFAULT_MIN_RATINGS} by stars, else 0)"
    wanted.add_argument("--min-ratings", type=number(int, 0), help=least)
    wanted.add_argument("--include-seen", action="store_true", help="with --user: also what they rated in training")
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=["table", "json", "csv"], default="table", help="(default: %(default)s)")
    output.add_argument("--output", type=path, help="the CSV file that --users writes; - is standard output")
    storage = parser.add_argument_group("where things are")
    storage.add_argument("-i", "--infer", action="store_true", help="first put the movies of --movies-data into Milvus")
    storage.add_argument("--index", type=str.upper, choices=sorted(BUILD_PARAMETERS), help=f"with -i; {INDEX_RULE}")
    storage.add_argument("--model", type=path, default=MODEL_FOLDER, help="model folder (default: %(default)s)")
    storage.add_argument("--movies-data", type=path, default=MOVIES_DATA, help="of step two (default: %(default)s)")
    uri = os.environ.get("RECOMMENDER_MILVUS_URI") or LITE_URI
    storage.add_argument("--uri", default=uri, help=f"Milvus Lite path or server address (default: {LITE_URI})")
    token = os.environ.get("RECOMMENDER_MILVUS_TOKEN", "")
    storage.add_argument("--token", default=token, help="user:password; better put it into the environment")
    storage.add_argument("--tls-ca", type=path, metavar="FILE", help="certificate of the authority of an https server")
    storage.add_argument("--wait", type=number(float, 0, 86_400), default=0, metavar="SECONDS", help="for Milvus")
    args = parser.parse_args(argv)
    authority = os.environ.get("RECOMMENDER_MILVUS_TLS_CA")
    if args.tls_ca is None and authority and args.uri.startswith("https://"):
        args.tls_ca = path(authority)
    for refused, message in _refusals(args):
        if refused:
            parser.error(message)
    args.top_k = args.top_k or DEFAULT_TOP_K
    if args.by is None:
        args.by = "both" if args.user or args.users or args.ratings or args.like or args.seen else "stars"
    if args.min_ratings is None:
        args.min_ratings = DEFAULT_MIN_RATINGS if args.by == "stars" else 0
    args.places = Places(
        model=args.model, movies_data=args.movies_data, uri=without_password(args.uri), tls_ca=args.tls_ca
    )
    return args


def _refusals(args: argparse.Namespace) -> list[tuple[object, str]]:
    """Returns which options do not go together, each with what to do."""
    described = (args.age, args.gender, args.job) != (None, None, None)
    filtered = args.genre or args.year != (None, None) or args.min_ratings is not None
    formatted = args.format != "table"
    known = args.user or args.users
    told = args.like or args.seen
    return [
        (known and described, "--user and --users bring their own age, gender and job; leave out -a, -g and -j"),
        (known and args.ratings, "--user and --users bring their own ratings; leave out --ratings"),
        (args.user and args.users, "--user asks for one user, --users for many; give one of them"),
        (
            bool(args.users) != bool(args.output),
            "--users and --output go together: the users to ask for, and the CSV file to write",
        ),
        (
            args.users and (args.movie or told or formatted),
            "--users writes a CSV of everyone's own movies; leave out --movie, --like, --seen and --format",
        ),
        (
            args.movie and (told or filtered or args.top_k or args.by or args.why or formatted),
            "--movie predicts one rating; leave out films, filters, -k, --by, --why and --format",
        ),
        (args.index and not args.infer, "--index chooses how -i builds; add -i"),
        (
            args.tls_ca and not args.uri.startswith("https://"),
            "--tls-ca goes with an address in --uri that begins with https://",
        ),
        (args.tls_ca and not args.tls_ca.is_file(), f"--tls-ca: there is no file {args.tls_ca}"),
        (
            args.include_seen and (args.movie or not known),
            "--include-seen is about the movies that --user or --users rated",
        ),
    ]


def wish_of(index: MovieIndex, args: argparse.Namespace) -> Wish:
    """Returns what the options ask for."""
    return Wish(args.by, args.top_k, index.where(args.genre, args.year, args.min_ratings), args.why)


def ask_as(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> Person:
    """Returns who the options describe, and says which films of a file are known."""
    liked, seen = ([find_movie(index, text) for text in texts] for texts in (args.like, args.seen))
    ratings: dict[int, float] = {}
    if args.ratings:
        raw = read_bytes(args.ratings, "--ratings takes a CSV file of ratings")
        films = find_films(index, parse_visitor_ratings(raw, str(args.ratings)))
        ratings = films.of_each().get("", {})
        print(f"{args.ratings}: {films}", file=sys.stderr)
    person = person_of(
        model,
        args.user,
        (args.gender, args.age, args.job),
        ratings,
        [title.movie_id for title in liked],
        [title.movie_id for title in seen],
        args.include_seen or args.movie is not None,
    )
    told = [
        f"; {verb} {', '.join(title.title for title in titles)}"
        for verb, titles in (("likes", liked), ("knows", seen))
        if titles
    ]
    return person._replace(name=person.name + "".join(told))


def recommend_one(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Prints the movies that suit a person best."""
    person = ask_as(model, index, args)
    found = next(recommend(model, index, [person], wish_of(index, args)))
    columns = columns_of(args.by, args.why)
    records = [record(top, one) for top, one in enumerate(found)]
    if args.format == "json":
        print(as_json(columns, records))
    elif args.format == "csv":
        write_csv(sys.stdout, columns, records)
    else:
        print(f"recommended for: {person.name}")
        print(as_table(columns, records))
    if len(found) < args.top_k:
        why = explain_few(index, args.genre, args.year, args.min_ratings)
        print(f"Only {len(found)} of {args.top_k}: {why}.", file=sys.stderr)


def predict_one(
    model: SavedModel, index: MovieIndex, towers: Sequence[Callable[..., Any]], args: argparse.Namespace
) -> None:
    """Prints the predicted rating of one movie twice, through Milvus and by the towers in Paddle."""
    from recommender.training.two_tower import embed_movies, embed_people

    person = ask_as(model, index, args)
    stored = index.fetch({args.movie, *person.ratings})
    wish = Wish("stars", 1, f"id == {args.movie}")
    [found] = next(recommend(model, index, [person._replace(left_out=[])], wish))
    user_tower, movie_tower = towers
    features = encode_movies([one.movie for one in stored.values()], model.vocabularies)
    movie_vectors = dict(zip(stored, embed_movies(movie_tower, features), strict=True))
    described = embed_people(user_tower, model.arrays.people[[person.row]])[0]
    vector = stars_vector(model, person, described, movie_vectors)
    print(f"{person.name} on {args.movie} {found.movie.title}, in stars")
    print(f"predicted, through Milvus\t{found.score:.4f}")
    print(f"predicted, by Paddle\t\t{score_of(person, vector, movie_vectors[args.movie]):.4f}")
    if args.user:
        ratings = model.ratings_of(args.user)
        rated = ratings[ratings["movie_id"] == args.movie]
        actual = "not rated"
        if len(rated):
            actual = f"{rated[0]['rating']} ({'a test row' if rated[0]['held_out'] else 'seen in training'})"
        print(f"actual\t\t\t\t{actual}")


def people_of(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> dict[str, Person]:
    """Returns everyone whom --users means, by user id or name."""
    file = path(args.users)
    user_ids = model.arrays.user_ids.tolist()
    if args.users != "all":
        raw = read_bytes(file, "--users takes users' ids, a line each, a CSV file of ratings, or all")
        if b"," in raw.partition(b"\n")[0]:
            visitors = parse_visitor_ratings(raw, str(file), of_many=True)
            films = find_films(index, visitors)
            print(f"{file}: {films}", file=sys.stderr)
            rated = films.of_each()
            return {user: person_of(model, ratings=rated.get(user, {})) for user in visitors.user.unique()}
        user_ids = parse_user_ids(raw, str(file))
    return {str(user_id): person_of(model, user_id, include_seen=args.include_seen) for user_id in user_ids}


def recommend_many(model: SavedModel, index: MovieIndex, args: argparse.Namespace) -> None:
    """Writes the movies that suit each of many users best to a CSV file, whole or not at all."""
    people = people_of(model, index, args)
    answers = recommend(model, index, list(people.values()), wish_of(index, args))
    columns = ["user_id", *(name for name in columns_of(args.by, args.why) if name not in IN_FULL)]
    short = 0
    with written_whole(args.output) as file:
        write_csv(file, columns, [])
        for user, found in zip(people, tqdm(answers, total=len(people), unit="user", disable=None), strict=True):
            short += len(found) < args.top_k
            records = [{"user_id": user, **record(top, one)} for top, one in enumerate(found)]
            write_csv(file, columns, records, header=False)
    log = sys.stderr if args.output == STANDARD_STREAM else sys.stdout
    print(f"recommendations for {counted(len(people), 'user')} written to {args.output}", file=log)
    if short:
        print(f"{short:,} of them have fewer than {counted(args.top_k, 'movie')}: no more fit.", file=sys.stderr)


def answer(args: argparse.Namespace) -> None:
    """Loads the model, indexes the movies if asked to, and answers."""
    model = load_model(args.model)
    catalogue, towers = None, []
    if args.infer:
        catalogue = embed_catalogue(model, read_movies_data(args.movies_data, model.vocabularies))
        print("get infer vectors finished!", file=sys.stderr)
    if args.movie:
        towers = [model.load_tower(name) for name in ("user_tower", "movie_tower")]
    with Milvus(args.uri, args.token, args.tls_ca, args.wait, create=args.infer) as milvus:
        print("Server connected." if milvus.is_server else "Milvus Lite opened.", file=sys.stderr)
        if catalogue:
            build_index(milvus, catalogue, args.index)
        index = MovieIndex(milvus, model.fingerprint)
        if args.format == "table":
            print(f"rows in collection {ALIAS}: {index.count}")
        if args.users:
            recommend_many(model, index, args)
        elif args.movie:
            predict_one(model, index, towers, args)
        else:
            recommend_one(model, index, args)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = parse_args(argv)
    return run(lambda: answer(args), args.places)


if __name__ == "__main__":
    finish(main)
