"""The benchmark of the training loop: the time that it needs besides the compiled step, relative to that step.

The real loop trains. After each block of steps it pauses, and the batches of the block run through the same compiled step
without the loop. The two are timed alternately, on the same machine at nearly the same time. The overhead is the time by
which the steps of the loop are longer than the bare steps: loading and placing batches (the part that does not overlap with
the step), reading metrics, writing lines and counting.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from jaxasr import tree
from jaxasr.bench.processes import CallTime
from jaxasr.bench.workloads import build_step, step_timer, training_workload
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.records import Batch, Sum
from jaxasr.run.loop import train
from jaxasr.scale import CompileCounter, CompiledStep, compile_step
from jaxasr.training import TrainState

STEPS = 10  # in a block
MAX_TRIES = 10  # blocks per valid block; a block is invalid if a program was compiled during it


@dataclass(frozen=True)
class LoopOverhead:
    """The time of one step in each block, in the loop and bare."""

    loop: tuple[CallTime, ...]
    bare: tuple[CallTime, ...]

    @property
    def wall_share(self) -> float:
        """The overhead of the loop relative to a bare step by wall time: the median of the blocks."""
        return median(a.wall_s / b.wall_s for a, b in zip(self.loop, self.bare, strict=True)) - 1.0

    @property
    def cpu_share(self) -> float:
        """The overhead by CPU time of all threads, which includes work that overlaps with the step."""
        return median(a.cpu_s / b.cpu_s for a, b in zip(self.loop, self.bare, strict=True)) - 1.0

    def row(self) -> dict[str, Any]:
        """Returns the row of results."""
        return {
            "part": "loop",
            "loop_s": [round(step.wall_s, 6) for step in self.loop],
            "bare_s": [round(step.wall_s, 6) for step in self.bare],
            "loop_cpu_s": [round(step.cpu_s, 6) for step in self.loop],
            "bare_cpu_s": [round(step.cpu_s, 6) for step in self.bare],
            "share": round(self.wall_share, 4),
            "cpu_share": round(self.cpu_share, 4),
        }

    def line(self) -> str:
        """Returns a line that describes the overhead."""
        return (
            f"the loop's own time: {self.wall_share:.1%} of a bare step by the clock, {self.cpu_share:.1%} by processor time "
            f"(its step {median(step.wall_s for step in self.loop):.4g} s, {len(self.loop)} blocks)"
        )


def loop_overhead(
    experiment: Experiment, data_dir: Path, *, blocks: int, steps: int = STEPS, advance: Callable[[], None]
) -> LoopOverhead:
    """Trains in a temporary folder until so many blocks are timed.

    Nothing is evaluated or saved, because neither is a part of a step. Lines are logged as often as in the experiment.

    Args:
        blocks: the number of valid blocks.
        steps: the number of steps in a block.
        advance: is called after each valid block.

    Raises:
        RuntimeError: programs were compiled in nearly every block.
    """
    never = experiment.log_every * 10**6
    endless = tree.override(experiment, dict.fromkeys(("steps", "eval_every", "save_every"), never))
    data = experiment.train_data.open(data_dir)
    pure, state = build_step(experiment, data)
    step = compile_step(pure, "auto")
    for bucket_id in np.unique(data.plan.epoch(0).bucket_ids).tolist():  # before compilations are counted
        step_timer(step, state, training_workload(data, bucket_id))()
    with tempfile.TemporaryDirectory() as folder, CompileCounter() as compiles:
        timer = _InterleavedTimer(step, step.place_state(state), blocks, steps, advance, compiles)
        with contextlib.suppress(_BlocksDone):
            train(endless, Path(folder), RuntimeConfig(data_dir), print_fn=_discard, step_callback=timer)
    return LoopOverhead(tuple(timer.loop), tuple(timer.bare))


class _BlocksDone(Exception):  # noqa: N818 - no error
    """A signal that all blocks are timed; it ends the loop."""


@dataclass
class _InterleavedTimer:
    """A step callback that times blocks of the loop, and runs the batches of each block through the bare step."""

    step: CompiledStep[TrainState, Any]
    state: TrainState
    blocks: int
    steps: int
    advance: Callable[[], None]
    compiles: CompileCounter
    loop: list[CallTime] = field(default_factory=list)
    bare: list[CallTime] = field(default_factory=list)
    _tried: int = 0
    _compiled: int = 0
    _began: CallTime | None = None
    _batches: list[Batch] = field(default_factory=list)

    def __call__(self, number: int, batch: Batch, loss: Sum) -> None:
        """Handles a step whose metrics are read while the next step is running. Both ends of a block are at such a moment."""
        if self._began is None:  # the step that was running during the bare steps does not count
            self._began = _read_clocks()
            self._compiled = self.compiles.count
            self._batches = []
            return
        self._batches.append(batch)
        if len(self._batches) < self.steps:
            return
        loop = _time_per_step(self._began, self.steps)
        self._began = None
        bare = self._bare_steps()
        self._tried += 1
        if self.compiles.count == self._compiled:
            self.loop.append(loop)
            self.bare.append(bare)
            self.advance()
        if len(self.loop) == self.blocks:
            raise _BlocksDone
        if self._tried == MAX_TRIES * self.blocks:
            raise RuntimeError(
                f"of {self._tried} blocks of {self.steps} steps all but {len(self.loop)} compiled something"
            )

    def _bare_steps(self) -> CallTime:
        batches = [self.step.place(batch) for batch in self._batches]
        self._run(batches[-1:])  # the step that is still running ends during this one
        began = _read_clocks()
        self._run(batches)
        return _time_per_step(began, len(batches))

    def _run(self, batches: Sequence[Batch]) -> None:
        sums = None
        for batch in batches:
            self.state, sums = self.step(self.state, batch)
        jax.block_until_ready((self.state, sums))


def _read_clocks() -> CallTime:
    return CallTime(time.perf_counter(), time.process_time())


def _time_per_step(began: CallTime, steps: int) -> CallTime:
    """Returns the time of one of the steps that were run since the given clocks."""
    now = _read_clocks()
    return CallTime((now.wall_s - began.wall_s) / steps, (now.cpu_s - began.cpu_s) / steps)


def _discard(_: str) -> None:
    """Ignores a line of the log."""
