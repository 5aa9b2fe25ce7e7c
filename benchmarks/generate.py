"""Invents a data set of any size in the layout of ml-1m or ml-32m, to see how the commands scale.

    python benchmarks/generate.py big --movies 100000 --users 60000 --ratings 10000000
    python benchmarks/generate.py huge --layout csv --movies 87585 --users 200948 --ratings 32000204
    python train.py --data-dir huge

Popularity falls as a power of rank, as in ml-1m; tastes are a few hidden dimensions. One seed, one set of files.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

GENRES = (
    "Action|Adventure|Animation|Comedy|Crime|Drama|Fantasy|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War".split(
        "|"
    )
)
WORDS = 20_000
TASTES = 8
CHUNK = 1_000_000


def rank_weights(count: int, random: np.random.Generator) -> np.ndarray:
    """Returns float64[count] that sums to 1: popularities, in no particular order."""
    weights = 1 / (np.arange(count) + count / 100) ** 0.9
    return random.permutation(weights / weights.sum())


def write_movies(folder: Path, layout: str, count: int, random: np.random.Generator, first_id: int = 1) -> None:
    """Writes movies.dat, or movies.csv and links.csv: titles of two to four invented words, ids one after the other."""
    words = [
        f"{a}{b}{c}".capitalize() for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("l", "n", "r", "sta", "mo", "ki")
    ]
    words = [f"{first}{second.lower()}" for first in words for second in words][:WORDS]
    lengths, years = random.integers(2, 5, count), random.integers(1920, 2026, count)
    picks, kinds = random.integers(0, len(words), (count, 4)), random.integers(0, len(GENRES), (count, 2))
    lines, links = [], []
    for row in range(count):
        title = " ".join(words[pick] for pick in picks[row, : lengths[row]])
        genres = "|".join(sorted({GENRES[kind] for kind in kinds[row]}))
        separator = "," if layout == "csv" else "::"
        lines.append(separator.join([str(first_id + row), f"{title} ({years[row]})", genres]) + "\n")
        links.append(f"{first_id + row},{first_id + row:07},{first_id + row}\n")
    if layout == "csv":
        (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(lines))
        (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n" + "".join(links))
    else:
        (folder / "movies.dat").write_text("".join(lines), "latin-1")


def write_users(path: Path, count: int, random: np.random.Generator) -> None:
    """Writes users.dat."""
    genders, ages, jobs = random.integers(0, 2, count), random.integers(0, 7, count), random.integers(0, 21, count)
    with path.open("w") as file:
        for row in range(count):
            age = (1, 18, 25, 35, 45, 50, 56)[ages[row]]
            file.write(f"{row + 1}::{'FM'[genders[row]]}::{age}::{jobs[row]}::00000\n")


def write_ratings(folder: Path, layout: str, movies: int, users: int, count: int, random: np.random.Generator) -> None:
    """Writes ratings.dat, or ratings.csv with half stars: each pair at most once, so a little fewer than `count`."""
    weights = rank_weights(movies, random)
    quality = random.normal(3.5, 0.4, movies)
    tastes, kinds = random.normal(size=(users, TASTES)), random.normal(size=(movies, TASTES))
    popularity = np.cumsum(weights)
    each = np.full(users, count // users)
    each[: count % users] += 1
    step = max(1, CHUNK // max(1, count // users))
    is_csv = layout == "csv"
    separator, step_size, lowest = (",", 0.5, 0.5) if is_csv else ("::", 1, 1)
    path = folder / ("ratings.csv" if is_csv else "ratings.dat")
    with path.open("w") as file, tqdm(total=count, unit="rating", unit_scale=True, disable=None) as progress:
        file.write("userId,movieId,rating,timestamp\n" if is_csv else "")
        for start in range(0, users, step):
            user = np.repeat(np.arange(start, min(users, start + step)), each[start : start + step])
            movie = np.minimum(np.searchsorted(popularity, random.random(len(user))), movies - 1)
            user, movie = np.unique(np.stack([user, movie]), axis=1)
            liking = np.einsum("ij,ij->i", tastes[user], kinds[movie]) / np.sqrt(TASTES)
            stars = quality[movie] + 0.7 * liking + random.normal(0, 0.6, len(user))
            stars = np.clip(np.rint(stars / step_size) * step_size, lowest, 5)
            rows = zip((user + 1).tolist(), (movie + 1).tolist(), stars.tolist(), strict=True)
            file.write("".join(f"{u}{separator}{m}{separator}{r:g}{separator}978300760\n" for u, m, r in rows))
            progress.update(len(user))


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--movies", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=60_000)
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layout", choices=["dat", "csv"], default="dat", help="of ml-1m, or of ml-32m")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(args.seed)
    write_movies(args.folder, args.layout, args.movies, random)
    if args.layout == "dat":
        write_users(args.folder / "users.dat", args.users, random)
    write_ratings(args.folder, args.layout, args.movies, args.users, args.ratings, random)


if __name__ == "__main__":
    main()
