"""A workdir is held by one run, belongs to one experiment, and is free again however the run ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from jaxasr import tree
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from tests.processes import PROCESS_S, read_until

HOLDS = """
import pathlib, sys, time
from jaxasr.experiment.workdir import Workdir
with Workdir(pathlib.Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Settings:
    """Stands for an experiment."""

    depth: int
    seed: int = 0


EXPERIMENT = Settings(6)


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "runs" / "one")


@pytest.fixture
def other_run(workdir):
    """Another process that holds the workdir."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", HOLDS, str(workdir.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        read_until(process, "held\n")
        yield process
        process.kill()


def test_a_workdir_in_use_by_another_process_says_by_whom_and_is_free_when_that_was_killed(workdir, other_run):
    with pytest.raises(ValueError, match="in use by another run") as caught, workdir.held():
        raise AssertionError("held twice")
    assert f"(process {other_run.pid} on {socket.gethostname()}, since 20" in str(caught.value)
    assert json.loads(workdir.lock.read_text())["pid"] == other_run.pid  # asking has changed nothing
    other_run.send_signal(signal.SIGKILL)
    other_run.wait(PROCESS_S)
    with workdir.held() as held:
        assert json.loads(held.lock.read_text())["pid"] == os.getpid()


def test_twice_in_one_process_is_refused_too_and_the_first_goes_on_holding(workdir):
    with workdir.held():
        for path in (workdir.path, workdir.path / ".." / "one"):
            with pytest.raises(ValueError, match="another run of this process"), Workdir(path).held():
                raise AssertionError("held twice")
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        command = [sys.executable, "-c", code, workdir.lock]
        other = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=False)
        assert "BlockingIOError" in other.stderr
    with workdir.held():
        assert workdir.path.is_dir()


def test_it_is_let_go_after_an_error(workdir):
    with pytest.raises(RuntimeError, match="in the run"), workdir.held():
        raise RuntimeError("in the run")
    assert workdir.lock.read_text() == ""
    with workdir.held():
        assert workdir.lock.read_text() != ""


def test_a_holder_that_has_not_said_its_name_yet(workdir, other_run):
    workdir.lock.write_text("")
    with pytest.raises(ValueError, match="in use by another run; wait"), workdir.held():
        raise AssertionError("held twice")


def test_the_same_experiment_goes_on_and_another_is_refused_line_by_line(workdir):
    with workdir.held():
        workdir.keep_experiment(EXPERIMENT)
        workdir.keep_experiment(EXPERIMENT)
        assert workdir.experiment.read_text() == tree.render(EXPERIMENT)
        workdir.metrics.write_text("{}\n")
        with pytest.raises(ValueError, match="belongs to another experiment") as caught:
            workdir.keep_experiment(Settings(4))
        assert str(caught.value).splitlines()[1:-1] == ["  depth: 6 -> 4"]
        assert workdir.experiment.read_text() == tree.render(EXPERIMENT)
    assert sorted(path.name for path in workdir.path.iterdir()) == [".lock", "experiment.txt", "metrics.jsonl"]


def test_an_experiment_that_came_to_nothing_gives_way_to_one_that_is_mended(workdir):
    """The first was refused after it was written down: by its batch shapes, for want of memory."""
    with workdir.held():
        workdir.keep_experiment(EXPERIMENT)
        workdir.metrics.write_text("")
        workdir.checkpoints.mkdir()
        (workdir.checkpoints / "20.orbax-checkpoint-tmp").mkdir()
        workdir.keep_experiment(Settings(4))
        assert workdir.experiment.read_text() == tree.render(Settings(4))
        assert workdir.saved_steps() == 0
        (workdir.checkpoints / "20").mkdir()
        assert workdir.saved_steps() == 20
        with pytest.raises(ValueError, match="belongs to another experiment"):
            workdir.keep_experiment(EXPERIMENT)


def test_an_option_that_came_later_is_the_same_experiment_at_its_default(workdir):
    with workdir.held():
        workdir.experiment.write_text(". = Settings\ndepth = 6")
        workdir.metrics.write_text("{}\n")
        workdir.keep_experiment(EXPERIMENT)
        with pytest.raises(ValueError, match="seed: absent -> 1"):
            workdir.keep_experiment(Settings(6, seed=1))


def test_a_write_that_fails_leaves_what_was_there(workdir, monkeypatch):
    with workdir.held():
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk on fire")))
        with pytest.raises(OSError, match="on fire"):
            workdir.keep_experiment(EXPERIMENT)
    assert [path.name for path in workdir.path.iterdir()] == [".lock"]


def test_paths_are_known_without_holding_or_making_anything(workdir):
    paths = (workdir.checkpoints, workdir.metrics, workdir.pictures, workdir.experiment)
    names = ["checkpoints", "metrics.jsonl", "pictures", "experiment.txt"]
    assert [str(path.relative_to(workdir.path)) for path in paths] == names
    assert not workdir.path.exists()


@pytest.mark.parametrize("make", [lambda path: Workdir(path), lambda path: RuntimeConfig(data_dir=path)])
def test_an_address_of_a_store_is_no_folder(make):
    with pytest.raises(ValueError, match=r"gs://bucket/run: gs:// is not supported; .* mount the store"):
        make(Path("gs://bucket/run"))
    make(Path("gs/bucket:/run"))
