"""Scripts as processes: exit codes, locale, closed pipes, two processes at once, killed processes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, SAMPLE, fail, run_process, start_script, succeed

from recommender.cli.arguments import MODEL_FOLDER, PipelinePaths
from recommender.cli.process import run_and_report
from recommender.errors import RecommenderError, Step
from recommender.store import load_model
from recommender.paddle_setup import preserve_num_threads


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (None, 0, ""),
        (RecommenderError("a remedy"), 1, "error: a remedy\n"),
        (RecommenderError("stale", Step.INDEX), 1, "error: stale; run: python infer_milvus.py -i --model m\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: [Errno 2] No such file: 'x'\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing is left half-written\n"),
    ],
)
def test_exit_codes(failure, code, message, capsys):
    def work():
        if failure:
            raise failure

    assert run_and_report(work, PipelinePaths(model=Path("m")).command) == code
    assert capsys.readouterr().err == message


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_and_report(lambda: 1 / 0, PipelinePaths().command)


def run_python(program, *args, **environment):
    """Runs a program in a process that has this environment and PATH only."""
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


PREPARE = "from recommender.cli.process import *; prepare_process()\n"


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_letters_that_a_terminal_lacks_are_escaped(environment):
    done = run_python(PREPARE + "print('La Vita \\xe8 bella')", **environment)
    assert (done.returncode, done.stdout) == (0, "La Vita \\xe8 bella\n"), done.stderr


def test_one_thread_by_default():
    program = PREPARE + "import os; print(os.environ['OMP_NUM_THREADS'])"
    assert run_python(program).stdout == "1\n"
    assert run_python(program, OMP_NUM_THREADS="3").stdout == "3\n"


@pytest.mark.parametrize("threads", [None, "3"])
def test_paddle_leaves_the_number_of_threads(threads):
    """Its import warns about more than one, so the variable is hidden from it meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS")
        if threads:
            patch.setenv("OMP_NUM_THREADS", threads)
        with preserve_num_threads():
            assert "OMP_NUM_THREADS" not in os.environ
        assert os.environ["OMP_NUM_THREADS"] == (threads or "1")


KILL_ITSELF = """
import signal, sys
number = getattr(signal, sys.argv[1])
def work():
    signal.raise_signal(number)
    print("still here")
run_main(lambda: run_and_report(work, str))
"""


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "hung up")],
)
def test_signals_end_with_one_line(name, code, word):
    done = run_python(PREPARE + KILL_ITSELF, name)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"error: {word}; nothing is left half-written\n"
    early = run_python(PREPARE + f"import signal; signal.raise_signal(signal.{name}); print('still here')")
    assert (early.returncode, early.stdout, early.stderr) == (code, "", done.stderr), "while modules are imported"


def test_signals_that_nohup_ignores_stay_ignored():
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    done = run_python(ignore + PREPARE + KILL_ITSELF, "SIGHUP")
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\n", "")


def test_signal_in_a_destructor_is_not_lost():
    """Python prints and drops exceptions there; the signal is raised again."""
    program = """
import signal, time
class Closing:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
        for _ in range(1000): pass
def work():
    Closing()
    for _ in range(300): time.sleep(0.01)
    print("still here")
run_main(lambda: run_and_report(work, str))
"""
    done = run_python(PREPARE + program)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "error: terminated; nothing is left half-written\n"


def test_signals_before_and_after_the_work():
    """While options are parsed, and once the exit code is known."""
    during = "import signal\ndef main():\n    signal.raise_signal(signal.SIGTERM)\nrun_main(main)"
    done = run_python(PREPARE + during)
    assert (done.returncode, done.stderr) == (143, "error: terminated; nothing is left half-written\n")
    after = (
        "import atexit, signal\natexit.register(signal.raise_signal, signal.SIGTERM)\n"
        "def main():\n    print('done')\n    sys.stdout.flush()\n    return 3\nimport sys\nrun_main(main)"
    )
    done = run_python(PREPARE + after)
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")


NOTICE = (SAMPLE / "notice.txt").read_text().strip()


@pytest.mark.parametrize(
    ("command", "reader"),
    [
        ("infer_milvus.py -k 200 --min-ratings 0", "true"),
        ("infer_milvus.py --users all -k 20 --output -", "head -1"),
        pytest.param("infer_milvus.py --users all -k 200 --output /dev/stdout", "head -1", marks=pytest.mark.server),
        ("get_movies_data.py -f many.txt --output -", "head -1"),
    ],
)
def test_reader_that_has_seen_enough(trained, tmp_path, command, reader):
    """A closed pipe, also while megabytes are being written to it: exit code 0, without a word."""
    (tmp_path / "many.txt").write_text("".join(f"{9000 + row}::Film {row} (1990)::War\n" for row in range(9000)))
    name, *args = command.replace("many.txt", str(tmp_path / "many.txt")).split()
    quoted = shlex.join([sys.executable, str(PROJECT / name), *args])
    script = f"{quoted} | {reader}; exit ${{PIPESTATUS[0]}}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", script], cwd=trained, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == (reader != "true")
    assert set(done.stderr.splitlines()) <= {"Milvus Lite opened.", NOTICE, "Start."}


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("train.py >&-", 1, "error: standard output is closed; redirect it, to /dev/null if nobody reads it"),
        ("infer_milvus.py --format csv >&-", 1, "error: standard output is closed; redirect it, to /dev/null"),
        ("infer_milvus.py --ratings - <&-", 1, "error: standard input is closed; name a file"),
        ("infer_milvus.py --format json 2>&-", 0, ""),
    ],
)
def test_closed_streams(trained, command, code, error):
    """As in some daemons: one line on what is left, and nothing else among the results."""
    script = f"exec {shlex.quote(sys.executable)} {PROJECT}/{command}"
    done = subprocess.run(["sh", "-c", script], cwd=trained, capture_output=True, text=True)
    assert done.returncode == code
    assert "".join(done.stderr.splitlines()[-1:]).startswith(error)
    if "json" in command:
        assert len(json.loads(done.stdout)) == 5


