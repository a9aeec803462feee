"""The table of a sweep that is running: a file in its folder that is written anew whenever something changes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxasr import report
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.training import read_metrics

STATUS = "sweep.md"  # in the folder of the sweep
_VALIDATION = "validation/"


@dataclass(frozen=True)
class VariantStatus:
    """A variant in the table."""

    name: str
    state: str  # waits, runs, done, there before, failed
    step: int
    steps: int
    best: float | None  # on the validation split, by the score that ranks checkpoints
    metric: str
    devices: str
    attempts: int  # processes that this sweep has started

    @property
    def cells(self) -> list[str]:
        """The texts of its row."""
        best = "" if self.best is None else f"{self.metric} {self.best:.4g}"
        return [self.name, self.state, f"{self.step:,}", f"{self.steps:,}", best, self.devices, str(self.attempts)]


def write_status(folder: Path, variants: Sequence[VariantStatus]) -> None:
    """Writes the table of the variants to `sweep.md` in the folder."""
    header = ["variant", "state", "step", "of", "best on validation", "devices", "attempts"]
    write_whole(folder / STATUS, report.markdown(header, [variant.cells for variant in variants]) + "\n")


def best_on_validation(workdir: Path, experiment: Experiment) -> float | None:
    """Returns the best score of a run on its validation split so far; None if it was not evaluated yet.

    Args:
        workdir: the folder of the run.
        experiment: names the score that ranks its checkpoints; all of them are the better the lower they are.
    """
    path = Workdir(workdir).metrics
    return _best(path, f"{_VALIDATION}{experiment.ranked_by}", path.stat().st_size) if path.is_file() else None


@functools.lru_cache(maxsize=1_024)
def _best(path: Path, name: str, size: int) -> float | None:
    """Returns the lowest value of a metric in a file; None if it has none, or is damaged. It is read anew when it grows."""
    try:
        return min((float(row[name]) for row in read_metrics(path) if name in row), default=None)
    except ValueError:  # the run itself names the line
        return None
