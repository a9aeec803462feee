"""A trace of some steps of a run, for XProf (`tensorboard --logdir` with its plugin, or `xprof`)."""

from pathlib import Path
from types import TracebackType

import jax


class StepProfiler:
    """A profiler that traces the steps of a range, and one more, in which the last one ends.

    Steps are dispatched before the one before has ended, so the trace is stopped a step later.
    """

    def __init__(self, folder: Path, steps: tuple[int, int] | None):
        """Sets the range.

        Args:
            folder: takes the trace.
            steps: the steps done before the first one that is traced, and after the last one; None: nothing is traced.
        """
        self._folder = folder
        self._steps = steps
        self._is_tracing = False

    def __enter__(self) -> "StepProfiler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def begin_step(self, number: int) -> None:
        """Starts the trace if the step, after `number` steps, is the first one that is traced."""
        if self._steps is not None and number == self._steps[0]:
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._is_tracing = True

    def end_step(self, done: int) -> None:
        """Stops the trace if all of its steps have ended."""
        if self._steps is not None and done > self._steps[1]:
            self._stop()

    def _stop(self) -> None:
        if self._is_tracing:
            self._is_tracing = False
            jax.profiler.stop_trace()
