import io
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import PROJECT

from recommender import files
from recommender.errors import Step
from recommender.files import (
    FileError,
    atomic_write,
    check_folder_writable,
    check_writable,
    defer_signals,
    publish,
    read_bytes,
    remove,
    remove_on_failure,
)


def write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)


def test_file_appears_when_complete_and_keeps_its_mode(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o640)
    with atomic_write(path) as file:
        file.write("né\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "né\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(str(1 / 0))
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
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "text")
    reader.join(timeout=10)
    assert read == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write(Path("-"), "to standard output")
    assert capsys.readouterr().out == "to standard output"
    assert os.listdir(tmp_path) == ["pipe"]
    for descriptor in (controller, terminal):
        os.close(descriptor)


def test_last_of_two_writers_wins(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as first:
        first.write("first" * 1000)
        write(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" * 1000
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["folder", "missing/file", "/proc/file"])
def test_unwritable_path_is_refused_before_and_after(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    for attempt in (check_writable, lambda path: write(path, "x")):
        with pytest.raises(FileError, match=rf"{path}: cannot write it: .*; choose another place"):
            attempt(path)
    assert os.listdir(tmp_path) == ["folder"]


def test_checks_change_nothing(tmp_path):
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file", tmp_path / "new", Path("/dev/null"), Path("-")):
        check_writable(path)
    check_folder_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    for folder in (Path("/proc/folder"), tmp_path / "file" / "folder"):
        with pytest.raises(FileError, match="cannot write it"):
            check_folder_writable(folder)


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


def test_endless_stream_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_STREAM_BYTES", 2 << 20)
    with pytest.raises(FileError, match=r"^/dev/zero: more than 2 MB from a stream; save it to a file first$"):
        read_bytes(Path("/dev/zero"))
    (tmp_path / "file").write_bytes(b"x" * ((2 << 20) + 1))
    assert len(read_bytes(tmp_path / "file")) == (2 << 20) + 1, "the bound is for streams"


def test_loop_of_links_is_refused(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    path = tmp_path / "one"
    for attempt in (check_writable, lambda path: write(path, "x")):
        with pytest.raises(FileError, match=rf"^{path}: cannot write it: .*; choose another place$"):
            attempt(path)
    with pytest.raises(FileError, match=rf"^{path}: cannot read it: "):
        read_bytes(path)
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_error_of_another_file_passes_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"), atomic_write(tmp_path / "file"):
        (tmp_path / "none").read_text()
    assert os.listdir(tmp_path) == []


def test_failed_write_names_the_file_and_keeps_the_old_one(tmp_path):
    """A limit on the size of files stands for a full disk."""
    path = tmp_path / "file"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FileError, match=rf"^{path}: cannot write it: File too large; choose another place$"):
            write(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_survives_a_loss_of_power(tmp_path, monkeypatch):
    """The content is on the disk before the file gets its name, and the name before the block ends."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    open_before = len(os.listdir("/proc/self/fd"))
    write(tmp_path / "file", "text")
    assert calls == ["file", "rename", "folder"]
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_closed_pipe_is_not_a_file_error(tmp_path):
    """A reader that has what it wants is no failure; see `run_and_report`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def write_without_reader():
        with atomic_write(pipe) as file:
            os.close(reader)
            file.write("x")

    with pytest.raises(BrokenPipeError):
        write_without_reader()


def test_publish_keeps_the_mode_of_the_file_that_it_replaces(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o604)
    publish(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o604
    assert os.listdir(tmp_path) == ["old"]


def test_remove_on_failure(tmp_path):
    for name in ("complete", "failed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with remove_on_failure(tmp_path / "complete"):
        pass
    with pytest.raises(ZeroDivisionError), remove_on_failure(tmp_path / "failed"):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), remove_on_failure(None):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["complete"]


def test_remove_takes_files_folders_and_nothing(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    for name in ("file", "folder", "none"):
        remove(tmp_path / name)
    assert os.listdir(tmp_path) == []


class Received(Exception):
    """Raised by the signal handler of a test."""


def test_signals_are_deferred_to_the_end_of_a_block():
    def handle(number, frame):
        raise Received(number)

    def work(number, steps):
        with defer_signals():
            signal.raise_signal(number)
            steps.append("after the signal")

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        for number in numbers:
            steps: list[str] = []
            with pytest.raises(Received) as caught:
                work(number, steps)
            assert steps == ["after the signal"]
            assert caught.value.args == (number,)
            assert [signal.getsignal(number) for number in numbers] == [handle] * 3
        with pytest.raises(ZeroDivisionError), defer_signals():
            raise ZeroDivisionError
        assert [signal.getsignal(number) for number in numbers] == [handle] * 3
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_signals_cannot_be_deferred_in_another_thread():
    """Python handles signals in the main thread only; the block must run all the same."""
    ran = []

    def run():
        with defer_signals():
            ran.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=10)
    assert ran == [True]


WRITE_AND_WAIT = """
from recommender.cli.process import prepare_process, run_main
prepare_process()
import sys
from pathlib import Path
from recommender.cli.process import run_and_report
from recommender.files import atomic_write, remove_on_failure

def work():
    file, folder = map(Path, sys.argv[1:])
    with atomic_write(file) as opened, remove_on_failure(folder):
        folder.mkdir()
        opened.write("half")
        print("writing", flush=True)
        sys.stdin.read()

run_main(lambda: run_and_report(work, str))
"""


@pytest.mark.parametrize(
    ("signal_name", "code", "word"), [("INT", 130, "interrupted"), ("TERM", 143, "terminated"), ("HUP", 129, "hung up")]
)
def test_signal_leaves_nothing_half_written(tmp_path, signal_name, code, word):
    (tmp_path / "file").write_text("old")
    command = [sys.executable, "-c", WRITE_AND_WAIT, tmp_path / "file", tmp_path / "folder"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=PROJECT, text=True, **pipes) as process:
        assert process.stdout.readline() == "writing\n"
        subprocess.run(["kill", f"-{signal_name}", str(process.pid)], check=True)
        assert process.stderr.read() == f"error: {word}; nothing is left half-written\n"
        assert process.wait(timeout=10) == code
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
