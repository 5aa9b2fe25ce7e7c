import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import PROJECT

from recommender.errors import Step
from recommender.files import FileError, check_folder_writable, check_writable, read_bytes, unfinished, written_whole


def write(path: Path, text: str) -> None:
    with written_whole(path) as file:
        file.write(text)


def test_appears_when_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "film"
    path.write_text("old")
    path.chmod(0o640)
    with written_whole(path) as file:
        file.write("né")
        assert path.read_text() == "old"
    assert path.read_bytes() == "né".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["film"]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "film"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as file:
        file.write(str(1 / 0))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["film"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("to come")
    write(tmp_path / "link", "new")
    write(tmp_path / "dangling", "newer")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "to come").read_text() == "newer"


def test_what_is_no_regular_file_stays_what_it_is(tmp_path, capsys):
    write(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(timeout=10)
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write(Path("-"), "to the terminal")
    assert capsys.readouterr().out == "to the terminal"


def test_of_two_writers_the_last_to_finish_wins_whole(tmp_path):
    path = tmp_path / "film"
    with written_whole(path) as first:
        first.write("first" * 1000)
        write(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" * 1000
    assert os.listdir(tmp_path) == ["film"]


@pytest.mark.parametrize("name", ["folder", "missing/film", "/proc/film"])
def test_what_cannot_be_written_is_said_before_and_after(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    for attempt in (check_writable, lambda path: write(path, "x")):
        with pytest.raises(FileError, match=rf"{path}: cannot write it: .*; choose another place"):
            attempt(path)
    assert os.listdir(tmp_path) == ["folder"]


def test_checks_leave_no_trace(tmp_path):
    (tmp_path / "film").write_text("old")
    for path in (tmp_path / "film", tmp_path / "new", Path("/dev/null"), Path("-")):
        check_writable(path)
    check_folder_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path) == ["film"]
    assert (tmp_path / "film").read_text() == "old"
    for folder in (Path("/proc/folder"), tmp_path / "film" / "folder"):
        with pytest.raises(FileError, match="cannot write it"):
            check_folder_writable(folder)


def test_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(FileError, match=r"none: cannot read it: No such file or directory; look elsewhere$"):
        read_bytes(tmp_path / "none", "look elsewhere")
    with pytest.raises(FileError, match=r"Is a directory; run: python train.py$"):
        read_bytes(tmp_path, redo=Step.TRAIN)


def test_unfinished_folder_goes_with_a_failure_only(tmp_path):
    with unfinished(tmp_path / "whole") as folder:
        folder.mkdir()
    (tmp_path / "half").mkdir()
    with pytest.raises(ZeroDivisionError), unfinished(tmp_path / "half") as folder:
        (folder / "file").write_text(str(1 / 0))
    assert os.listdir(tmp_path) == ["whole"]


WRITE_AND_WAIT = """
import sys
from recommender.cli.process import finish, start
start()
from pathlib import Path
from recommender.files import unfinished, written_whole
def main():
    with written_whole(Path(sys.argv[1])) as file, unfinished(Path(sys.argv[2])) as folder:
        folder.mkdir()
        file.write("half")
        print("writing", flush=True)
        sys.stdin.read()
finish(main)
"""


@pytest.mark.parametrize(("signal", "code", "word"), [("INT", 130, "interrupted"), ("TERM", 143, "terminated")])
def test_a_signal_leaves_nothing_unfinished(tmp_path, signal, code, word):
    (tmp_path / "film").write_text("old")
    command = [sys.executable, "-c", WRITE_AND_WAIT, tmp_path / "film", tmp_path / "folder"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=PROJECT, text=True, **pipes) as process:
        assert process.stdout.readline() == "writing\n"
        subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
        assert process.stderr.read() == f"error: {word}; nothing of what was there before is lost\n"
        assert process.wait(timeout=10) == code
    assert os.listdir(tmp_path) == ["film"]
    assert (tmp_path / "film").read_text() == "old"
