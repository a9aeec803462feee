"""Measurements that a run can do without: an error in one is reported once, and the run continues without it.

Examples are FLOPs, MFU, speed, goodput, pictures, pages and TensorBoard. Metrics, hypotheses, checkpoints and rows of results
are no such measurements: an error in them ends the run.
"""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

RAISES = False  # True in tests, where an error of a measurement is a failure

_MOST = 300  # characters of a reason


class Measurements:
    """The measurements of one run.

    >>> measurements = Measurements(print)
    >>> with measurements.optional("the MFU"):
    ...     raise KeyError("num_carry")
    WARNING: the MFU is left out: KeyError: 'num_carry' (at <stdin>:2); the run goes on without it
    """

    def __init__(self, print_fn: Callable[[str], None] | None = None):
        """Starts with all measurements.

        Args:
            print_fn: receives the lines; None: standard error.
        """
        self._print_fn = print_fn or _to_standard_error
        self._printed: set[str] = set()

    @contextlib.contextmanager
    def optional(self, name: str) -> Iterator[None]:
        """Catches every error of the block, and reports the first one of this name. Interrupts pass.

        Args:
            name: the measurement that is then left out, as in "the FLOPs of a step".
        """
        try:
            yield
        except Exception as error:
            if RAISES:
                raise
            self.print_once(f"WARNING: {name} is left out", f": {_reason(error)}; the run goes on without it")

    def print_once(self, line: str, more: str = "") -> None:
        """Prints a line the first time that it comes; `more` is not compared."""
        if line not in self._printed:
            self._printed.add(line)
            self._print_fn(line + more)


def _reason(error: Exception) -> str:
    """Returns the error and the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return (text if len(text) <= _MOST else text[:_MOST] + " ...") + place


def _to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
