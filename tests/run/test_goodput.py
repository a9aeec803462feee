"""Every second of a run has one kind, over all its attempts."""

import json
import math
import os
import time

import jax
import jax.numpy as jnp
import pytest

from jaxasr.report import Measurements
from jaxasr.run.goodput import FILE, KINDS, Goodput, GoodputTotals, process_start_s, read_goodput

IMPORTED_S = time.perf_counter()


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def seconds(spent):
    return {kind: round(s, 6) for kind, s in spent.seconds.items() if s}


def test_every_second_has_one_kind(tmp_path, clock):
    with Goodput(tmp_path, started_s=clock() - 3.0, clock=clock) as goodput:
        clock.wait(1.0)
        with goodput.record("restore"):
            clock.wait(2.0)
        goodput.resume_at(0)
        with goodput.record("step"):
            clock.wait(10.0)
            goodput.record_stall(0.5)
            with goodput.record("evaluation"):
                clock.wait(4.0)
            clock.wait(1.0)
            with goodput.record("checkpoint"):
                clock.wait(0.25)
        clock.wait(0.25)
        spent = goodput.totals()
    assert seconds(spent) == {
        "other": 4.25,
        "restore": 2.0,
        "step": 10.5,
        "stall": 0.5,
        "evaluation": 4.0,
        "checkpoint": 0.25,
    }
    assert spent.total_s == clock() - 97.0
    assert spent.goodput == pytest.approx(10.5 / 21.5)
    assert str(spent).startswith("0:00:22 of wall time: goodput 48.8% (step 48.8%, other 19.8%, evaluation 18.6%")


def test_compiling_is_taken_out_of_what_it_happened_in(tmp_path):
    with Goodput(tmp_path) as goodput:
        with goodput.record("evaluation"):
            jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((5, 5)))
        spent = goodput.totals()
    assert spent.seconds["compile"] > 0.0
    assert spent.seconds["evaluation"] > 0.0
    assert sum(seconds(spent).values()) == pytest.approx(spent.total_s, abs=1e-5)


def test_a_stall_is_no_longer_than_what_was_spent(tmp_path, clock):
    with Goodput(tmp_path, clock=clock) as goodput, goodput.record("step"):
        clock.wait(1.0)
        goodput.record_stall(5.0)
        assert seconds(goodput.totals()) == {"stall": 1.0}


def run_attempt(folder, clock, *, first, last, every, step_s=1.0):
    """Runs an attempt from a step to another, at which it is killed: no more lines are written."""
    goodput = Goodput(folder, clock=clock)
    goodput.resume_at(first)
    with goodput.record("step"):
        for step in range(first + 1, last + 1):
            clock.wait(step_s)
            goodput.record_flops(8.0, 6.0)
            if step % every == 0:
                goodput.write(step)
    return goodput


def test_sums_go_on_and_steps_that_are_done_again_are_lost(tmp_path, clock):
    run_attempt(tmp_path, clock, first=0, last=49, every=10)  # 9 steps are in no line
    run_attempt(tmp_path, clock, first=20, last=30, every=10)  # 20 of 40 steps are done again
    spent = run_attempt(tmp_path, clock, first=20, last=60, every=10).totals()  # 10 once more
    assert (spent.attempt, spent.step) == (3, 60)
    assert seconds(spent) == {"step": 60.0, "lost": 30.0}
    assert (spent.flops, spent.useful_flops) == (60 * 8.0, 60 * 6.0)
    assert "in 3 attempts" in str(spent)


def test_an_attempt_that_begins_anew_has_lost_all(tmp_path, clock):
    run_attempt(tmp_path, clock, first=0, last=10, every=10)
    spent = run_attempt(tmp_path, clock, first=0, last=0, every=10).totals()
    assert seconds(spent) == {"lost": 10.0}
    assert spent.flops == 0.0


def test_what_is_written_reads_back(tmp_path, clock):
    with Goodput(tmp_path, clock=clock) as goodput, goodput.record("step"):
        clock.wait(1.5)
        goodput.record_flops(10.0, 5.0)
        goodput.write(7)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"attempt": 1, "st')
    found = read_goodput(tmp_path)
    assert [totals.step for totals in found] == [7, 7]
    assert found[-1] == GoodputTotals(1, 7, dict.fromkeys(KINDS, 0.0) | {"step": 1.5}, 10.0, 5.0)
    assert json.loads((tmp_path / FILE).read_text().splitlines()[0])["step_s"] == 1.5
    with Goodput(tmp_path, clock=clock):
        clock.wait(1.0)
    assert [totals.attempt for totals in read_goodput(tmp_path)] == [1, 1, 2]
    assert read_goodput(tmp_path / "nothing") == []
    assert GoodputTotals().goodput == 0.0


GOOD = {"attempt": 1, "step": 7} | dict.fromkeys((*(f"{kind}_s" for kind in KINDS), "flops", "useful_flops"), 1.0)


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[]",
        "null",
        "\xff",
        "{}",
        *(json.dumps(GOOD | {name: value}) for name in GOOD for value in (None, "x", [1], -1, math.inf, math.nan)),
        json.dumps(GOOD | {"flops": 10**400}),
        json.dumps(GOOD | {"attempt": 1.5}),
        json.dumps({name: value for name, value in GOOD.items() if name != "lost_s"}),
    ],
)
def test_a_damaged_line_is_named_and_left_out_and_the_run_resumes(line, tmp_path, clock):
    path = tmp_path / FILE
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="latin-1")
    printed: list[str] = []
    with Goodput(tmp_path, clock=clock, measurements=Measurements(printed.append)) as goodput:
        goodput.resume_at(7)
        assert goodput.totals().attempt == 2
    assert len(printed) == 1
    assert printed[0].startswith(f"WARNING: {path}, line 2 is left out: it is no line of goodput (")
    assert [totals.attempt for totals in read_goodput(tmp_path, printed.append)] == [1, 2]


def test_a_process_knows_when_it_began():
    first_s = process_start_s()
    second_s = process_start_s()
    assert first_s < IMPORTED_S
    assert first_s == pytest.approx(second_s, abs=0.02)
    assert time.perf_counter() - first_s > time.process_time() / (os.cpu_count() or 1)
