"""Sums of the metrics since the last line, for the training loop. They are read one step late: the devices never wait."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr.records import Batch, Sum

AccumulatedMetrics = dict[str, np.ndarray]  # [value, weight] of each sum since the last line
StepCallback = Callable[
    [int, Batch, Sum], None
]  # called with a step's number, this process's rows, the loss of all rows


class DivergenceError(RuntimeError):
    """An error for a step whose loss or gradient is not finite."""


@dataclass(frozen=True)
class _Pending:
    """A step whose sums are still on the device."""

    step: int
    batch: Batch
    ids: list[str]
    sums: dict[str, Sum]


class MetricAccumulator:
    """The sums of the metrics since the last line.

    The sums of a step are fetched when the next step is under way. A sum that is not finite ends the run before anything is
    saved: the error names the utterances and the last finite step, and the batch is kept in a file.
    """

    def __init__(self, metrics: AccumulatedMetrics, *, folder: Path, step_callback: StepCallback | None = None):
        """Continues from accumulated metrics.

        Args:
            metrics: sums that a checkpoint held, or `empty_metrics`. They are copied.
            folder: takes the batch of a step that diverged.
            step_callback: called when the sums of a step are known.
        """
        self.metrics = {name: np.array(pair) for name, pair in metrics.items()}
        self._folder = folder
        self._step_callback = step_callback
        self._pending: _Pending | None = None

    def add(self, step: int, batch: Batch, ids: list[str], sums: dict[str, Sum]) -> None:
        """Takes the sums of a step that was just dispatched, and counts the step before it."""
        self.flush()
        self._pending = _Pending(step, batch, ids, sums)

    def flush(self) -> None:
        """Waits for the last step and counts it.

        Raises:
            DivergenceError: the loss or the gradient of the step is not finite.
        """
        pending = self._pending
        if pending is None:
            return
        self._pending = None
        sums: Any = jax.device_get(pending.sums)
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(sums[name].value):
                raise DivergenceError(self._report(name, pending))
        for name, total in sums.items():
            self.metrics[name] += np.array([total.value, total.weight], np.float64)
        if self._step_callback is not None:
            self._step_callback(pending.step, pending.batch, sums["loss"])

    def means(self) -> dict[str, float]:
        """Returns the means since the last line, and starts new sums."""
        self.flush()
        means = {f"train/{name}": float(value / weight) for name, (value, weight) in self.metrics.items() if weight}
        self.metrics = empty_metrics(list(self.metrics))
        return means

    def _report(self, name: str, pending: _Pending) -> str:
        """Writes the batch of a step that diverged, and returns the message of the error."""
        path = self._folder / f"diverged-step-{pending.step}.npz"
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(pending.batch).items()}
        np.savez(path, ids=np.array(pending.ids), **arrays)
        last = f"the last finite step was {pending.step - 1}" if pending.step else "there was no finite step"
        return (
            f"the {name.replace('_', ' ')} of step {pending.step} is not finite; {last}. Its batch is in {path}: utterances "
            f"{', '.join(pending.ids)}. The same command would come to this step again: begin anew, in another --workdir, "
            "with a lower learning rate, a smaller clip_norm or without these utterances"
        )


def empty_metrics(names: list[str]) -> AccumulatedMetrics:
    """Returns sums without any step."""
    return {name: np.zeros(2) for name in sorted(names)}
