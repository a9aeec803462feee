"""Tests of `jaxasr verify-resume`: the comparison of attempts, the handling of processes, and real verifications."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxasr import data
from jaxasr.__main__ import main
from jaxasr.records import Batch
from jaxasr.verify import attempts as verify_attempts
from jaxasr.verify.attempts import Attempt, run_attempt
from jaxasr.verify.resume import ResumeReport, compare_attempt, plan_attempts, relative_distance, verify_resume
from jaxasr.verify.worker import StepTrace, WorkerArgs, example_names, read_trace
from tests import tiny_lm

LM = str(Path(tiny_lm.__file__))
WORKER_ARGS = WorkerArgs("x.py", ("seed=1",), "data", "run")


# Attempts


def test_each_attempt_goes_some_steps_beyond_its_save_and_the_next_begins_with_it():
    one, two, three = plan_attempts((2, 1, 4))
    assert one == Attempt("attempt-1", 2, first_step=0, kill_after_step=6, saved_steps=4)
    assert two == Attempt("attempt-2", 1, first_step=4, kill_after_step=10, saved_steps=8)
    assert (three.processes, three.first_step, three.kill_after_step) == (4, 8, -1)
    assert [attempt.first_step for attempt in plan_attempts((1, 1), steps=5)] == [0, 2]
    assert plan_attempts((1, 1), steps=5)[0].kill_after_step == 3


@pytest.mark.parametrize(
    ("hosts", "steps", "message"),
    [
        ((2,), None, "--hosts 2: two numbers of processes or more"),
        ((2, 0), None, "--hosts 2,0: .* each at least 1"),
        ((2, 1, 4), 5, "--steps 5: 3 attempts need 6 steps or more"),
    ],
)
def test_attempts_that_prove_nothing_are_refused(hosts, steps, message):
    with pytest.raises(ValueError, match=message):
        plan_attempts(hosts, steps)


# Traces of the processes


def test_a_row_is_named_by_its_example_and_its_content():
    def batch(waves, tokens, ids, valid) -> Batch:
        lengths = np.ones(len(ids), np.int32)
        waves = np.array(waves, np.int16)
        tokens = np.array(tokens, np.int32)
        return Batch(waves, lengths, tokens, lengths, np.array(ids, np.uint32), np.array(valid))

    names = example_names(batch([[1, 2], [1, 2], [0, 0]], [[3], [3], [0]], [7, 7, 0], [True, True, False]))
    assert names[0] == names[1]
    assert names[0].startswith("00000007")
    assert names[2] == ""
    others = [
        batch([[1, 3]], [[3]], [7], [True]),
        batch([[1, 2]], [[4]], [7], [True]),
        batch([[1, 2]], [[3]], [8], [True]),
    ]
    assert names[0] not in [example_names(other)[0] for other in others]


def test_the_rows_of_a_batch_are_those_of_all_processes_in_their_order(tmp_path):
    for process, lines in enumerate((("a", "b", "c"), ("d", "e"))):
        rows = [{"step": 4 + step, "examples": [name], "loss": 0.5 + process} for step, name in enumerate(lines)]
        (tmp_path / f"{process}").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9, "exam')
    trace = read_trace([tmp_path / "0", tmp_path / "1"])
    assert trace == {4: StepTrace(("a", "d"), (0.5, 1.5)), 5: StepTrace(("b", "e"), (0.5, 1.5))}


# Comparisons


WHOLE = {step: StepTrace((f"{step}a", f"{step}b"), (2.0,)) for step in range(8)}
FIRST, LAST = plan_attempts((2, 1))


def trace_of(attempt: Attempt):
    stop = attempt.kill_after_step + 1 or 8
    return {step: WHOLE[step] for step in range(attempt.first_step, stop)}


def test_equal_attempts_are_a_proof():
    comparisons = tuple(compare_attempt(attempt, trace_of(attempt), WHOLE, 0.0) for attempt in (FIRST, LAST))
    report = ResumeReport(Attempt("unbroken", 1, 0), comparisons, 0.0, 0.0)
    assert report.holds
    text = "\n".join(report.lines())
    assert "killed after step 6 | equal, in order | bit-equal | bit-equal | yes" in text
    assert "parameters after the last step: bit-equal" in text
    assert "PROVED: beside the unbroken run of 1 process" in text
    assert "NOT PROVED" in "\n".join(replace(report, parameter_distance=1e-9).lines())


def test_another_order_another_loss_and_another_beginning_are_none():
    swapped = trace_of(LAST) | {5: StepTrace(("5b", "5a"), (2.0,))}
    found = compare_attempt(LAST, swapped, WHOLE, 1e-4)
    assert (found.wrong_examples, found.is_equal) == ((5,), False)
    assert "OTHERS at 5" in found.cells()
    far = trace_of(LAST) | {5: StepTrace(WHOLE[5].examples, (2.0004,))}
    assert compare_attempt(LAST, far, WHOLE, 1e-3).is_equal
    assert not compare_attempt(LAST, far, WHOLE, 1e-4).is_equal
    disagreeing = trace_of(LAST) | {5: StepTrace(WHOLE[5].examples, (2.0, 2.1))}
    assert compare_attempt(LAST, disagreeing, WHOLE, 1e-3).loss_distance == pytest.approx(0.05)
    again = {step: WHOLE[step] for step in range(8)}  # from the first step on, as if nothing had been saved
    assert not compare_attempt(LAST, again, WHOLE, 0.0).is_equal
    assert "0, NOT 4" in compare_attempt(LAST, again, WHOLE, 0.0).cells()
    with pytest.raises(ValueError, match=r"attempt-2 made the steps \[\]"):
        compare_attempt(LAST, {}, WHOLE, 0.0)


def test_the_distance_of_parameters_is_relative_to_their_length():
    whole = {"a": np.array([3.0, 0.0]), "b": np.array(4.0)}
    broken = {"a": np.array([3.0, 0.3]), "b": np.array(3.6)}
    assert relative_distance(whole, broken) == pytest.approx(0.1)
    assert relative_distance(whole, whole) == 0.0


# Processes

PROGRAM = """
import json, pathlib, sys, time
given, steps, wait, status = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "wait", int(sys.argv[4])
with open(given["trace"], "x") as file:
    for step in range(steps):
        print(json.dumps({"step": step, "examples": ["x"], "loss": 1.0}), file=file, flush=True)