def test_json_is_valid_in_any_encoding(trained, tmp_path):
    shutil.copy(SAMPLE / "my_ratings.csv", tmp_path / "Zoë.csv")
    query = ("infer_milvus.py", "--user", 7, "--with", tmp_path / "Zoë.csv", "--format", "json")
    for encoding in ("ascii", "utf-8"):
        done = run_process(*query, cwd=trained, PYTHONIOENCODING=encoding)
        assert "pick of Zoë.csv" in json.loads(done.stdout)[0]


@pytest.mark.parametrize("command", ["train.py", "get_movies_data.py -f movies_origin.txt", "infer_milvus.py -i"])
def test_current_folder_that_was_deleted(tmp_path, command):
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {shlex.quote(sys.executable)} {PROJECT}/{command}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the current folder ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.server
def test_trains_into_the_current_folder_without_a_home(tmp_path):
    """Paddle makes folders at home, Matplotlib too; there is none in some containers."""
    (tmp_path / "here").mkdir()
    args = ("--epochs", 1, "--batch-size", 1000, "--output", ".", "--movies-origin", "../movies.txt")
    done = run_process("train.py", "--data-dir", SAMPLE, *args, cwd=tmp_path / "here", HOME="/dev/null")
    assert done.returncode == 0, done.stderr
    assert "Next: python get_movies_data.py -f ../movies.txt --model .\n" in done.stdout
    succeed("get_movies_data.py", "-f", "../movies.txt", "--model", ".", cwd=tmp_path / "here")
    assert all(line.startswith("warning: it is no better") for line in done.stderr.splitlines())
    load_model(tmp_path / "here")


@pytest.mark.server
def test_two_trainings_into_one_folder(tmp_path):
    """Each ends well, and what is left is the model of one of them."""
    both = [
        start_script(
            "train.py", "--data-dir", SAMPLE, "--epochs", 1, "--batch-size", 1000, "--seed", seed, cwd=tmp_path
        )
        for seed in (1, 2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    fingerprints = [re.search(r"^Model (\w+) written", stdout, re.MULTILINE)[1] for stdout, _ in outputs]
    model = load_model(tmp_path / MODEL_FOLDER)
    assert model.fingerprint in fingerprints
    assert model.manifest["config"]["seed"] == 1 + fingerprints.index(model.fingerprint)
    assert (tmp_path / "movies_origin.txt").read_bytes() == model.catalogue


@pytest.mark.server
def test_several_processes_without_data_end(tmp_path):
    """The others do not wait forever for what the first one cannot download."""
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", PROJECT / "train.py"]
    environment = {**os.environ, **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:1")}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert "cannot download ml-1m.zip" in (tmp_path / "log" / "workerlog.0").read_text()


def test_kill_while_inserting_keeps_the_old_collection(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    expected = succeed("infer_milvus.py", cwd=folder).stdout
    with start_script("infer_milvus.py", "-i", cwd=folder) as inserting:
        assert any(line.startswith("Milvus Lite opened.") for line in inserting.stderr)
        inserting.kill()
    assert inserting.returncode == -signal.SIGKILL
    assert succeed("infer_milvus.py", cwd=folder).stdout == expected


HOLD = """
from recommender.milvus.connection import MilvusConnection
with MilvusConnection("recommender_demo.db"):
    print(1, flush=True)
    input()
"""


def test_two_processes_on_one_lite_folder(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "1\n"
        assert "another process has it open; wait for it to end, or run a server" in fail("infer_milvus.py", cwd=folder)
        holder.communicate("\n", timeout=30)
    succeed("infer_milvus.py", cwd=folder)


def test_environment_that_upsets_pymilvus(trained, tmp_path):
    """It reads variables and a .env file when it is imported."""
    folder = shutil.copytree(trained, tmp_path / "copy")
    (folder / ".env").write_text("MILVUS_URI=./somewhere.db\n")
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    own = {"RECOMMENDER_MILVUS_TLS_CA": "/none.pem", "RECOMMENDER_MILVUS_TOKEN": "root:secret"}
    succeed("infer_milvus.py", cwd=folder, run=run_process, MILVUS_URI="./other.db", **proxy, **own)
