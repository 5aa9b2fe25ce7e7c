"""Invents a data set of any size in the layout of ml-32m; scale.py, which writes it, shows how the commands scale.

Popularity falls as a power of rank, as in ml-1m; tastes are a few hidden dimensions; ratings have half stars. Each pair
of a user and a movie is there at most once, so there are a little fewer ratings. One seed, one set of files.
"""

from pathlib import Path

import numpy as np

GENRES = (
    "Action Adventure Animation Comedy Crime Drama Fantasy Horror Musical Mystery Romance Sci-Fi Thriller War".split()
)
SYLLABLES = [f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("l", "n", "r", "sta", "mo", "ki")]
NUM_WORDS = 20_000
NUM_TASTES = 8
CHUNK = 1_000_000


def write_data(folder: Path, num_movies: int, num_users: int, num_ratings: int, seed: int = 0) -> None:
    """Writes movies.csv, links.csv and ratings.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    _write_movies(folder, num_movies, random)
    _write_ratings(folder / "ratings.csv", num_movies, num_users, num_ratings, random)


def _write_movies(folder: Path, num_movies: int, random: np.random.Generator) -> None:
    """Writes titles of two to four invented words, ids from 1."""
    words = [f"{first.capitalize()}{second}" for first in SYLLABLES for second in SYLLABLES][:NUM_WORDS]
    lengths, years = random.integers(2, 5, num_movies), random.integers(1920, 2026, num_movies)
    picks, kinds = random.integers(0, len(words), (num_movies, 4)), random.integers(0, len(GENRES), (num_movies, 2))
    with (folder / "movies.csv").open("w") as movies, (folder / "links.csv").open("w") as links:
        movies.write("movieId,title,genres\n")
        links.write("movieId,imdbId,tmdbId\n")
        for row in range(num_movies):
            title = " ".join(words[pick] for pick in picks[row, : lengths[row]])
            genres = "|".join(sorted({GENRES[kind] for kind in kinds[row]}))
            movies.write(f"{row + 1},{title} ({years[row]}),{genres}\n")
            links.write(f"{row + 1},{row + 1:07},{row + 1}\n")


def _write_ratings(path: Path, num_movies: int, num_users: int, num_ratings: int, random: np.random.Generator) -> None:
    """Writes ratings: a movie's quality, how it meets the user's taste, and noise."""
    popularity = random.permutation(1 / (np.arange(num_movies) + num_movies / 100) ** 0.9).cumsum()
    quality = random.normal(3.5, 0.4, num_movies)
    tastes, kinds = random.normal(size=(num_users, NUM_TASTES)), random.normal(size=(num_movies, NUM_TASTES))
    counts = np.full(num_users, num_ratings // num_users)
    counts[: num_ratings % num_users] += 1
    step = max(1, CHUNK // max(1, num_ratings // num_users))
    with path.open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for start in range(0, num_users, step):
            user = np.repeat(np.arange(start, min(num_users, start + step)), counts[start : start + step])
            movie = np.searchsorted(popularity, popularity[-1] * random.random(len(user)))
            user, movie = np.unique(np.stack([user, movie]), axis=1)
            liking = np.einsum("ij,ij->i", tastes[user], kinds[movie]) / np.sqrt(NUM_TASTES)
            stars = quality[movie] + 0.7 * liking + random.normal(0, 0.6, len(user))
            stars = np.clip(np.rint(2 * stars) / 2, 0.5, 5)
            rows = zip((user + 1).tolist(), (movie + 1).tolist(), stars.tolist(), strict=True)
            file.write("".join(f"{u},{m},{r:g},978300760\n" for u, m, r in rows))
