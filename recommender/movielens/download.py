"""Downloads MovieLens archives from GroupLens and verifies their checksums."""

import hashlib
import http.client
import os
import sys
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from recommender.errors import DataError
from recommender.movielens.releases import DEFAULT_DATA_DIR
from recommender.files import remove_on_failure

BASE_URL = "https://files.grouplens.org/datasets/movielens"
MIRROR_URLS = {"ml-1m": ("https://dataset.bj.bcebos.com/movielens%2Fml-1m.zip",)}
CONNECT_SECONDS = 8
DOWNLOAD_SECONDS = 3600
LICENCE = "MovieLens data are for research, and must not be redistributed; the README in the archive has the licence"


class Release(NamedTuple):
    """A MovieLens release."""

    md5: str
    """Of the archive; "" for releases that GroupLens replaces from time to time."""
    megabytes: int
    num_movies: int
    num_ratings: int
    last_year: int


RELEASES = {
    "ml-100k": Release("0e33842e24a9c977be4e0107933c0723", 5, 1_682, 100_000, 1998),
    "ml-1m": Release("c4d9eecfca2ab87c1945afe126590906", 6, 3_883, 1_000_209, 2000),
    "ml-10m": Release("ce571fd55effeba0271552578f2648bd", 66, 10_681, 10_000_054, 2008),
    "ml-20m": Release("cd245b17a1ae2cc31bb14903e1204af3", 199, 27_278, 20_000_263, 2015),
    "ml-25m": Release("6b51fb2759a8657d3bfcbfc42b592ada", 262, 62_423, 25_000_095, 2019),
    "ml-32m": Release("d472be332d4daa821edc399621853b57", 239, 87_585, 32_000_204, 2023),
    "ml-latest-small": Release("", 1, 9_742, 100_836, 2018),
    "ml-latest": Release("", 351, 86_537, 33_832_162, 2023),
}


def ensure_downloaded(data_dir: Path) -> None:
    """Downloads the release that a missing or empty folder is called like, such as `data/ml-32m`.

    Raises:
        DataError: The download failed.
    """
    is_missing = not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir()))
    if is_missing and data_dir.name in RELEASES:
        name = data_dir.name
        urls = (f"{BASE_URL}/{name}.zip", *MIRROR_URLS.get(name, ()))
        print(f"{name}: {RELEASES[name].megabytes} MB. {LICENCE}.", file=sys.stderr)
        download_archive(data_dir / f"{name}.zip", urls, RELEASES[name].md5)


def download_archive(archive: Path, urls: Sequence[str], md5: str = "") -> None:
    """Downloads an archive from the first of `urls` whose content is right.

    Args:
        archive: The file to write; it appears when it is complete and verified.
        urls: The addresses.
        md5: The checksum; without one, the archive's own checksums are verified.

    Raises:
        DataError: Every address failed. The message explains the download by hand.
    """
    partial = archive.with_name(f".{archive.name}.{os.getpid()}.partial")
    failures = []
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                with remove_on_failure(partial):
                    _fetch(url, partial, md5)
                    os.replace(partial, archive)
                return
            except (OSError, ValueError, http.client.HTTPException, zipfile.BadZipFile) as error:
                failures.append(f"{url}: {error or type(error).__name__}")
    except OSError as error:
        failures.append(str(error))
    with suppress(OSError):
        archive.parent.rmdir()  # Only where it is empty.
    raise DataError(
        f"cannot download {archive.name} ({'; '.join(failures)}); get {urls[0]} another way and put it at {archive}, "
        "or try the program without it on invented ratings: python train.py --data-dir data/sample"
    )


def _fetch(url: str, path: Path, md5: str) -> None:
    """Downloads `url` to `path` with a progress bar; raises ValueError or BadZipFile where the content is wrong."""
    digest = hashlib.md5(usedforsecurity=False)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    print(f"Downloading {url}", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0) or None
        with tqdm(desc=path.name.split(".")[1], total=size, unit="B", unit_scale=True, disable=None) as progress:
            for chunk in iter(lambda: response.read(1 << 16), b""):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done after {DOWNLOAD_SECONDS} s")
                file.write(chunk)
                digest.update(chunk)
                progress.update(len(chunk))
    if md5 and digest.hexdigest() != md5:
        raise ValueError(f"its md5 is {digest.hexdigest()}, not {md5}")
    if not md5:
        with zipfile.ZipFile(path) as opened:
            damaged = opened.testzip()
        if damaged:
            raise ValueError(f"{damaged} in it is damaged")


def main() -> int:
    """Downloads ml-1m if it is missing: `python -m recommender.movielens.download`; returns 1 where that fails."""
    try:
        ensure_downloaded(DEFAULT_DATA_DIR)
    except DataError as error:
        print(f"MovieLens 1M is not here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"MovieLens 1M is in {DEFAULT_DATA_DIR}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