pathlib.Path(given["workdir"], "checkpoints", "2").mkdir(parents=True, exist_ok=True)
print("these were my last words")
while wait:
    time.sleep(1)
sys.exit(status)
"""


@pytest.fixture
def run_fake(tmp_path, monkeypatch):
    """Returns a function that runs an attempt of programs that only write their traces, and the reported steps."""
    pids = []

    def run(attempt: Attempt, *, steps: int, wait: bool, status: int = 0, limit_s: float = 30.0):
        started = verify_attempts.subprocess.Popen

        def popen(command, **options):
            end = [str(steps), "wait" if wait else "go", str(status)]
            process = started([sys.executable, "-c", PROGRAM, command[-1], *end], **options)
            pids.append(process.pid)
            return process

        with monkeypatch.context() as patch:
            patch.setattr(verify_attempts.subprocess, "Popen", popen)
            worker_args = replace(WORKER_ARGS, workdir=str(tmp_path / "run"))
            return run_attempt(attempt, worker_args, tmp_path, limit_s=limit_s, on_steps=moved.append)

    moved: list[int] = []
    yield run, moved
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_all_are_killed_after_the_step_when_the_save_is_whole(run_fake):
    run, moved = run_fake
    trace = run(Attempt("attempt-1", 2, first_step=0, kill_after_step=3, saved_steps=2), steps=4, wait=True)
    assert trace[3] == StepTrace(("x", "x"), (1.0, 1.0))
    assert sum(moved) == 4


def test_the_last_attempt_comes_to_its_end(run_fake):
    run, _ = run_fake
    assert sorted(run(Attempt("attempt-2", 1, first_step=0), steps=3, wait=False)) == [0, 1, 2]


def test_a_process_that_fails_ends_the_proof_with_its_last_words(run_fake):
    run, _ = run_fake
    with pytest.raises(
        RuntimeError, match=r"process \d with status 3.* ended before its time\n(.*\n)*these were my last"
    ):
        run(Attempt("attempt-1", 2, first_step=0, kill_after_step=3, saved_steps=2), steps=2, wait=False, status=3)


def test_a_run_that_ends_before_it_is_killed_proves_nothing(run_fake):
    run, _ = run_fake
    with pytest.raises(RuntimeError, match="came to its end before it could be killed"):
        run(Attempt("attempt-1", 1, first_step=0, kill_after_step=9, saved_steps=2), steps=4, wait=False)


def test_without_a_save_nobody_is_killed_for_long(run_fake):
    run, _ = run_fake
    with pytest.raises(TimeoutError, match=r"at the steps \[3\], there are the checkpoints 2 and 5 is needed"):
        run(Attempt("attempt-1", 1, first_step=0, kill_after_step=3, saved_steps=5), steps=4, wait=True, limit_s=1.0)


def test_processes_get_the_variables_of_their_job_alone():
    there = {"JAXASR_PROCESSES": "9", "JAXASR_DISTRIBUTED": "auto", "HOME": "/home"}
    alone = verify_attempts._process_environment(there, "127.0.0.1:5", 0, 1)
    assert alone == {"HOME": "/home", "JAX_PLATFORMS": "cpu"}
    second = verify_attempts._process_environment(there, "127.0.0.1:5", 1, 2)
    assert second == alone | {
        "JAXASR_COORDINATOR": "127.0.0.1:5",
        "JAXASR_PROCESSES": "2",
        "JAXASR_PROCESS": "1",
    }


# Mistakes of a user, and real verifications


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> Path:
    """Prepares a corpus of lines of text."""
    base = tmp_path_factory.mktemp("lines")
    (base / "lines.txt").write_text("AB\nCAD\nBA DC\nDAB\nACDC\nBAD CAB\nD\nCC BB\n")
    data.prepare(data.source("text", base / "lines.txt", {"name": "lines", "dev": "0"}), base / "data")
    return base / "data"


def test_batches_that_can_not_be_shared_out_are_refused(lines, tmp_path):
    with pytest.raises(ValueError, match=r"batches of [\d, ]+ examples .* add train_data.shapes.examples_multiple=7"):
        verify_resume(LM, (), lines, tmp_path / "new", hosts=(7, 1), print_fn=pytest.fail)
    assert not (tmp_path / "new").exists()


def test_what_the_proof_sets_itself_is_refused(lines, tmp_path):
    with pytest.raises(
        ValueError, match="save_every, steps: the verification sets these itself, by --steps and --hosts"
    ):
        verify_resume(LM, ("steps=4", "save_every=2", "seed=1"), lines, tmp_path, hosts=(1, 1), print_fn=pytest.fail)


def test_a_folder_with_something_in_it_is_refused(lines, tmp_path):
    (tmp_path / "old").touch()
    with pytest.raises(ValueError, match="is not empty; the verification begins with the first step"):
        verify_resume(LM, (), lines, tmp_path, hosts=(1, 1))


def command(lines: Path, folder: Path, hosts: str) -> list[str]:
    even = "train_data.shapes.examples_multiple=4"
    return ["verify-resume", LM, even, "--hosts", hosts, "--data-dir", str(lines), "--workdir", str(folder)]


@pytest.mark.slow
def test_on_other_numbers_of_processes_a_run_resumes_as_if_it_had_not_been_killed(lines, tmp_path, capsys):
    assert main(command(lines, tmp_path / "run", "2,1,4")) == 0
    printed = capsys.readouterr().out
    assert printed.count("equal, in order") == 3
    assert "PROVED" in printed.splitlines()[-1]


@pytest.mark.slow
def test_on_the_same_number_it_resumes_bit_by_bit(lines, tmp_path, capsys):
    assert main(command(lines, tmp_path / "run", "2,2")) == 0
    printed = capsys.readouterr().out
    assert "parameters after the last step: bit-equal (allowed: bit-equal)" in printed
