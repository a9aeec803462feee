"""Kills by SIGKILL at random moments: what comes out is that of an unbroken run, to the last bit, and no process is left.

`pytest -m slow tests/run/test_kills.py`; the fast suite has ends of attempts at chosen places (test_validation.py).
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxasr.data import Corpus
from jaxasr.report.results import SPEED
from tests.processes import PROCESS_S
from tests.trained_run import TINY, TrainedRun, saved_state

pytestmark = pytest.mark.slow

KILLS = 17  # of each of the six kinds of process: 102
LIMIT_S = 900.0  # no attempt takes longer
JAXASR = [sys.executable, "-m", "jaxasr"]
STEPS = 40
SWEEP = '''"""Two variants of the tiny experiment."""
from dataclasses import replace

from tests import tiny_experiments as tiny


def experiment():
    return replace(tiny.experiment(), steps=20, eval_every=10, save_every=5, log_every=5)


def seeds():
    yield "first", {"seed": 0}
    yield "second", {"seed": 1}
'''


class Process:
    """A command that is started again and again; its processes, children included, carry a mark in their environment."""

    def __init__(self, command: list[str | Path]):
        self.command = [*map(str, command)]
        self.mark = f"JAXASR_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.environment = {**os.environ, "JAX_PLATFORMS": "cpu", name: value}

    def run(self, kill_after_s: float = LIMIT_S) -> bool:
        """Returns True if it came to its end, False if it was killed. Afterwards none of its processes is left."""
        with subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, err = process.communicate(timeout=kill_after_s)
            except subprocess.TimeoutExpired:
                assert kill_after_s < LIMIT_S, f"{self.command} hangs"
                process.kill()
                process.wait(PROCESS_S)
                self._check_none_is_left()
                return False
        assert process.returncode == 0, err.decode()
        self._check_none_is_left()
        return True

    def _check_none_is_left(self) -> None:
        end = time.monotonic() + 60.0
        while left := [pid for pid in os.listdir("/proc") if pid.isdecimal() and self._is_one(Path("/proc", pid))]:
            assert time.monotonic() < end, f"processes are left: {left}"
            time.sleep(0.05)

    def _is_one(self, place: Path) -> bool:
        try:
            state = (place / "stat").read_text().rpartition(")")[2].split()[0]
            return state not in "ZX" and self.mark.encode() in (place / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            return False


def check_nothing(broken: Path) -> None:
    """Accepts whatever a kill has left."""


def prove(
    command: Callable[[Path], list[str | Path]],
    compare: Callable[[Path, Path], None],
    folder: Path,
    after_kill: Callable[[Path], None] = check_nothing,
) -> None:
    """Makes two unbroken runs and as many broken ones as KILLS need, and compares each of them with the first one.

    The moments of the kills are spread over the time of the second run, which finds compiled programs as the others do.
    """
    rng = np.random.default_rng(0)
    whole, second = (folder / name / "run" for name in ("whole", "second"))
    assert Process(command(whole)).run()
    started = time.monotonic()
    assert Process(command(second)).run()
    span_s = time.monotonic() - started
    compare(whole, second)
    kills = number = 0
    while kills < KILLS:
        broken = folder / f"broken-{number}" / "run"
        process = Process(command(broken))
        while not process.run(float(rng.uniform(0.0, span_s)) if kills < KILLS else LIMIT_S):
            kills += 1
            after_kill(broken)
        compare(whole, broken)
        number += 1


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of results without their speed, sorted: variants of a sweep end in any order."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(
        ({key: value for key, value in row.items() if key not in SPEED} for row in rows),
        key=lambda row: (row["name"], row["split"]),
    )


def same_files(whole: Path, broken: Path, *names: str) -> None:
    for name in names:
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name


def same_state(whole: Path, broken: Path, step: int) -> None:
    left, right = (saved_state(folder, step) for folder in (whole, broken))
    assert left.keys() == right.keys()
    assert [path for path in left if left[path].tobytes() != right[path].tobytes()] == []


@pytest.mark.parametrize("workers", [0, 2])
def test_training_with_its_evaluations(trained_run: TrainedRun, tmp_path, workers):
    changes = [f"steps={STEPS}", "eval_every=20", "save_every=10", "log_every=10"]

    def command(folder: Path) -> list[str | Path]:
        options = ["--data-dir", trained_run.data_dir, "--workdir", folder, "--workers", str(workers)]
        return [*JAXASR, "train", f"{TINY}:restless", *changes, *options, "--results", folder.parent / "shared.jsonl"]

    def compare(whole: Path, broken: Path) -> None:
        same_state(whole, broken, STEPS)
        same_files(whole, broken, "metrics.jsonl", "experiment.txt", f"checkpoints/{STEPS}/evaluation.json")
        same_files(whole, broken, *(f"hypotheses.{split}.jsonl" for split in ("validation", "train", "test")))
        assert sorted(os.listdir(whole / "checkpoints")) == sorted(os.listdir(broken / "checkpoints"))
        for name in ("results.jsonl", "../shared.jsonl"):
            assert rows_of(whole / name) == rows_of(broken / name)

    prove(command, compare, tmp_path)


def test_evaluation(trained_run: TrainedRun, tmp_path):
    def command(folder: Path) -> list[str | Path]:
        if not folder.exists():
            shutil.copytree(trained_run.workdir / "checkpoints", folder / "checkpoints")
        return [*JAXASR, *trained_run.arguments("eval", "--results", folder.parent / "shared.jsonl", workdir=folder)]

    def compare(whole: Path, broken: Path) -> None:
        same_files(whole, broken, *(f"hypotheses.{split}.jsonl" for split in ("train", "test")))
        for name in ("results.jsonl", "../shared.jsonl"):
            assert rows_of(whole / name) == rows_of(broken / name)

    prove(command, compare, tmp_path)


def test_a_sweep(trained_run: TrainedRun, tmp_path):
    file = tmp_path / "variants.py"
    file.write_text(SWEEP)

    def command(folder: Path) -> list[str | Path]:
        options = ["--data-dir", trained_run.data_dir, "--workdir", folder, "--results", folder.parent / "rows.jsonl"]
        return [*JAXASR, "sweep", f"{file}:seeds", *options, "--jobs", "2", "--workers", "1"]

    def compare(whole: Path, broken: Path) -> None:
        for name in ("first", "second"):
            same_state(whole / name, broken / name, 20)
            same_files(whole / name, broken / name, "metrics.jsonl", "hypotheses.test.jsonl")
        assert rows_of(whole / "../rows.jsonl") == rows_of(broken / "../rows.jsonl")

    prove(command, compare, tmp_path)


def test_prepare_that_replaces_a_corpus(trained_run: TrainedRun, tmp_path):
    """After every kill one whole copy is there, the old one or the new one, which are equal."""

    def command(folder: Path) -> list[str | Path]:
        if not folder.exists():
            shutil.copytree(trained_run.data_dir, folder)
        source = ["--from", trained_run.wavs, "--data-dir", folder]
        return [*JAXASR, "prepare", "manifest", *source, "name=tones", "--overwrite"]

    def check_whole(folder: Path) -> None:
        for split in ("train", "test"):
            left, right = (Corpus("tones", split).open(data_dir) for data_dir in (trained_run.data_dir, folder))
            assert left.manifest_hash == right.manifest_hash
            assert [left.read(i) for i in range(len(left))] == [right.read(i) for i in range(len(right))]

    def compare(whole: Path, broken: Path) -> None:
        check_whole(broken)
        left, right = (sorted(path.name for path in folder.rglob("*")) for folder in (whole, broken))
        assert left == right  # nothing of an attempt is left
        names = ("prepared.json", "index-train.jsonl", "index-test.jsonl")
        same_files(whole, broken, *(f"tones/1.0.0/{name}" for name in names))

    prove(command, compare, tmp_path, check_whole)


def test_transcribe(trained_run: TrainedRun, tmp_path):
    files = sorted(trained_run.wavs.rglob("*.wav"))

    def command(folder: Path) -> list[str | Path]:
        return [
            *JAXASR,
            "transcribe",
            TINY,
            *files,
            "--workdir",
            trained_run.workdir,
            "--format",
            "json",
            "--out",
            folder,
        ]

    def compare(whole: Path, broken: Path) -> None:
        names = sorted(path.name for path in whole.iterdir())
        assert names == sorted(path.name for path in broken.iterdir()) == [f"{path.stem}.json" for path in files]
        same_files(whole, broken, *names)

    prove(command, compare, tmp_path)
