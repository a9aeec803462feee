"""Every second of a run has one kind, over all its attempts."""

import json
import math

import jax
import jax.numpy as jnp
import pytest

from jaxasr.experiment.goodput_totals import FILE, KINDS, GoodputTotals, read_goodput
from jaxasr.report import Measurements
from jaxasr.run.goodput import Goodput


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
            goodput.record_work(8.0, 6.0, 3.0)
            if step % every == 0:
                goodput.write(step)
    return goodput


def test_sums_go_on_and_steps_that_are_done_again_are_lost(tmp_path, clock):
    run_attempt(tmp_path, clock, first=0, last=49, every=10)  # 9 steps are in no line
    run_attempt(tmp_path, clock, first=20, last=30, every=10)  # 20 of 40 steps are done again
    spent = run_attempt(tmp_path, clock, first=20, last=60, every=10).totals()  # 10 once more
    assert (spent.attempt, spent.step) == (3, 60)
    assert seconds(spent) == {"step": 60.0, "lost": 30.0}
    assert (spent.flops, spent.useful_flops, spent.audio_s) == (60 * 8.0, 60 * 6.0, 60 * 3.0)
    assert "in 3 attempts" in str(spent)


def test_an_attempt_that_begins_anew_has_lost_all(tmp_path, clock):
    run_attempt(tmp_path, clock, first=0, last=10, every=10)
    spent = run_attempt(tmp_path, clock, first=0, last=0, every=10).totals()
    assert seconds(spent) == {"lost": 10.0}
    assert spent.flops == 0.0


class Run:
    """A run of two processes of 60 steps of a second, with a checkpoint every 10 and a line every 5.

    The first step of an attempt takes 40 s more: it waits for the compilation of the other process.
    """

    def __init__(self, folder, clock):
        self._folder = folder
        self._clock = clock

    def attempt(self, first, last, *, ends_by=None, waits_s=0.0):
        """Makes the steps from `first` to `last`; then it ends, is killed ("kill") or ends by an error after a wait."""
        goodput = Goodput(self._folder, clock=self._clock, processes=2)
        try:
            with goodput:
                goodput.resume_at(first)
                with goodput.record("step"):
                    self._clock.wait(40.0)
                    for step in range(first + 1, last + 1):
                        self._clock.wait(1.0)
                        goodput.record_work(8.0, 6.0, 3.0)
                        goodput.end_step("shape")
                        if step % 10 == 0:
                            goodput.save_at(step)
                        elif step % 5 == 0:
                            goodput.write(step)
                    self._clock.wait(waits_s)
                    written = (self._folder / FILE).read_bytes()
                    if ends_by is not None:
                        raise ends_by
        except (KeyboardInterrupt, ConnectionError) as end:
            if isinstance(end, KeyboardInterrupt):  # SIGKILL: nothing is written any more
                (self._folder / FILE).write_bytes(written)


@pytest.mark.parametrize("ends_by", [KeyboardInterrupt(), ConnectionError("reset by peer")], ids=["kill", "error"])
def test_a_run_that_was_ended_twice_has_the_time_and_the_flops_of_an_unbroken_one(tmp_path, clock, ends_by):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    Run(tmp_path / "whole", clock).attempt(0, 60)
    broken = Run(tmp_path / "broken", clock)
    broken.attempt(0, 27, ends_by=ends_by, waits_s=80.0)  # 80 s for a dead process
    broken.attempt(20, 40, ends_by=ends_by, waits_s=0.5)  # right after a checkpoint
    broken.attempt(40, 60)
    whole, again = (read_goodput(tmp_path / name)[-1] for name in ("whole", "broken"))
    assert seconds(whole) == {"step": 60.0, "wait": 40.0}
    assert again.seconds["step"] == 60.0
    assert (again.flops, again.useful_flops, again.audio_s) == (whole.flops, whole.useful_flops, whole.audio_s)
    if isinstance(ends_by, ConnectionError):
        assert seconds(again) == {"step": 60.0, "wait": 79.0 + 3 * 40.0, "lost": 8.5}
    else:  # what a killed attempt did after its last line, at step 25, is in no line
        assert seconds(again) == {"step": 60.0, "wait": 3 * 40.0, "lost": 5.0}


def test_a_long_step_in_a_job_of_several_processes_is_waiting(tmp_path, clock):
    for processes, waited in ((1, {}), (2, {"wait": 9.0})):
        folder = tmp_path / str(processes)
        folder.mkdir()
        with Goodput(folder, clock=clock, processes=processes) as goodput, goodput.record("step"):
            for duration_s in (*[1.0] * 6, 10.0, 1.0):
                clock.wait(duration_s)
                goodput.end_step("shape")
            spent = seconds(goodput.totals())
        assert spent == {"step": 17.0 - sum(waited.values())} | waited


def test_the_time_of_every_attempt_is_counted_on_its_own_devices(tmp_path, clock):
    for devices, waited_s in ((1, 10.0), (8, 2.0)):
        with Goodput(tmp_path, clock=clock) as goodput:
            clock.wait(0.5)
            goodput.count_devices(devices)
            with goodput.record("step"):
                clock.wait(waited_s - 0.5)
    assert read_goodput(tmp_path)[-1].device_s == 10.0 + 8 * 2.0


def test_amounts_that_older_lines_lack_stay_unknown(tmp_path, clock):
    (tmp_path / FILE).write_text(json.dumps(GOOD) + "\n")
    with Goodput(tmp_path, clock=clock) as goodput, goodput.record("step"):
        goodput.resume_at(7)
        clock.wait(1.0)
        goodput.record_work(1.0, 1.0, 3.0)
        assert (goodput.totals().audio_s, goodput.totals().device_s) == (None, None)
    line = read_goodput(tmp_path)[-1]
    assert (line.audio_s, line.device_s, line.flops) == (None, None, 2.0)


def test_lines_without_waiting_are_read(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({name: value for name, value in GOOD.items() if name != "wait_s"}) + "\n")
    (line,) = read_goodput(tmp_path)
    assert (line.seconds["wait"], line.seconds["step"]) == (0.0, 1.0)


def test_what_is_written_reads_back(tmp_path, clock):
    with Goodput(tmp_path, clock=clock) as goodput, goodput.record("step"):
        clock.wait(1.5)
        goodput.record_work(10.0, 5.0, 3.0)
        goodput.write(7)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"attempt": 1, "st')
    found = read_goodput(tmp_path)
    assert [totals.step for totals in found] == [7, 7]
    assert found[-1] == GoodputTotals(1, 7, dict.fromkeys(KINDS, 0.0) | {"step": 1.5}, 10.0, 5.0, 3.0, 1.5)
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
