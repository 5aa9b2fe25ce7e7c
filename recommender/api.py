"""Recommender: the object behind `infer_milvus.py` and `from recommender import Recommender`."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

from recommender.embed import embed_catalogue, paddle_score
from recommender.errors import RecommenderError, UsageError, pluralize
from recommender.files import PathArg, Workdir
from recommender.film_files import FilmFiles
from recommender.films.matching import find_title
from recommender.films.titles import display_name
from recommender.lists import Query, Recommendation, describe, encode_users, explain_shortfall, recommend
from recommender.milvus.build import build_collection
from recommender.milvus.collection import MAX_TOP_K, MovieCollection, batches
from recommender.milvus.connection import MilvusConnection
from recommender.questions import Questions
from recommender.reasons import has_reasons, split_question
from recommender.stars.predict import COSINE_SCALE
from recommender.store import SavedModel
from recommender.vectors import split

COLUMNS = ["top", "movie_id", "title", "year", "genres", "score", "pick", "ratings"]
"""Those of every list; more where there is more to say."""
OWN_COLUMNS = ["score", "pick", "similar", "why"]
"""Those that differ between the users of a shared list."""
USER_BATCH = 1000
"""Number of users that are searched for at once."""

log = logging.getLogger("recommender")


class Prediction(NamedTuple):
    """What a user would think of one movie."""

    user: str
    movie: Recommendation
    by: str
    """The ranking of the user's list, a key of `RANKINGS`."""
    place: int | None
    """The movie's place on that list, from 1, among movies that the user has not seen; None if it is not found."""
    actual: str
    """The rating that the user gave, in words, or ""."""
    milvus_score: float
    """Unclipped, from the vectors in Milvus."""
    paddle_score: float | None
    """The same by Paddle's towers; None if it was not asked for."""


