"""Successive halving: the weaker runs of a sweep stop early, and what they would have taken goes to the others.

At every rung, a number of steps at which all runs are evaluated, a run stops and waits for the others. Then one of `factor`
continues: the best on the validation split. A run that continues resumes from its checkpoint, so it equals one that was never
stopped. The standing of a sweep follows from the metrics in the workdirs alone, so a sweep that was killed finds it again.

Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS.
"""

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.goodput_totals import FILE, read_goodput
from jaxasr.sweep.status import validation_scores


@dataclass(frozen=True)
class Halving:
    """The rungs at which the weaker runs stop. No rungs: every run goes to its end."""

    rungs: tuple[int, ...] = ()  # steps, rising
    factor: int = 3  # one of so many continues, rounded up

    def __post_init__(self):
        if list(self.rungs) != sorted(set(self.rungs)) or any(rung < 1 for rung in self.rungs) or self.factor < 2:
            raise ValueError(f"{self}: rising numbers of steps and a factor of 2 or more are needed")

    def check(self, built: Mapping[str, Experiment]) -> None:
        """Checks that every variant is evaluated at every rung, before its end.

        Raises:
            ValueError: one is not.
        """
        for name, variant in built.items():
            for rung in self.rungs:
                if rung >= variant.steps or rung % variant.eval_every:
                    raise ValueError(
                        f"{name} has {variant.steps:,} steps and is evaluated every {variant.eval_every:,}; a rung at "
                        f"{rung:,} must be one of its evaluations before the last"
                    )


@dataclass(frozen=True)
class Standing:
    """The standing of every variant that is not at its end."""

    targets: Mapping[str, int | None]  # steps to which a variant may run now; None: to its end
    stopped: Mapping[str, str]  # where, and with which score

    def may_run(self, name: str) -> bool:
        """Returns True if the variant has something to do now: it is not stopped and waits at no rung."""
        return name in self.targets

    def is_reached(self, name: str, scores: Mapping[int, float]) -> bool:
        """Returns True if a running variant has come to its rung, or may not run any more."""
        return name not in self.targets or self.targets[name] in scores


def standing(halving: Halving, built: Mapping[str, Experiment], folder: Path, *, ended: Collection[str]) -> Standing:
    """Returns where every variant stands, as the metrics in the workdirs say.

    Args:
        halving: the rungs.
        built: the variants that are ranked, by name: without those that failed, one of equal ones.
        folder: has the workdirs.
        ended: variants with all their rows. Those that were never evaluated at a rung here (copies) are not ranked.
    """
    scores = {name: validation_scores(folder / name, built[name]) for name in built}
    alive = [name for name in scores if name not in ended or set(halving.rungs) <= scores[name].keys()]
    stopped: dict[str, str] = {}
    for rung in halving.rungs:
        missing = [name for name in alive if rung not in scores[name]]
        if missing:
            return Standing(dict.fromkeys(missing, rung), stopped)
        ranked = sorted(alive, key=lambda name, rung=rung: scores[name][rung])
        kept = set(ranked[: math.ceil(len(alive) / halving.factor)])
        for place, name in enumerate(ranked, start=1):
            if name not in kept:
                score = f"{built[name].ranked_by} {scores[name][rung]:.4g}"
                stopped[name] = f"at step {rung:,}: {score}, place {place} of {len(ranked)}"
        alive = [name for name in alive if name in kept]
    return Standing(dict.fromkeys(alive), stopped)


def device_hours(built: Collection[str], folder: Path) -> float:
    """Returns what the trainings of the variants have taken so far, as their workdirs say."""
    paths = [folder / name / FILE for name in built]
    return sum(_device_s(path.parent, path.stat().st_size) for path in paths if path.is_file()) / 3600


@functools.lru_cache(maxsize=1_024)
def _device_s(workdir: Path, size: int) -> float:
    """Returns the device-seconds of a run. The file is read anew when it grows."""
    totals = read_goodput(workdir, lambda _: None)
    return (totals[-1].device_s or 0.0) if totals else 0.0
