"""The result of a sweep, and its table while it runs: a file in its folder that is written whenever something changes."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxasr import report
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.training import read_metrics

STATUS = "sweep.md"  # in the folder of the sweep
_VALIDATION = "validation/"


@dataclass(frozen=True)
class SweepResult:
    """The outcome of each variant, by name."""

    done: tuple[str, ...]  # by this sweep
    skipped: tuple[str, ...]  # all rows were there before
    failed: Mapping[str, str] = field(default_factory=dict)  # the ends of their logs
    stopped: Mapping[str, str] = field(default_factory=dict)  # by successive halving or the budget: where
    signum: int = 0  # of the signal that stopped the sweep; 0: none did


@dataclass(frozen=True)
class VariantStatus:
    """A variant in the table."""

    name: str
    state: str  # waits, runs, done, there before, failed, stopped
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


def validation_scores(workdir: Path, experiment: Experiment) -> Mapping[int, float]:
    """Returns the scores of a run on its validation split so far, by step: of the kind that ranks its checkpoints.

    Args:
        workdir: the folder of the run.
        experiment: names the kind of score; all kinds are the better the lower they are.
    """
    path = Workdir(workdir).metrics
    return _scores(path, f"{_VALIDATION}{experiment.ranked_by}", path.stat().st_size) if path.is_file() else {}


@functools.lru_cache(maxsize=1_024)
def _scores(path: Path, name: str, size: int) -> Mapping[int, float]:
    """Returns the values of a metric in a file by step; none if the file is damaged. It is read anew when it grows."""
    try:
        return {int(row["step"]): float(row[name]) for row in read_metrics(path) if name in row}
    except ValueError:  # the run itself names the line
        return {}
