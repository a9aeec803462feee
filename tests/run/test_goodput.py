"""Every second of a run has one kind, over all its lives."""

import json
import os
import time

import jax
import jax.numpy as jnp
import pytest

from jaxasr.run.goodput import FILE, KINDS, Goodput, Spent, lines, process_began_s

IMPORTED_S = time.perf_counter()


class Clock:
    """Seconds that pass when they are told to."""

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
    with Goodput(tmp_path, began_s=clock() - 3.0, clock=clock) as goodput:
        clock.wait(1.0)
        with goodput.spent("restore"):
            clock.wait(2.0)
        goodput.go_on(0)
        with goodput.spent("step"):
            clock.wait(10.0)
            goodput.stalled(0.5)
            with goodput.spent("evaluation"):
                clock.wait(4.0)
            clock.wait(1.0)
            with goodput.spent("checkpoint"):
                clock.wait(0.25)
        clock.wait(0.25)
        spent = goodput.so_far()
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
        with goodput.spent("evaluation"):
            jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((5, 5)))
        spent = goodput.so_far()
    assert spent.seconds["compile"] > 0.0
    assert spent.seconds["evaluation"] > 0.0
    assert sum(seconds(spent).values()) == pytest.approx(spent.total_s, abs=1e-5)


def test_a_stall_is_no_longer_than_what_was_spent(tmp_path, clock):
    with Goodput(tmp_path, clock=clock) as goodput, goodput.spent("step"):
        clock.wait(1.0)
        goodput.stalled(5.0)
        assert seconds(goodput.so_far()) == {"stall": 1.0}


def live(folder, clock, *, first, last, every, step_s=1.0):
    """A life that begins at a step and is killed after another: no more lines are written."""
    goodput = Goodput(folder, clock=clock)
    goodput.go_on(first)
    with goodput.spent("step"):
        for step in range(first + 1, last + 1):
            clock.wait(step_s)
            goodput.worked(8.0, 6.0)
            if step % every == 0:
                goodput.write(step)
    return goodput


def test_sums_go_on_and_steps_that_are_done_again_are_lost(tmp_path, clock):
    live(tmp_path, clock, first=0, last=49, every=10)  # 9 steps are in no line
    live(tmp_path, clock, first=20, last=30, every=10)  # 20 of 40 steps are done again
    spent = live(tmp_path, clock, first=20, last=60, every=10).so_far()  # 10 once more
    assert (spent.life, spent.step) == (3, 60)
    assert seconds(spent) == {"step": 60.0, "lost": 30.0}
    assert (spent.flops, spent.useful_flops) == (60 * 8.0, 60 * 6.0)
    assert "in 3 lives" in str(spent)


def test_a_life_that_begins_anew_has_lost_all(tmp_path, clock):
    live(tmp_path, clock, first=0, last=10, every=10)
    spent = live(tmp_path, clock, first=0, last=0, every=10).so_far()
    assert seconds(spent) == {"lost": 10.0}
    assert spent.flops == 0.0


def test_what_is_written_reads_back(tmp_path, clock):
    with Goodput(tmp_path, clock=clock) as goodput, goodput.spent("step"):
        clock.wait(1.5)
        goodput.worked(10.0, 5.0)
        goodput.write(7)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"life": 1, "st')
    found = lines(tmp_path)
    assert [each.step for each in found] == [7, 7]
    assert found[-1] == Spent(1, 7, dict.fromkeys(KINDS, 0.0) | {"step": 1.5}, 10.0, 5.0)
    assert json.loads((tmp_path / FILE).read_text().splitlines()[0])["step_s"] == 1.5
    with Goodput(tmp_path, clock=clock):
        clock.wait(1.0)
    assert [each.life for each in lines(tmp_path)] == [1, 1, 2]
    assert lines(tmp_path / "nothing") == []
    assert Spent().goodput == 0.0


def test_a_process_knows_when_it_began():
    first_s, second_s = process_began_s(), process_began_s()
    assert first_s < IMPORTED_S
    assert first_s == pytest.approx(second_s, abs=0.02)
    assert time.perf_counter() - first_s > time.process_time() / (os.cpu_count() or 1)
