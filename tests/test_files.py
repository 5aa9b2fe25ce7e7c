"""Files are read with one kind of error and written whole; the working folder and its commands."""

import errno
import io
import os
import shlex
import stat
import sys
import threading
from pathlib import Path

import pytest

from recommender import Recommender, files
from recommender.errors import RecommenderError, Step, UsageError, one_line, pluralize
from recommender.files import FileError, Workdir, atomic_write, read_bytes


def write(path, text):
    with atomic_write(path) as file:
        file.write(text)


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("né\r\n")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == "né\r\n".encode()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with atomic_write(path) as file:
            file.write("new")
            raise error

    with pytest.raises((ZeroDivisionError, KeyboardInterrupt, FileError)) as caught:
        fail()
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path}: cannot write it: No space left"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("to come")
    write(tmp_path / "link", "new")
    write(tmp_path / "dangling", "newer")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "to come").read_text() == "newer"


def test_pipes_devices_and_standard_output_are_written_directly(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    controller, terminal = os.openpty()  # A device that no failure of this test can replace, unlike /dev/null.
    write(Path(os.ttyname(terminal)), "text")
    assert os.read(controller, 10) == b"text"
    for descriptor in (controller, terminal):
        os.close(descriptor)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write(pipe, "text")
    reader.join(timeout=10)
    assert received == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write(Path("-"), "to standard output")
    assert capsys.readouterr().out == "to standard output"
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["folder", "missing/file", "/proc/file"])
def test_path_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match=rf"^{tmp_path / name}: cannot write it: [A-Z]"):
        write(tmp_path / name, "x")
    assert os.listdir(tmp_path) == ["folder"]


def test_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(FileError, match=r"none: cannot read it: No such file or directory; look elsewhere$"):
        read_bytes(tmp_path / "none", "look elsewhere")
    with pytest.raises(FileError, match=r"Is a directory; run: python train.py$"):
        read_bytes(tmp_path, fix_step=Step.TRAIN)


def test_reads_files_and_standard_input(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"\xff\n")
    assert read_bytes(tmp_path / "file") == b"\xff\n"
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("a file of that name")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed")))
    assert read_bytes(Path("-")) == b"typed"


def test_huge_files_and_endless_streams_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 2 << 20)
    (tmp_path / "file").write_bytes(b"x" * (2 << 20))
    assert len(read_bytes(tmp_path / "file")) == 2 << 20
    with (tmp_path / "file").open("ab") as file:
        file.truncate(1 << 40)  # Sparse.
    for path in (tmp_path / "file", Path("/dev/zero")):
        with pytest.raises(FileError, match=rf"^{path}: it has more than 2 MB; is this the right file\?$"):
            read_bytes(path)


def test_everything_lies_in_the_working_folder():
    workdir = Workdir(Path("my films"))
    paths = [workdir.model, workdir.movies_origin, workdir.movies_data, workdir.database]
    names = ["recommender_system.inference.model", "movies_origin.txt", "movies_data.txt", "recommender_demo.db"]
    assert paths == [Path("my films") / name for name in names]
    assert Workdir().model == Path(names[0])


def test_commands_name_the_working_folder(monkeypatch):
    assert [Workdir().command(step) for step in Step] == [step.value[0] for step in Step]
    commands = [shlex.split(Workdir(Path("my 'films'")).command(step)) for step in Step]
    assert commands == [[*shlex.split(step.value[0]), "--workdir", "my 'films'"] for step in Step]
    monkeypatch.setattr(sys, "argv", ["movie-recommender train"])
    assert Workdir().command(Step.INDEX) == "movie-recommender recommend -i"
    assert Workdir(Path("a")).command(Step.ENCODE) == "movie-recommender encode --workdir a"
    assert Workdir(Path("a")).command(Step.TRAIN) == "movie-recommender train --workdir a"


def test_errors_are_one_line_with_a_remedy():
    assert str(RecommenderError("no model here")) == "no model here"
    error = RecommenderError("no model here", Step.TRAIN)
    assert str(error) == "no model here; run: python train.py"
    error.command = Workdir(Path("a")).command
    assert str(error) == "no model here; run: python train.py --workdir a"
    assert {RecommenderError, ValueError} <= set(UsageError.__mro__)
    assert one_line("é: a\nb\x1b[31m\r") == "é: a�b�[31m�"
    counts = [pluralize(count, "movie") for count in (0, 1, 2, 2345)]
    assert counts == ["0 movies", "1 movie", "2 movies", "2,345 movies"]


def test_errors_of_an_open_recommender_name_its_folder(tmp_path):
    with pytest.raises(RecommenderError) as caught:
        Recommender.open(tmp_path / "my films")
    assert str(caught.value).endswith(f"; run: python train.py --workdir '{tmp_path}/my films'")
