"""Malformed inputs through the command line: no traceback, no hang, and no silent acceptance of detectable damage."""

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from jaxasr.cli.main import main
from tests.cli.malformed_inputs import CASES, SEED, Case, cases
from tests.limits import time_limit
from tests.processes import PROCESS_S
from tests.scale.multi_process import ROOT
from tests.trained_run import TrainedRun

FAST = 60  # cases in the fast suite
PROCESSES = 12  # cases that run as real processes as well
LIMIT_S = 120.0  # of the wall clock, on a busy machine
LIMIT_CPU_S = 10.0
LONGEST = 8_000  # characters of an error message


@dataclass(frozen=True)
class Outcome:
    """The end of a command."""

    case: Case
    fault: str  # "" if it ended as it should
    message: str


@pytest.fixture(scope="module")
def malformed(trained_run) -> list[Case]:
    return cases(trained_run)


def test_malformed_inputs_end_with_a_message(malformed, trained_run, tmp_path):
    """A sample, the same in every run."""
    chosen = random.Random(SEED).sample(malformed, FAST)
    assert faults(chosen, trained_run, tmp_path) == []


@pytest.mark.slow
def test_all_malformed_inputs_end_with_a_message(malformed, trained_run, tmp_path):
    assert len(malformed) == CASES
    assert len({case.name for case in malformed}) > CASES - 30
    assert faults(malformed, trained_run, tmp_path) == []


@pytest.mark.slow
def test_malformed_inputs_end_real_processes_with_a_message(malformed, trained_run, tmp_path):
    for number, case in enumerate(random.Random(SEED + 1).sample(malformed, PROCESSES)):
        words = written(case, trained_run, tmp_path / str(number))
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", **case.environment}
        done = subprocess.run(
            [sys.executable, "-m", "jaxasr", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            timeout=PROCESS_S,
            check=False,
        )
        message = done.stderr.decode()
        assert fault_of(case, done.returncode, message) == "", (case.name, message)


def faults(chosen: list[Case], made: TrainedRun, folder: Path) -> list[tuple[str, str, str]]:
    """Runs cases in this process and returns those that did not end as they should."""
    outcomes = [outcome(case, made, folder / str(number)) for number, case in enumerate(chosen)]
    return [(found.case.name, found.fault, found.message[-600:]) for found in outcomes if found.fault]


def outcome(case: Case, made: TrainedRun, folder: Path) -> Outcome:
    """Runs a case in this process."""
    words = written(case, made, folder)
    out, err = io.StringIO(), io.StringIO()
    began = time.process_time()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in case.environment.items():
            patch.setenv(name, value)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            with time_limit(LIMIT_S):
                status = main(words)
        except SystemExit as exit:
            status = int(exit.code or 0)
        except Exception as error:
            return Outcome(case, f"raised {type(error).__name__}", str(error))
    spent_s = time.process_time() - began
    fault = fault_of(case, status, err.getvalue())
    if spent_s > LIMIT_CPU_S:
        fault = fault or f"took {spent_s:.1f} s"
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(case, fault, err.getvalue())


def fault_of(case: Case, status: int, message: str) -> str:
    """Returns why an end is not as it should be; "" if it is."""
    if "Traceback" in message:
        return "printed a traceback"
    if status == 0:
        return "accepted" if case.detectable else ""
    if status != case.status:
        return f"status {status}, {case.status} is expected"
    name = "error: " if status == 2 else f"jaxasr {case.arguments[0]}: "
    _, found, text = message.rpartition(name)
    if not found or not text.strip():
        return "no message"
    return f"a message of {len(text):,} characters" if len(text) > LONGEST else ""


def written(case: Case, made: TrainedRun, folder: Path) -> list[str]:
    """Writes the files of a case and returns its command line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in {"run": made.workdir, "data": made.data_dir}.items():
        if name in case.copies:
            shutil.copytree(source, folder / name)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return case.words(folder)


@pytest.mark.parametrize(
    ("status", "message", "fault"),
    [
        (1, "jaxasr show: a sentence\n", ""),
        (0, "", "accepted"),
        (1, "Traceback (most recent call last):\n", "printed a traceback"),
        (1, "something\n", "no message"),
        (1, "jaxasr show: \n", "no message"),
        (2, "jaxasr show: a sentence\n", "status 2, 1 is expected"),
        (1, "jaxasr show: " + "x" * 9_000, "a message of 9,000 characters"),
    ],
)
def test_the_judge_tells_good_ends_from_bad(status, message, fault):
    assert fault_of(Case("a", ("show",)), status, message) == fault
