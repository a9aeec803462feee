"""Which numbers a search should have: every point of a grid decoded on one split, the best one kept in the run's folder.

A point is the split's search with some of its fields changed. All points see the same utterances, so each is compared with
the best one pair by pair: which of them are as good, as far as this split can tell, is said beside the numbers.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxasr import report, score, tree
from jaxasr.evaluation.decode_split import SearchEvaluator
from jaxasr.evaluation.language_models import NO_LMS, load_language_models, check_lms_used
from jaxasr.evaluation.searches import render_search
from jaxasr.experiment.experiment import Experiment, Split, named_splits, search_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole

SAME = 0.05  # p-value from which on a point is called as good as the best


@dataclass(frozen=True)
class GridPoint:
    """One search and what it makes of the split."""

    changes: Mapping[str, str]  # of the split's search, by path
    errors: tuple[int, ...]  # words, one number an utterance
    words: tuple[int, ...]
    oracle: float  # word error rate if the best of each n-best list were chosen

    @property
    def wer(self) -> float:
        """Word errors over words."""
        return sum(self.errors) / max(sum(self.words), 1)

    @property
    def interval(self) -> score.Interval:
        """Of the word error rate, 95 %, over utterances."""
        return score.rate_interval(self.errors, self.words)


def tune(
    experiment: Experiment,
    folder: Path,
    runtime: RuntimeConfig,
    grid: Mapping[str, Sequence[str]],
    *,
    split: str = "validation",
    checkpoint: Choice = "best",
    lms: Mapping[str, str] = NO_LMS,
    say: Callable[[str], None] = print,
) -> list[GridPoint]:
    """Decodes a split with every point of the grid; best first. Writes tuned.json and pictures/tuned.png into the folder,
    and what the best point heard, as hypotheses.SPLIT.tuned.jsonl.

    Args:
        grid: the values of each field of the search, by path ("ctc_weight", "scorers.0.weight").
        split: "validation", or one of the experiment's evals. What is chosen on a split is no longer tested by it.
        lms: as in `evaluate_run`.

    Raises:
        KeyError: no such split.
        ValueError: an empty grid, no such field, or a value that is not of its type.
        FileNotFoundError: no such run or checkpoint.
    """
    chosen = _split(experiment, split)
    searches = {point: _changed(chosen, dict(point)) for point in _points(grid)}
    check_lms_used(lms, [search_of(each) for each in searches.values()])
    workdir = Workdir(folder)
    variables, metadata = trained_variables(experiment, workdir, checkpoint)
    fused, points = load_language_models(lms, experiment.tokenizer), []
    best: list[score.EvalOutput] = []
    with report.Progress(len(searches), "tune", "searches") as bar:
        for point, search in searches.items():
            judge = SearchEvaluator(experiment, f"{split}.tuned", search, runtime.data_dir, fused.models, runtime.parallelism)
            evaluation = judge(variables, workdir, workers=runtime.workers)
            points.append(_measured(dict(point), evaluation))
            if min(points, key=lambda point: point.wer) is points[-1]:
                best[:] = [evaluation]
            bar.advance(1)
            bar.say(f"{_told(points[-1].changes)}: WER {points[-1].wer:.2%}")
    points.sort(key=lambda point: point.wer)
    score.write_hypotheses(best[0], workdir.path / f"hypotheses.{split}.tuned.jsonl")  # over those of the last point
    for line in table(points):
        say(line)
    about = {"split": split, "data": metadata.data, "checkpoint": checkpoint, "lms": fused.provenance}
    about |= {"of": render_search(search_of(chosen))}
    write_whole(workdir.path / "tuned.json", json.dumps(about | _kept(points), indent=1) + "\n")
    report.surfaces.surface(
        [_drawn(point) for point in points],
        path=workdir.pictures / "tuned.png",
        title=f"word error rate on {split}",
    )
    return points


def table(points: Sequence[GridPoint]) -> list[str]:
    """A line a point, best first: = where the split can't tell it from the best."""
    best = points[0]
    lines = [f"  {'WER':>7} {'95 %':>17} {'oracle':>7}  search"]
    for point in points:
        compared = score.compare(best.errors, point.errors, point.words)
        mark = "=" if compared.p_value >= SAME else " "
        low, high = point.interval.low, point.interval.high
        between = f"[{low:.2%}, {high:.2%}]"
        lines.append(f"{mark} {point.wer:7.2%} {between:>17} {point.oracle:7.2%}  {_told(point.changes)}")
    return lines


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
        return float(value)
    except ValueError:
        raise ValueError(f"{path} has {value!r} in the grid; only numbers are tuned") from None


def _changed(split: Split, changes: Mapping[str, str]) -> Split:
    return replace(split, search=tree.override(split.search, changes))


def _measured(changes: Mapping[str, str], evaluation: score.EvalOutput) -> GridPoint:
    utterances = evaluation.scores.utterances
    errors = tuple(each.words.errors for each in utterances)
    return GridPoint(changes, errors, tuple(each.words.references for each in utterances), evaluation.oracle)


def _drawn(point: GridPoint) -> report.surfaces.SurfacePoint:
    setting = {path: float(value) for path, value in point.changes.items()}
    return report.surfaces.SurfacePoint(
        setting, point.wer, report.surfaces.RateBounds(point.interval.low, point.interval.high)
    )


def _told(changes: Mapping[str, str]) -> str:
    return " ".join(f"{path}={value}" for path, value in changes.items())


def _kept(points: Sequence[GridPoint]) -> dict[str, Any]:
    rows = [
        {
            "search": dict(p.changes),
            "wer": round(p.wer, 6),
            "interval": [round(p.interval.low, 6), round(p.interval.high, 6)],
        }
        for p in points
    ]
    return {"search": dict(points[0].changes), "wer": rows[0]["wer"], "points": rows}
