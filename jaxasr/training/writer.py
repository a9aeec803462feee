"""The metrics of a run: lines of JSON in `metrics.jsonl`, and the same numbers for trackers such as TensorBoard.

A line is {"step": 120, "train/loss": 1.5, ...}. Python writes a float so that it reads back as the same float. Numbers that
are not finite are written as "nan", "inf" or "-inf", because JSON has no such numbers.
"""

import json
import math
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

from jaxasr.files import write_whole
from jaxasr.report import Measurements
from jaxasr.training.tracking.trackers import Tracker, trackers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = "metrics.jsonl"

Row = dict[str, int | float]


class Writer:
    """A writer of the metrics of one run. Every line has left the process when `write` returns.

    An error of a tracker is reported once, an error of the lines is raised.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume_step: int = 0,
        trackers: tuple[str, ...] = (),
        measurements: Measurements | None = None,
    ):
        """Opens the files and removes lines of later steps than `resume_step`, which will be written again.

        Args:
            resume_step: steps that are done; 0 starts new files.
            trackers: names of trackers besides TensorBoard (trackers.EXTRAS).
            measurements: those of the run; trackers are some of them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS
        _cut(self._path, resume_step)
        self._lines = self._path.open("a", encoding="utf-8")
        self._measurements = measurements or Measurements()
        self._trackers: dict[str, Tracker] = {}
        for name, opened in trackers_of(folder, trackers, resume_step=resume_step).items():
            with self._measurements.optional(name):
                self._trackers[name] = opened()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Writes a line.

        Args:
            step: steps done.
            metrics: numbers by name, such as "train/loss"; scalars of NumPy and JAX too.

        Raises:
            ValueError: a metric of the name "step".
        """
        if "step" in metrics:
            raise ValueError("a metric can't have the name 'step': that is what the line is of")
        row = {name: _number(value) for name, value in metrics.items()}
        self._lines.write(json.dumps({"step": step} | {name: _json(value) for name, value in row.items()}) + "\n")
        self._lines.flush()
        for name, tracker in self._trackers.items():
            with self._measurements.optional(name):
                tracker.numbers(step, row)

    def figure(self, step: int, title: str, figure: "Figure") -> None:
        """Adds a picture to the trackers; the figure is left open."""
        for name, tracker in self._trackers.items():
            with self._measurements.optional(name):
                tracker.figure(step, title, figure)

    def close(self) -> None:
        """Closes the files and ends the trackers."""
        for name, tracker in self._trackers.items():
            with self._measurements.optional(name):
                tracker.close()
        self._lines.close()


def read_metrics(path: Path) -> list[Row]:
    """Returns the lines of a metrics.jsonl in order, without an unfinished last line of a killed run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not a line of metrics, by its number.
    """
    return [row for row, _ in _rows(path)]


def _cut(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = "".join(line for row, line in _rows(path) if 0 < step >= row["step"])
    write_whole(path, kept)


def _rows(path: Path) -> Iterator[tuple[Row, str]]:
    *lines, _unfinished = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            row = _row(line)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError) as error:
            shown = line.decode(errors="replace").strip()[:80]
            raise ValueError(
                f"{path}, line {number} is no line of metrics: {shown!r}. Mend the line or remove it"
            ) from error
        yield row, line.decode() + "\n"


def _row(line: bytes) -> Row:
    """Parses a line. Raises an error if it is none."""
    fields = json.loads(line.decode())
    row: Row = {name: value if type(value) is int else float(value) for name, value in fields.items()}
    if type(row["step"]) is not int or row["step"] < 0:
        raise ValueError(f"step is {row['step']}")
    return row


def _number(value: SupportsFloat) -> int | float:
    return int(value) if isinstance(value, Integral) else float(value)


def _json(value: int | float) -> int | float | str:
    return value if math.isfinite(value) else str(value)
