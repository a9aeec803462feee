"""What the training loop itself takes: everything around the compiled step, as a share of the step.

The real loop trains. After every few of its steps the same batches go, one after another and with nothing around them,
through the same compiled step; the loop waits meanwhile. So both are measured in turn, on the same machine at nearly the
same time, and the loop's share is what its steps take beyond the bare ones: loading and placing batches (as far as that is
not hidden behind the step), reading sums, writing lines, counting.
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
from jaxasr.bench.processes import Spent
from jaxasr.bench.workloads import step_measure, step_of, training_work
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import Machine
from jaxasr.records import Batch, Sum
from jaxasr.run.loop import train
from jaxasr.scale import CompileCounter, CompiledStep, compile_step
from jaxasr.training import TrainState

STEPS = 10  # of a block
MOST_TRIES = 10  # blocks for each that counts: those in which something was compiled do not


@dataclass(frozen=True)
class LoopShare:
    """Blocks of the loop, and the same steps bare: seconds of one step."""

    loop: tuple[Spent, ...]
    bare: tuple[Spent, ...]

    @property
    def wall(self) -> float:
        """What the loop adds, as a share of the bare step: the median of the blocks."""
        return median(a.wall_s / b.wall_s for a, b in zip(self.loop, self.bare, strict=True)) - 1.0

    @property
    def cpu(self) -> float:
        """The same by processor time of all threads: what is hidden behind the step, too."""
        return median(a.cpu_s / b.cpu_s for a, b in zip(self.loop, self.bare, strict=True)) - 1.0

    def row(self) -> dict[str, Any]:
        """Of results."""
        return {
            "part": "loop",
            "loop_s": [round(each.wall_s, 6) for each in self.loop],
            "bare_s": [round(each.wall_s, 6) for each in self.bare],
            "loop_cpu_s": [round(each.cpu_s, 6) for each in self.loop],
            "bare_cpu_s": [round(each.cpu_s, 6) for each in self.bare],
            "share": round(self.wall, 4),
            "cpu_share": round(self.cpu, 4),
        }

    def line(self) -> str:
        """For people."""
        return (
            f"the loop's own time: {self.wall:.1%} of a bare step by the clock, {self.cpu:.1%} by processor time (its step "
            f"{median(each.wall_s for each in self.loop):.4g} s, {len(self.loop)} blocks)"
        )


def loop_share(
    experiment: Experiment, data_dir: Path, *, blocks: int, steps: int = STEPS, advance: Callable[[], None]
) -> LoopShare:
    """Trains as long as is needed for so many blocks, in a folder that is gone afterwards.

    Nothing is evaluated or saved: that is no part of a step. Lines are written as often as the experiment says.

    Args:
        steps: of a block.
        advance: is called after each block that counts.

    Raises:
        RuntimeError: something was compiled in nearly every block.
    """
    never = experiment.log_every * 10**6
    endless = tree.override(experiment, dict.fromkeys(("steps", "eval_every", "save_every"), never))
    data = experiment.train_data.open(data_dir)
    pure, state = step_of(experiment, data)
    step = compile_step(pure, "auto")
    for place in np.unique(data.plan.epoch(0).places).tolist():  # before the loop counts what is compiled
        step_measure(step, state, training_work(data, place))()
    with tempfile.TemporaryDirectory() as folder, CompileCounter() as compiles:
        alternate = _Alternate(step, step.place_state(state), blocks, steps, advance, compiles)
        with contextlib.suppress(_Enough):
            train(endless, Path(folder), Machine(data_dir), say=_nothing, witness=alternate)
    return LoopShare(tuple(alternate.loop), tuple(alternate.bare))


class _Enough(Exception):  # noqa: N818 - what happened
    """All blocks are measured: the loop may end."""


@dataclass
class _Alternate:
    """Told of each step of the loop; after each block takes its batches through the bare step."""

    step: CompiledStep[TrainState, Any]
    state: TrainState
    blocks: int
    steps: int
    advance: Callable[[], None]
    compiles: CompileCounter
    loop: list[Spent] = field(default_factory=list)
    bare: list[Spent] = field(default_factory=list)
    _tried: int = 0
    _compiled: int = 0
    _began: Spent | None = None
    _batches: list[Batch] = field(default_factory=list)

    def __call__(self, number: int, batch: Batch, loss: Sum) -> None:
        """A step is settled, and the one behind it just under way: so it is at both ends of a block."""
        if self._began is None:  # the step that was under way while bare ones were made does not count
            self._began, self._compiled, self._batches = _clocks(), self.compiles.count, []
            return
        self._batches.append(batch)
        if len(self._batches) < self.steps:
            return
        loop, self._began = _each(self._began, self.steps), None
        bare = self._bare_steps()
        self._tried += 1
        if self.compiles.count == self._compiled:
            self.loop.append(loop)
            self.bare.append(bare)
            self.advance()
        if len(self.loop) == self.blocks:
            raise _Enough
        if self._tried == MOST_TRIES * self.blocks:
            raise RuntimeError(
                f"of {self._tried} blocks of {self.steps} steps all but {len(self.loop)} compiled something"
            )

    def _bare_steps(self) -> Spent:
        batches = [self.step.place(batch) for batch in self._batches]
        self._run(batches[-1:])  # meanwhile that which is under way ends
        began = _clocks()
        self._run(batches)
        return _each(began, len(batches))

    def _run(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.state, sums = self.step(self.state, batch)
        jax.block_until_ready((self.state, sums))


def _clocks() -> Spent:
    return Spent(time.perf_counter(), time.process_time())


def _each(began: Spent, steps: int) -> Spent:
    """Of so many steps since then."""
    now = _clocks()
    return Spent((now.wall_s - began.wall_s) / steps, (now.cpu_s - began.cpu_s) / steps)


def _nothing(_: str) -> None:
    """What a run says at its beginning."""
