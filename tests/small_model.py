"""Small models for tests of the model folder. As a script it saves them again and again, without Paddle:

`python tests/small_model.py FOLDER NUMBER TIMES`
"""

import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from recommender.movielens.split import RATING_DTYPE, RatingHistories
from recommender.movielens.encoding import Vocabularies, Vocabulary
from recommender.store import SavedModel
from recommender.users import MovieEmbeddings, TasteParameters, UserPrior
from recommender.save import ModelData, ServingArrays, save_model


def create_model(number: int) -> ModelData:
    """Returns a model in which everything shows a number."""
    arrays = ServingArrays(
        user_ids=np.array([number]),
        profiles=np.full((9, 4), number),
        profile_vectors=np.full((9, 200), number, np.float32),
        histories=RatingHistories(np.zeros(number, RATING_DTYPE), np.array([0, number])),
        user_prior=UserPrior(np.full(200, number, np.float32), np.zeros((200, 200), np.float32)),
        taste=TasteParameters(
            MovieEmbeddings(*np.full((2, 3, 200), number, np.float32)),
            MovieEmbeddings(*np.full((2, 3, 200), number, np.float32)),
            np.zeros((34, 200), np.float32),
            np.ones(200, np.float32),
        ),
    )
    vocabularies = Vocabularies(Vocabulary("ab"), Vocabulary("cd"), Vocabulary([number]))
    return ModelData(vocabularies, catalogue_of(number), arrays, b"curve")


def catalogue_of(number: int) -> bytes:
    """Returns the catalogue of the model of a number."""
    return f"{number}::Film {number} (2000)::Drama\n".encode()


def save(
    folder: Path, number: int, save_towers: Callable[[Path], None] | None = None, movies_origin: Path | None = None
) -> str:
    """Saves the model of a number, by default with movies_origin.txt beside the folder; returns the fingerprint."""

    def write_towers(version: Path) -> None:
        for name in ("user_tower", "movie_tower"):
            for suffix in ("json", "pdiparams"):
                (version / f"{name}.{suffix}").write_text(f"{number} {name}")

    movies_origin = movies_origin or folder.parent / "movies_origin.txt"
    return save_model(folder, create_model(number), save_towers or write_towers, {"number": number}, movies_origin)


def assert_whole(model: SavedModel) -> int:
    """Asserts that everything is from one writer; returns its number."""
    number: int = model.manifest["number"]
    assert model.user_ids.tolist() == [number]
    for array in (model.profiles, model.profile_vectors, model.user_prior.mean, *model.taste_inputs):
        assert (array == number).all()
    assert len(model.histories.ratings) == model.histories.indptr[-1] == number
    assert model.catalogue == catalogue_of(number)
    assert list(model.movies) == model.vocabularies.movies.tokens == [number]
    for name in ("user_tower", "movie_tower"):
        assert model.tower_path(name).with_suffix(".json").read_text() == f"{number} {name}"
    return number


if __name__ == "__main__":
    for _ in range(int(sys.argv[3])):
        save(Path(sys.argv[1]), int(sys.argv[2]))
        print("saved", flush=True)
