"""The clocks of a training loop, the one place in which they are paused, and the time that is left of the run."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from jaxasr.data import Shape
from jaxasr.experiment.goodput_totals import Kind
from jaxasr.report import Progress
from jaxasr.run.goodput import Goodput
from jaxasr.run.throughput import ThroughputMonitor
from jaxasr.scale import Watchdog
from jaxasr.scale.profiler import StepProfiler


@dataclass(frozen=True)
class StageSchedule:
    """The work of a stage of training, as far as it takes time."""

    end: int  # its last step
    shapes: tuple[Shape, ...]  # of its batches
    rate_hz: int
    eval_every: int
    save_every: int


@dataclass
class Outlook:
    """A progress bar of steps that knows what else a run does.

    The first step of a shape (its compilation included), evaluations and saves are no part of the rate. What is to come of
    them is estimated from those that the attempt has seen: the mean first step, the last evaluation, the last save. Before
    the first of a kind nothing is known of it.
    """

    bar: Progress
    stages: Sequence[StageSchedule]
    clock: Callable[[], float] = time.perf_counter
    _seen: set[tuple[int, Shape]] = field(default_factory=set)  # shapes, with the end of their stage
    _first_s: list[float] = field(default_factory=list)  # of the first step of each shape
    _pause_s: dict[str, float] = field(default_factory=dict)  # of the last pause of each kind
    _began_s: float | None = None  # when the step under way began, if it is the first one of its shape

    def begin_step(self, number: int, shape: Shape) -> None:
        """Prints a line if the step is the first one of its shape, whose program is compiled or read from the cache.

        Args:
            number: steps done.
            shape: the shape of the batch.
        """
        stage = self._stage_at(number)
        if (stage.end, shape) in self._seen:
            return
        self._began_s = self.clock()
        self._seen.add((stage.end, shape))
        audio = f"{shape.samples / stage.rate_hz:.2f} s and " if shape.samples else ""
        known = f" (about {self._mean_first_s():.0f} s each)" if self._first_s else ""
        seen = sum(end == stage.end for end, _ in self._seen)
        self.bar.print(
            f"compiling shape {seen} of {len(stage.shapes)}{known}: {shape.examples} examples of {audio}{shape.tokens} tokens"
        )

    def end_step(self, done: int, **shown: str) -> None:
        """Counts a step.

        Args:
            done: steps done, this one included.
            shown: texts at the end of the line, by name.
        """
        if self._began_s is None:
            self.bar.coming_s = self._coming_s(done)
            self.bar.advance(1, **shown)
            return
        self._first_s.append(self.clock() - self._began_s)
        self._began_s = None
        self.bar.exclude(self._first_s[-1])
        self.bar.coming_s = self._coming_s(done)
        self.bar.skip(1)
        self.bar.advance(0, **shown)

    def end_pause(self, kind: str, seconds: float) -> None:
        """Excludes the time of a pause that has just ended."""
        self._pause_s[kind] = seconds
        self.bar.exclude(seconds)

    def _coming_s(self, done: int) -> float:
        stage = self._stage_at(done - 1)
        shapes = sum(len(other.shapes) for other in self.stages if other.end >= stage.end)
        seen = sum(end >= stage.end for end, _ in self._seen)
        saves = (self.stages[-1].end - done) // stage.save_every
        return (
            (shapes - seen) * self._mean_first_s()
            + evaluations_left(self.stages, done) * self._pause_s.get("evaluation", 0.0)
            + saves * self._pause_s.get("checkpoint", 0.0)
        )

    def _mean_first_s(self) -> float:
        return sum(self._first_s) / len(self._first_s) if self._first_s else 0.0

    def _stage_at(self, number: int) -> StageSchedule:
        return next(stage for stage in self.stages if stage.end > number)


def evaluations_left(stages: Sequence[StageSchedule], done: int) -> int:
    """Returns the evaluations after `done` steps: one every `eval_every` steps, and one at the end of each stage."""
    count = 0
    for stage in stages:
        if stage.end > done:
            count += stage.end // stage.eval_every - done // stage.eval_every + (stage.end % stage.eval_every > 0)
            done = stage.end
    return count


@dataclass(frozen=True)
class Clocks:
    """The clocks of a run: the kinds of its wall time, the speed of its steps, the limit of a step, and the time left."""

    goodput: Goodput
    throughput: ThroughputMonitor
    watchdog: Watchdog
    outlook: Outlook
    profiler: StepProfiler

    @contextlib.contextmanager
    def run_steps(self) -> Iterator[None]:
        """Counts the block as steps, and raises an error where an array is copied implicitly between host and device.

        An implicit copy waits for the device, and makes every step wait. Explicit copies (jax.device_put, jax.device_get)
        are allowed.
        """
        with (
            self.goodput.record("step"),
            jax.transfer_guard_host_to_device("disallow"),
            jax.transfer_guard_device_to_host("disallow"),
        ):
            yield

    def begin_step(self, number: int, shape: Shape, step: Callable[..., Any], *arguments: Any) -> None:
        """Announces the compilation and counts the FLOPs of a shape that is new.

        Args:
            number: steps done.
            shape: the shape of the batch.
            step: the step whose FLOPs are counted, which takes the arguments.
            arguments: arrays, or their shapes.
        """
        self.profiler.begin_step(number)
        self.outlook.begin_step(number, shape)
        self.throughput.count_flops(shape, step, *arguments)

    def end_step(self, done: int, **shown: str) -> None:
        """Counts a step for the progress bar and the watchdog; `shown` are texts for the bar, by name."""
        self.outlook.end_step(done, **shown)
        self.profiler.end_step(done)
        self.watchdog.beat(done - 1)  # the last step whose sums are known

    @contextlib.contextmanager
    def pause(self, kind: Kind) -> Iterator[None]:
        """Runs a block that is no step: an evaluation, a save.

        Its time counts as `kind` and not for the speed of the steps. It has the watchdog's long limit. It may copy arrays
        implicitly.
        """
        started_s = time.perf_counter()
        with self.goodput.record(kind), self.watchdog.pause(), jax.transfer_guard("allow"):
            yield
        spent_s = time.perf_counter() - started_s
        self.throughput.exclude_time(spent_s)
        self.outlook.end_pause(kind, spent_s)


def process_start_s() -> float:
    """Returns when this process started, before the interpreter and the imports, as a reading of time.perf_counter.

    Without /proc it returns the reading of now.
    """
    stat = Path("/proc/self/stat")
    if not stat.is_file() or not hasattr(time, "CLOCK_BOOTTIME"):
        return time.perf_counter()
    ticks = int(
        stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    )  # of the system's clock, since it was booted
    return time.perf_counter() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
