"""Draws the invented users and ratings of this folder from plain taste rules.

Run it with `python data/sample/generate.py`.

A user's liking for a genre is the sum of what their gender, age and job add to it and a little of their own; a rating
is 3.6 stars, plus the film's quality, plus the user's mean liking for its genres, plus noise, rounded.
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
NUM_USERS = 300
AGE_CODES = (1, 18, 25, 35, 45, 50, 56)
AGE_SHARES = (0.08, 0.2, 0.28, 0.18, 0.1, 0.08, 0.08)
NUM_JOBS = 21
RATINGS_PER_USER = (35, 80)

GENDER_TASTES = (
    {"Action": 0.5, "War": 0.4, "Western": 0.4, "Sci-Fi": 0.4, "Romance": -0.5, "Musical": -0.5},
    {"Romance": 0.6, "Musical": 0.5, "Drama": 0.3, "Action": -0.3, "War": -0.3, "Western": -0.4},
)
AGE_TASTES = (
    {"Animation": 1.0, "Children's": 1.0, "Fantasy": 0.7, "Film-Noir": -1.0, "War": -0.6, "Western": -0.6},
    {"Action": 0.6, "Horror": 0.7, "Comedy": 0.4, "Musical": -0.4, "Western": -0.4},
    {"Sci-Fi": 0.4, "Thriller": 0.4, "Crime": 0.3},
    {"Drama": 0.3, "Crime": 0.3, "Children's": 0.2},
    {"Drama": 0.4, "Mystery": 0.4, "Horror": -0.5},
    {"War": 0.5, "Western": 0.6, "Film-Noir": 0.5, "Horror": -0.7, "Animation": -0.3},
    {"Western": 0.8, "Film-Noir": 0.8, "Musical": 0.6, "Horror": -1.0, "Sci-Fi": -0.6, "Animation": -0.5},
)
JOB_TASTES = {
    2: {"Drama": 0.4, "Film-Noir": 0.5},
    9: {"Children's": 0.5, "Romance": 0.3},
    10: {"Animation": 0.4, "Adventure": 0.4},
    12: {"Sci-Fi": 0.7, "Fantasy": 0.4},
    13: {"War": 0.3, "Western": 0.3},
    15: {"Sci-Fi": 0.5, "Mystery": 0.4},
    18: {"Action": 0.5, "Western": 0.3},
    20: {"Drama": 0.4, "Romance": 0.2},
}


def main() -> None:
    """Reads movies.dat, typed in by hand, and writes users.dat and ratings.dat beside it."""
    random = np.random.default_rng(20261121)
    lines = [line.split("::") for line in (FOLDER / "movies.dat").read_text("latin-1").splitlines()]
    movie_ids = [int(line[0]) for line in lines]
    genres = sorted({genre for line in lines for genre in line[2].split("|")})
    has_genre = np.array([[genre in line[2].split("|") for genre in genres] for line in lines], float)
    has_genre /= has_genre.sum(1, keepdims=True)
    quality = random.normal(0, 0.35, len(lines))
    fame = random.gamma(2.0, size=len(lines))

    users, ratings = [], []
    for user_id in range(1, NUM_USERS + 1):
        gender = int(random.random() < 0.45)
        age = int(random.choice(len(AGE_CODES), p=AGE_SHARES))
        job = 10 if age == 0 else int(random.integers(NUM_JOBS))
        users.append(f"{user_id}::{'MF'[gender]}::{AGE_CODES[age]}::{job}::00000\n")
        rules = (GENDER_TASTES[gender], AGE_TASTES[age], JOB_TASTES.get(job, {}))
        taste = np.array([sum(rule.get(genre, 0.0) for rule in rules) for genre in genres])
        liking = has_genre @ (taste + random.normal(0, 0.3, len(genres)))
        chance = fame * np.exp(liking)
        count = random.integers(*RATINGS_PER_USER)
        for row in np.sort(random.choice(len(lines), count, replace=False, p=chance / chance.sum())):
            stars = 3.6 + quality[row] + 1.2 * liking[row] + random.normal(0, 0.6)
            ratings.append(f"{user_id}::{movie_ids[row]}::{int(np.clip(round(stars), 1, 5))}::0\n")
    (FOLDER / "users.dat").write_text("".join(users), "latin-1", newline="\n")
    (FOLDER / "ratings.dat").write_text("".join(ratings), "latin-1", newline="\n")


if __name__ == "__main__":
    main()
