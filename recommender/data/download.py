"""Downloads ml-1m.zip from GroupLens or Paddle's mirror, and verifies its checksum."""

import hashlib
import http.client
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from recommender.data.lines import DataError
from recommender.data.movielens import ARCHIVE_NAME, DEFAULT_DATA_DIR, find_archive
from recommender.files import remove_on_failure

ARCHIVE_MD5 = "c4d9eecfca2ab87c1945afe126590906"
ARCHIVE_URLS = (
    "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    "https://dataset.bj.bcebos.com/movielens%2Fml-1m.zip",
)
CONNECT_SECONDS = 8
DOWNLOAD_SECONDS = 600


def ensure_movielens(folder: Path = DEFAULT_DATA_DIR) -> None:
    """Downloads MovieLens 1M into a folder unless the folder holds it.

    Raises:
        DataError: The download failed.
    """
    if not (folder / "ratings.dat").is_file() and not find_archive(folder):
        download_movielens(folder)


def download_movielens(folder: Path, urls: Sequence[str] = ARCHIVE_URLS, md5: str = ARCHIVE_MD5) -> Path:
    """Downloads ml-1m.zip into `folder` from the first of `urls` whose content has the checksum `md5`.

    Returns:
        The archive's path; the file appears there when it is complete and verified.

    Raises:
        DataError: Every address failed. The message explains the download by hand.
    """
    archive = folder / ARCHIVE_NAME
    partial = folder / f".{ARCHIVE_NAME}.{os.getpid()}.partial"
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                with remove_on_failure(partial):
                    _fetch(url, partial, md5)
                    os.replace(partial, archive)
                return archive
            except (OSError, ValueError, http.client.HTTPException) as error:
                failures.append(f"{url}: {error or type(error).__name__}")
    except OSError as error:
        failures.append(str(error))
    with suppress(OSError):
        folder.rmdir()  # Only where it is empty.
    raise DataError(
        f"cannot download {ARCHIVE_NAME} ({'; '.join(failures)}); get {urls[0]} another way and put it at {archive}, "
        "or try the program without it on invented ratings: python train.py --data-dir data/sample"
    )


def _fetch(url: str, path: Path, md5: str) -> None:
    """Downloads `url` to `path` with a progress bar; raises ValueError where the checksum differs."""
    digest = hashlib.md5(usedforsecurity=False)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    print(f"Downloading {url}", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response, path.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0) or None
        with tqdm(desc=ARCHIVE_NAME, total=size, unit="B", unit_scale=True, disable=None) as progress:
            for chunk in iter(lambda: response.read(1 << 16), b""):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done after {DOWNLOAD_SECONDS} s")
                file.write(chunk)
                digest.update(chunk)
                progress.update(len(chunk))
    if digest.hexdigest() != md5:
        raise ValueError(f"its md5 is {digest.hexdigest()}, not {md5}")


def main() -> int:
    """Downloads ml-1m if it is missing: `python -m recommender.data.download`; returns 1 where that fails."""
    try:
        ensure_movielens()
    except DataError as error:
        print(f"MovieLens 1M is not here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"MovieLens 1M is in {DEFAULT_DATA_DIR}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