class Recommender(AbstractContextManager["Recommender"]):
    """Recommends movies to any number of visitors from one working folder.

    Example:
        >>> movies = Recommender.open("small")
        >>> movies.recommend(ratings="letterboxd-export.zip", year="2000-", k=5)
        >>> movies.similar("stalker")
        >>> movies.together([{"user": 42}, {"ratings": "partner.csv"}])

    Results are pandas DataFrames, best movie first; their `attrs` say for whom and in which order. Notes, such as how
    many films of a file were matched, go to the logger `recommender`. An open object holds a Milvus Lite database:
    other processes wait until it is closed. A wrong argument raises a UsageError, which is a RecommenderError.
    """

    def __init__(self, model: SavedModel, connection: MilvusConnection) -> None:
        self.model = model
        self.collection = MovieCollection(connection, model.fingerprint)
        self.films = FilmFiles(self.collection.titles)
        """Reads files of films; `films.matches` says which movie each of their rows became."""
        self._questions = Questions(model, self.collection, self.films)

    @classmethod
    def open(
        cls,
        workdir: PathArg = ".",
        *,
        uri: str | None = None,
        token: str = "",
        tls_ca: PathArg = "",
        wait: float | None = None,
        build: bool = False,
    ) -> Self:
        """Opens the folder that the three commands filled.

        Args:
            workdir: The folder.
            uri: A server's address or a Milvus Lite folder; by default the Milvus Lite folder in `workdir`.
            token: `user:password` of a server.
            tls_ca: The certificate file of the authority of an https server.
            wait: Seconds to wait for Milvus.
            build: Whether to insert the movies of `movies_data.txt` first; needs Paddle.

        Raises:
            RecommenderError: A step has not been run yet, or Milvus does not answer. The message has the remedy.
        """
        folder = Workdir(Path(workdir))
        try:
            model = SavedModel(folder.model)
            content = embed_catalogue(model, folder.movies_data) if build else None
            connection = MilvusConnection(uri or str(folder.database), token, tls_ca, wait, create=build)
            try:
                if content:
                    build_collection(connection, *content, model.fingerprint)
                return cls(model, connection)
            except BaseException:
                connection.close()  # Otherwise no other process could build the collection anew.
                raise
        except RecommenderError as error:
            error.command = folder.command
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection to Milvus."""
        self.collection.connection.close()

    def recommend(
        self,
        *,
        age: int | str | None = None,
        gender: int | str | None = None,
        job: int | str | None = None,
        user: int | None = None,
        like: str | Sequence[str] = (),
        seen: str | Sequence[str] = (),
        ratings: PathArg | Sequence[PathArg] = (),
        include_seen: bool = False,
        **order: Any,
    ) -> pd.DataFrame:
        """Returns the best movies for a user; what is left out is unknown.

        Args:
            age: An age group or an age in years; a label or its number, as `infer_milvus.py --help` lists them.
            gender: `M` or `F`.
            job: A job, by label or number.
            user: The id of a user of the training data, in place of age, gender, job and ratings.
            like: Films that the user likes: titles, parts of one, or ids like `id:1214`.
            seen: Films that the user has seen and not liked much.
            ratings: Files of ratings: exports of Letterboxd, IMDb, Trakt and others, or a table.
            include_seen: Whether to list movies too that a user of the training data rated.
            **order: Which movies, in which order: `k`, `skip`, `by`, `variety`, `novelty`, `why`, `genre`,
                `not_genre`, `year`, `min_ratings`, `max_ratings`, `among`, `not_among`, see `Questions.query`.

        Raises:
            UsageError: An argument is wrong.
            RecommenderError: A title or a file cannot be matched.
        """
        profile = self._questions.profile(age, gender, job, user, like, seen, ratings, include_seen)
        query, movie_filter = self._questions.query([profile], **order)
        if query.explain and not has_reasons(self.model, profile, query.ranking):
            raise UsageError(f"why: nothing that is known of the user determines the order by {query.ranking}")
        [found] = recommend(self.model, self.collection, [profile], query)
        explain_shortfall(self.collection, query, movie_filter, len(found))
        return self._frame(self._rows(found, query), query, profile.description)

    def similar(self, *titles: str, **order: Any) -> pd.DataFrame:
        """Returns the movies that are most like some movies; `order` as of `recommend`."""
        return self.recommend(like=titles, **{"by": "similar", "k": 10, **order})

    def together(self, people: Sequence[Mapping[str, Any]], names: Sequence[str] = (), **order: Any) -> pd.DataFrame:
        """Returns movies for several users together, by Pick where films are known, with the Score and Pick of each.

        Args:
            people: The users, each as the arguments of `recommend` that say who it is, such as `{"user": 42}`.
            names: Their names in the columns; "user 42" or a number from 1 by default.
            **order: As of `recommend`.
        """
        numbered = enumerate(people, 1)
        names = names or [f"user {person['user']}" if "user" in person else str(number) for number, person in numbered]
        if len(people) < 2 or len(set(names)) != len(people):
            raise UsageError("people: name two or more, and give each a name of their own")
        profiles = [self._questions.profile(**person) for person in people]
        by = "picks" if any(profile.history for profile in profiles) else "stars"
        query, movie_filter = self._questions.query(profiles, **{**order, "by": order.get("by") or by})
        query = query._replace(is_shared=True)
        lists = recommend(self.model, self.collection, profiles, query)
        explain_shortfall(self.collection, query, movie_filter, len(lists[0]))
        users = {name: profile.description for name, profile in zip(names, profiles, strict=True)}
        views = [self._frame(self._rows(found, query), query, users) for found in lists]
        shared = views[0].drop(columns=OWN_COLUMNS, errors="ignore")
        for name, view in zip(names, views, strict=True):
            shared = shared.join(view.filter(OWN_COLUMNS).add_prefix(f"{name}: "))
        return shared

    def recommend_many(
        self, users: PathArg | Iterable[int] = "all", *, include_seen: bool = False, **order: Any
    ) -> tuple[int, Iterator[pd.DataFrame]]:
        """Returns the number of users, and the best movies for each in DataFrames of up to a thousand users.

        Args:
            users: `"all"` users of the training data, their ids, a file of ids, or a table of new users' ratings with
                a column `user`.
            include_seen: As of `recommend`.
            **order: As of `recommend`.
        """
        names, load_profile = self._questions.users(users, include_seen)
        query, _ = self._questions.query(map(load_profile, names), **order)

        def frames() -> Iterator[pd.DataFrame]:
            num_short = 0
            for batch in batches(names, USER_BATCH):
                lists = recommend(self.model, self.collection, [*map(load_profile, batch)], query)
                rows: list[dict[str, Any]] = []
                for name, found in zip(batch, lists, strict=True):
                    num_short += len(found) < query.k
                    rows += [{"user_id": name, **row} for row in self._rows(found, query)]
                yield self._frame(rows, query, f"{len(batch)} users")
            if num_short:
                log.warning("%s got fewer than %s", pluralize(num_short, "user"), pluralize(query.k, "movie"))

        return len(names), frames()

    def predict(
        self, movie: str | int, *, by: str | None = None, novelty: float = 0, check: bool = False, **person: Any
    ) -> Prediction:
        """Returns what a user would think of one movie; `person` says who, as of `recommend`.

        Args:
            movie: A title, a part of one, or an id.
            by: The order of the list on which its place is given, as of `recommend`.
            novelty: As of `recommend`.
            check: Whether to compute the score by Paddle's towers too.
            **person: Who asks.
        """
        name = f"id:{movie}" if str(movie).isdecimal() else str(movie)
        movie_id = find_title(name, self.collection.titles).movie_id
        profile = self._questions.profile(**person)
        query, _ = self._questions.query([profile], by=by, novelty=novelty)
        [user] = encode_users(self.model, self.collection, [profile], query)
        stored = self.collection.fetch({movie_id, *profile.new_ratings})
        explain = has_reasons(self.model, profile, query.ranking)
        parts = split_question(self.model, self.collection, profile, query.ranking) if explain else None
        view = describe(self.model, stored[movie_id], user, parts)
        rivals = profile.exclude_ids - {movie_id}
        [hits] = self.collection.search(user.query(query.ranking)[None], MAX_TOP_K, query.filter, [rivals])
        place = next((place for place, found in enumerate(hits, 1) if found == movie_id), None)
        actual = f"{profile.new_ratings[movie_id]:g} (in your ratings)" if movie_id in profile.new_ratings else ""
        if profile.user_id is not None:
            actual = self.model.describe_rating(profile.user_id, movie_id)
        milvus_score = COSINE_SCALE * float(user.rating @ split(stored[movie_id].vector)[0])
        by_paddle = paddle_score(self.model, profile, movie_id, stored) if check else None
        return Prediction(profile.description, view, query.ranking, place, actual, milvus_score, by_paddle)

    def _rows(self, found: Sequence[Recommendation], query: Query) -> list[dict[str, Any]]:
        """Returns recommendations as values by column name."""
        rows = []
        for rank, view in enumerate(found, query.skip):
            movie = view.movie
            row = {"top": rank, "movie_id": movie.movie_id, "title": display_name(movie.name), "year": movie.year}
            row["genres"] = "|".join(movie.genres)
            if self.model.facts.has_links:
                row |= {"imdb_id": movie.imdb_id or None, "tmdb_id": movie.tmdb_id or None}
            row |= {"score": round(view.score, 4), "pick": round(view.pick, 4)}
            if query.ranking == "similar":
                row["similar"] = round(view.similarity, 4)
            row["ratings"] = view.num_ratings
            if query.explain:
                row["why"] = ", ".join(f"{reason.label} {reason.contribution:+.2f}" for reason in view.reasons)
            rows.append(row)
        return rows

    def _frame(self, rows: list[dict[str, Any]], query: Query, user: Any) -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=None if rows else COLUMNS)
        nullable = {"year": "Int64", "imdb_id": "string", "tmdb_id": "Int64"}
        frame = frame.astype({name: kind for name, kind in nullable.items() if name in frame})
        frame.attrs.update(by=query.ranking, movies=self.collection.num_movies, user=user)
        return frame
