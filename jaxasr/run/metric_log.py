"""What the loop remembers of its steps: sums since the last line, read one step late so that the device never waits."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr.records import Batch, Sum

Window = dict[str, np.ndarray]  # [value, weight] of each sum since the last line
Witness = Callable[[int, Batch, Sum], None]  # told of each step: its number, this process's rows, the loss of all


class Diverged(RuntimeError):  # noqa: N818 - what happened
    """The loss or the gradient of a step is not finite."""


@dataclass(frozen=True)
class _Pending:
    step: int
    batch: Batch
    ids: list[str]
    sums: dict[str, Sum]  # still on the device


class Log:
    """Sums of the metrics since the last line of the log.

    The sums of a step are fetched when the next one is under way. Where one is not finite the run ends, before anything
    is saved: the batch is kept in a file, the utterances and the last finite step are named.
    """

    def __init__(self, window: Window, *, folder: Path, witness: Witness | None = None):
        """Goes on from the sums that a checkpoint held; `folder` takes the batch of a step that diverged."""
        self.window = {name: np.array(pair) for name, pair in window.items()}
        self._folder = folder
        self._witness = witness
        self._pending: _Pending | None = None

    def add(self, step: int, batch: Batch, ids: list[str], sums: dict[str, Sum]) -> None:
        """Takes the sums of a step that was just dispatched, and settles the one before."""
        before, self._pending = self._pending, _Pending(step, batch, ids, sums)
        if before is not None:
            self._settle(before)

    def settle(self) -> None:
        """Waits for the last step and counts it.

        Raises:
            Diverged: its loss or gradient is not finite.
        """
        if self._pending is not None:
            before, self._pending = self._pending, None
            self._settle(before)

    def means(self) -> dict[str, float]:
        """The means since the last line, which begin anew."""
        self.settle()
        means = {f"train/{name}": float(v / w) for name, (v, w) in self.window.items() if w}
        self.window = {name: np.zeros(2) for name in self.window}
        return means

    def _settle(self, pending: _Pending) -> None:
        sums: Any = jax.device_get(pending.sums)
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(sums[name].value):
                raise Diverged(self._report(name, pending))
        for name, each in sums.items():
            self.window[name] += np.array([each.value, each.weight], np.float64)
        if self._witness is not None:
            self._witness(pending.step, pending.batch, sums["loss"])

    def _report(self, name: str, pending: _Pending) -> str:
        path = self._folder / f"diverged-step-{pending.step}.npz"
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(pending.batch).items()}
        np.savez(path, ids=np.array(pending.ids), **arrays)
        last = f"the last finite step was {pending.step - 1}" if pending.step else "there was no finite step"
        return (
            f"the {name.replace('_', ' ')} of step {pending.step} is not finite; {last}. Its batch is in {path}: utterances "
            f"{', '.join(pending.ids)}. The same command would come to this step again: begin anew, in another --workdir, "
            "with a lower learning rate, a smaller clip_norm or without these utterances"
        )


def empty_window(names: list[str]) -> Window:
    """No sums yet."""
    return {name: np.zeros(2) for name in sorted(names)}
