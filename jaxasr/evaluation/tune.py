"""Tuning of a search: every point of a grid is decoded on one split, and the best one is kept in the workdir.

The best point has the lowest error rate; the experiment's `selection_metric` says which. The teacher-forced loss does not
depend on a search: an experiment whose checkpoints it ranks is tuned by the mixed error rate.

A point is the split's search with some of its fields changed. All points decode the same utterances, so each is compared with
the best one by a paired test. Points that the split cannot tell from the best are marked.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxasr import report, score, tree
from jaxasr.evaluation.decode_split import SearchEvaluator
from jaxasr.evaluation.language_models import NO_LMS, check_lms_used, load_language_models
from jaxasr.evaluation.outputs import set_aside
from jaxasr.evaluation.searches import render_search
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.split import Split, named_splits, search_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.score.comparison.seeds import t_test

RATES: Mapping[score.ErrorRate, str] = {
    "wer": "word error rate",
    "cer": "character error rate",
    "cer_no_spaces": "character error rate without spaces",
    "mer": "mixed error rate",
}
TUNED = "tuned.json"
SAME = 0.05  # p-value above which a point is marked as equal to the best


@dataclass(frozen=True)
class GridPoint:
    """A point of the grid and its errors on the split."""

    changes: Mapping[str, str]  # values of the search's fields, by path
    errors: tuple[int, ...]  # one number per utterance
    references: tuple[int, ...]  # words, or the units of another error rate
    oracle: float  # error rate if the best of each n-best list were chosen
    units: score.IndependentUnits  # the independent units of the split
    metric: score.ErrorRate = "wer"  # what the errors are counted for

    @classmethod
    def of(cls, changes: Mapping[str, str], evaluation: score.EvalOutput, metric: score.ErrorRate) -> "GridPoint":
        """Returns the point of these changes, whose search gave this evaluation."""
        counts = [utterance.counts(metric) for utterance in evaluation.scores.utterances]
        errors = tuple(count.errors for count in counts)
        references = tuple(count.references for count in counts)
        return cls(changes, errors, references, evaluation.oracle_rate(metric), evaluation.units, metric)

    @property
    def rate(self) -> float:
        """The error rate, a fraction."""
        return sum(self.errors) / max(sum(self.references), 1)

    @property
    def interval(self) -> score.Interval:
        """The 95 % interval of the error rate over the units."""
        return score.rate_interval(self.errors, self.references, blocks=self.units.blocks)


def tune(
    experiment: Experiment,
    workdir: Path,
    runtime: RuntimeConfig,
    grid: Mapping[str, Sequence[str]],
    *,
    split: str = "validation",
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    print_fn: Callable[[str], None] = print,
) -> list[GridPoint]:
    """Decodes a split with every point of the grid and returns the points, best first.

    Writes tuned.json, pictures/tuned.png and the hypotheses of the best point (hypotheses.SPLIT.tuned.jsonl) to the workdir.
    Those of another tuning that are there get names with a digest.

    Args:
        grid: the values of each field of the search, by path ("ctc_weight", "scorers.0.weight").
        split: "validation", or one of the experiment's evals. A split that was tuned on is no independent test any more.
        lms: as in `evaluate_run`.

    Raises:
        KeyError: no such split.
        ValueError: an empty grid, no such field, or a value that is not of its type.
        FileNotFoundError: no such run or checkpoint.
    """
    chosen = _split(experiment, split)
    searches = {point: _changed(chosen, dict(point)) for point in _points(grid)}
    check_lms_used(lms, [search_of(point_split) for point_split in searches.values()])
    run = Workdir(workdir)
    metric = tuning_metric(experiment)
    variables, metadata = trained_variables(experiment, run, checkpoint)
    loaded = load_language_models(lms, experiment.tokenizer)
    about = {"split": split, "data": metadata.data, "checkpoint": checkpoint, "lms": dict(loaded.provenance)}
    about |= {"of": render_search(search_of(chosen)), "metric": metric, "grid": dict(grid)}
    if line := set_aside(run.path / TUNED, about, _files(run)):
        print_fn(line)
    points: list[GridPoint] = []
    best: list[score.EvalOutput] = []
    with report.Progress(len(searches), "tune", "searches") as bar:
        for point, search in searches.items():
            evaluator = SearchEvaluator(
                experiment, f"{split}.tuned", search, runtime.data_dir, loaded.models, runtime.parallelism
            )
            evaluation = evaluator(variables, run, workers=runtime.workers)
            points.append(GridPoint.of(dict(point), evaluation, metric))
            if min(points, key=lambda point: point.rate) is points[-1]:
                best[:] = [evaluation]
            bar.advance(1)
            bar.print(f"{_assignments(points[-1].changes)}: {metric.upper()} {points[-1].rate:.2%}")
    points.sort(key=lambda point: point.rate)
    score.write_hypotheses(best[0], run.path / f"hypotheses.{split}.tuned.jsonl")  # replaces those of the last point
    for line in table(points):
        print_fn(line)
    write_whole(run.path / TUNED, json.dumps(about | _json_rows(points), indent=1) + "\n")
    with report.Measurements(print_fn).optional("the picture of the points"):
        report.surfaces.surface(
            [_surface_point(point) for point in points],
            path=run.pictures / "tuned.png",
            title=f"{RATES[metric]} on {split}",
        )
    return points


def _files(run: Workdir) -> list[Path]:
    """Returns the files of the last tuning beside TUNED."""
    patterns = ("hypotheses.*.tuned.jsonl", "hypotheses.*.tuned.txt", "hypotheses.*.tuned.html")
    return [*(path for pattern in patterns for path in run.path.glob(pattern)), run.pictures / "tuned.png"]


def tuning_metric(experiment: Experiment) -> score.ErrorRate:
    """Returns the error rate that a search of the experiment is tuned by."""
    ranked_by = experiment.ranked_by
    return "mer" if ranked_by in ("loss", "perplexity") else ranked_by


def table(points: Sequence[GridPoint]) -> list[str]:
    """Returns a line per point, best first; "=" marks points that the split cannot tell from the best."""
    best = points[0]
    header = best.metric.upper()
    lines = [f"  {header:>7} {'95 %':>17} {'oracle':>7}  search (intervals over {best.units.title})"]
    width = max(len(header), 7)
    for point in points:
        mark = " " if _differs(best, point) else "="
        interval = f"[{point.interval.low:.2%}, {point.interval.high:.2%}]"
        lines.append(
            f"{mark} {point.rate:{width}.2%} {interval:>17} {point.oracle:7.2%}  {_assignments(point.changes)}"
        )
    return lines


def _differs(best: GridPoint, point: GridPoint) -> bool:
    """Returns True if the t test over the units tells the point from the best."""
    if best.errors == point.errors or best.units.count < 2 or not sum(best.references):
        return False
    blocks = best.units.blocks or range(len(best.errors))
    return t_test([best.errors], [point.errors], best.references, blocks).p_value < SAME


def _split(experiment: Experiment, name: str) -> Split:
    return named_splits({"validation": experiment.validation, **experiment.evals}, (name,))[name]


def _points(grid: Mapping[str, Sequence[str]]) -> list[tuple[tuple[str, str], ...]]:
    if not grid or not all(grid.values()):
        raise ValueError(f"the grid {dict(grid)} has no point: give values, such as ctc_weight=0.1,0.3 length_norm=0,1")
    for path, values in grid.items():
        for value in values:
            _number(path, value)
    return [tuple(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _number(path: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path} has {value[:40]!r} in the grid; only numbers are tuned, and finite ones")
    return number


def _changed(split: Split, changes: Mapping[str, str]) -> Split:
    return replace(split, search=tree.override(split.search, changes))


def _surface_point(point: GridPoint) -> report.surfaces.SurfacePoint:
    setting = {path: float(value) for path, value in point.changes.items()}
    return report.surfaces.SurfacePoint(
        setting, point.rate, report.surfaces.RateBounds(point.interval.low, point.interval.high)
    )


def _assignments(changes: Mapping[str, str]) -> str:
    return " ".join(f"{path}={value}" for path, value in changes.items())


def _json_rows(points: Sequence[GridPoint]) -> dict[str, Any]:
    metric = points[0].metric
    rows = [
        {
            "search": dict(p.changes),
            metric: round(p.rate, 6),
            "interval": [round(p.interval.low, 6), round(p.interval.high, 6)],
        }
        for p in points
    ]
    units = points[0].units
    about = {"intervals_over": units.kind, "units": units.count, "interval_method": score.METHOD}
    return {"search": dict(points[0].changes), metric: rows[0][metric], **about, "points": rows}
