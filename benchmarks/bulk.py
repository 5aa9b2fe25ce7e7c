"""How movies reach a server faster: as rows, which `-i` sends, or as Parquet files, which the server loads itself.

    pip install -r requirements-dev.txt 'pymilvus[bulk_writer]==3.0.2'
    unshare --map-root-user --net sh -c 'ip link set lo up && python benchmarks/bulk.py --movies 200000'

The server is the embedded one of the tests, which keeps its data, and so finds files, on the local disk. Either way
ends when the server has all movies; then the index is built, which is the same work.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from generate import write_movies
from machine import print_machine
from milvus_server import Server
from pymilvus import CollectionSchema, connections, utility
from pymilvus.bulk_writer import BulkFileType, LocalBulkWriter

from recommender.data.features import MOVIE_SIZE
from recommender.data.movielens import parse_movies
from recommender.index.build import INSERT_BATCH, Catalogue, _create, _row
from recommender.index.collection import Label, count_movies
from recommender.index.connection import Milvus

warnings.filterwarnings("ignore", message=".*ORM-style")  # What loads files on a server of 2.3, until pymilvus 3.1.

FILE_BYTES = 1 << 28


def invent(folder: Path, count: int) -> Catalogue:
    """Returns so many movies with random vectors."""
    random = np.random.default_rng(0)
    write_movies(folder / "movies.dat", count, random)
    movies = parse_movies((folder / "movies.dat").read_bytes(), "movies.dat")
    vectors = random.normal(size=(count, MOVIE_SIZE)).astype(np.float32)
    return Catalogue(movies, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [0] * count, "")


def rows_of(catalogue: Catalogue) -> list[dict[str, object]]:
    """Returns a dictionary a movie, as both ways take them."""
    return [_row(*one) for one in zip(catalogue.movies, catalogue.num_ratings, catalogue.vectors, strict=True)]


def send_rows(milvus: Milvus, name: str, catalogue: Catalogue, folder: Path) -> None:
    """Inserts as `-i` does."""
    rows = rows_of(catalogue)
    for start in range(0, len(rows), INSERT_BATCH):
        milvus.client.insert(name, rows[start : start + INSERT_BATCH])
    milvus.client.flush(name)


def load_files(milvus: Milvus, name: str, catalogue: Catalogue, folder: Path) -> None:
    """Writes files, and waits until the server has loaded them."""
    started = time.perf_counter()
    schema = CollectionSchema.construct_from_dict(milvus.client.describe_collection(name))
    writer = LocalBulkWriter(schema, str(folder / "files"), chunk_size=FILE_BYTES, file_type=BulkFileType.PARQUET)
    for row in rows_of(catalogue):
        writer.append_row(row)
    writer.commit()
    print(f"  of which to write the files {time.perf_counter() - started:.1f} s", flush=True)
    tasks = [utility.do_bulk_insert(name, files) for files in writer.batch_files]
    for task in tasks:
        while True:
            state = utility.get_bulk_insert_state(task)
            if state.state_name == "Completed":
                break
            assert not state.state_name.startswith("Failed"), state.infos
            time.sleep(0.5)


def measure(milvus: Milvus, way: Callable[..., None], catalogue: Catalogue, folder: Path) -> None:
    """Prints what one way takes."""
    name, count = way.__name__, len(catalogue.movies)
    _create(milvus, name, Label("", count, [], 0, {}), MOVIE_SIZE, "HNSW")
    started = time.perf_counter()
    way(milvus, name, catalogue, folder)
    arrived = time.perf_counter()
    while milvus.client.describe_index(name, "vector").get("indexed_rows", 0) < count:
        time.sleep(0.5)
    milvus.client.load_collection(name)
    while count_movies(milvus, name) < count:
        time.sleep(0.5)
    served = time.perf_counter()
    print(f"{name:<12}{arrived - started:>8.1f} s, until they can be searched {served - started:.1f} s", flush=True)
    milvus.client.drop_collection(name)


def main() -> None:
    """Measures both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=200_000)
    count = parser.parse_args().movies
    print_machine("pymilvus", "milvus")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        catalogue = invent(folder, count)
        server = Server(folder)
        with server, Milvus(server.uri, server.options["token"], server.certificate) as milvus:
            login = {"uri": server.uri, "token": server.options["token"], "server_pem_path": str(server.certificate)}
            connections.connect(**login)
            for way in (send_rows, load_files):
                measure(milvus, way, catalogue, folder)


if __name__ == "__main__":
    main()
