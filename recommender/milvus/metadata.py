"""What a collection records about itself: its model, its size, checksums of its files."""

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

METADATA_PROPERTY = "recommender"
"""The property of a collection that holds its `CollectionMetadata`."""


class CollectionMetadata(NamedTuple):
    """Description of a collection, stored as one of its properties."""

    fingerprint: str
    """Fingerprint of the model that computed the vectors."""
    num_movies: int
    genres: list[str]
    """All combinations of genres that a movie has, each separated by |."""
    created: float
    """Seconds since 1970."""
    has_training_titles: bool
    """Whether its movies are those of the training data, with the same titles."""
    checksums: dict[str, int]
    """CRC-32 of each data file, in Milvus Lite only."""

    def to_property(self) -> str:
        """Returns the text that `from_properties` parses."""
        text = json.dumps(self)
        return f"{zlib.crc32(text.encode()):08x}{text}"

    @classmethod
    def from_properties(cls, properties: dict[str, str]) -> "CollectionMetadata | None":
        """Parses a collection's properties; None where they hold none, damaged or older ones."""
        value = properties.get(METADATA_PROPERTY, "")
        checksum, text = value[:8], value[8:]
        fields = json.loads(text) if checksum == f"{zlib.crc32(text.encode()):08x}" else []
        return cls(*fields) if len(fields) == len(cls._fields) else None


def lite_checksums(folder: Path, name: str) -> dict[str, int]:
    """Returns the CRC-32 of each data file of a collection, which Milvus Lite (3.2.2) does not check itself."""
    files = sorted(path for path in (folder / "collections" / name).rglob("*") if path.suffix in (".parquet", ".idx"))
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(lambda path: zlib.crc32(path.read_bytes()), files)
        return {str(path.relative_to(folder)): checksum for path, checksum in zip(files, checksums, strict=True)}
