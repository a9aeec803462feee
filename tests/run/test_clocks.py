"""The clocks of the loop: implicit transfers are errors in a step and allowed in a pause, which no clock counts as steps."""

import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import report
from jaxasr.data import Shape
from jaxasr.run.clocks import Clocks, Outlook, StageSchedule, evaluations_left, process_start_s
from jaxasr.run.goodput import Goodput
from jaxasr.run.throughput import ThroughputMonitor
from jaxasr.scale import Watchdog
from jaxasr.scale.profiler import StepProfiler

IMPORTED_S = time.perf_counter()
SHAPE = Shape(samples=16_000, tokens=8, examples=4)
LONGER = Shape(samples=32_000, tokens=8, examples=2)


@pytest.fixture
def clocks(tmp_path):
    with (
        Goodput(tmp_path) as goodput,
        ThroughputMonitor(tmp_path, rate_hz=None, goodput=goodput) as throughput,
        Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog,
    ):
        schedule = StageSchedule(end=10, shapes=(SHAPE,), rate_hz=16_000, eval_every=5, save_every=5)
        bar = report.Progress(10, "train", "steps", quiet=True)
        yield Clocks(goodput, throughput, watchdog, Outlook(bar, (schedule,)), StepProfiler(tmp_path, None))


def test_a_step_may_copy_arrays_explicitly_only(clocks):
    double = jax.jit(lambda x: 2 * x)
    with clocks.run_steps():
        on_device = double(jax.device_put(np.ones(3, np.float32)))
        np.testing.assert_array_equal(jax.device_get(on_device), np.full(3, 2.0))
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            double(np.ones(3, np.float32))
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            on_device + 1.0
        assert jax.config.jax_transfer_guard_device_to_host == "disallow"  # a CPU has no such transfer to forbid
    double(np.ones(3, np.float32))


def test_a_pause_allows_copies_and_is_no_step(clocks):
    started_s = clocks.throughput._started_s
    with clocks.run_steps():
        with clocks.pause("evaluation"):
            time.sleep(0.2)
            assert float(jnp.ones(()) + 1.0) == 2.0
        with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
            jax.jit(jnp.sin)(np.ones(3))
        seconds = clocks.goodput.totals().seconds
    assert seconds["evaluation"] + seconds["compile"] >= 0.2
    assert clocks.throughput._started_s >= started_s + 0.2


def test_a_process_knows_when_it_began():
    first_s = process_start_s()
    second_s = process_start_s()
    assert first_s < IMPORTED_S
    assert first_s == pytest.approx(second_s, abs=0.02)
    assert time.perf_counter() - first_s > time.process_time() / (os.cpu_count() or 1)


class Bar(report.Progress):
    """A progress bar that keeps its lines."""

    def __init__(self, total: int):
        super().__init__(total, "train", "steps", quiet=True)
        self.lines: list[str] = []

    def print(self, text: str) -> None:
        self.lines.append(text)


def test_the_outlook_knows_what_is_to_come():
    """Two shapes in each of two stages; their first steps take 20 s and 10 s, an evaluation 6 s, a save 1 s."""
    bar = Bar(20)
    now_s = [100.0]
    common = {"shapes": (SHAPE, LONGER), "rate_hz": 16_000, "save_every": 5}
    stages = (StageSchedule(end=8, eval_every=4, **common), StageSchedule(end=20, eval_every=8, **common))
    outlook = Outlook(bar, stages, lambda: now_s[0])
    for number, shape, seconds in ((0, SHAPE, 20.0), (1, SHAPE, 0.5), (2, LONGER, 10.0), (3, SHAPE, 0.5)):
        outlook.begin_step(number, shape)
        now_s[0] += seconds
        outlook.end_step(number + 1)
    assert bar.lines == [
        "compiling shape 1 of 2: 4 examples of 1.00 s and 8 tokens",
        "compiling shape 2 of 2 (about 20 s each): 2 examples of 2.00 s and 8 tokens",
    ]
    assert bar.coming_s == 2 * 15.0  # the shapes of the second stage; nothing is known of evaluations
    outlook.end_pause("checkpoint", 1.0)
    outlook.end_pause("evaluation", 6.0)
    outlook.begin_step(4, LONGER)
    outlook.end_step(5)
    assert bar.coming_s == 2 * 15.0 + 3 * 6.0 + 3 * 1.0
    outlook.begin_step(8, SHAPE)
    now_s[0] += 15.0
    outlook.end_step(9)
    assert bar.lines[-1].startswith("compiling shape 1 of 2 (about 15 s each): 4 examples")
    assert bar.coming_s == 15.0 + 2 * 6.0 + 2 * 1.0
    assert bar.done == 6


@pytest.mark.parametrize(("done", "left"), [(0, 4), (3, 4), (4, 3), (8, 2), (16, 1), (20, 0)])
def test_evaluations_that_are_left(done, left):
    common = {"shapes": (SHAPE,), "rate_hz": 16_000, "save_every": 4}
    stages = (StageSchedule(end=8, eval_every=4, **common), StageSchedule(end=20, eval_every=8, **common))
    assert evaluations_left(stages, done) == left
