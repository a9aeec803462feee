"""The points that a scaling law is fitted to: rows of results, or tables with columns N, D, loss.

| file | columns |
|---|---|
| results.jsonl of runs | `parameters`, `train_hours`, `seen_hours`, `train_flops` and the error rate of a split |
| .csv, .json (a list of objects), .jsonl | `N`, `D` and `loss`; `C` (compute) and `name` if there are any |
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from jaxasr import report
from jaxasr.score.scaling_law.law import Inputs

Variable = Literal["N", "D", "C"]
MEANINGS: Mapping[str, str] = {"N": "parameters", "D": "hours of training data", "C": "FLOPs of training"}
_SAME = ("split_data", "normalizer", "search", "lms")  # of all rows: they decide what the error is one of


@dataclass(frozen=True)
class Point:
    """A trained run: what went in, and its error."""

    name: str
    error: float  # a rate (a fraction) or a loss
    inputs: Mapping[str, float]  # by variable, those that are known


def planned_point(inputs: Mapping[str, float]) -> Point:
    """Returns a run that is not trained yet; its error is not a number."""
    return Point(", ".join(f"{name} = {value:,.4g}" for name, value in inputs.items()), math.nan, dict(inputs))


@dataclass(frozen=True)
class RowSelection:
    """The rows of results that are points, and the entries that are read from them."""

    split: str = ""  # "": the rows have one split only
    metric: str = "wer"
    runs: str = "*"  # names of runs, with * and ? as in a shell
    hours: Literal["train_hours", "seen_hours"] = (
        "train_hours"  # D: audio that the run was given, or repetitions counted
    )

    @property
    def entries(self) -> dict[str, str]:
        """The entry of a row that holds each variable."""
        return {"N": "parameters", "D": self.hours, "C": "train_flops"}


def read_points(paths: Sequence[Path], selection: RowSelection, variables: Sequence[Variable]) -> list[Point]:
    """Returns the points of the files. Of a run with several rows of the split, the last one counts.

    Args:
        paths: of the files.
        selection: for rows of results; tables of columns ignore it.
        variables: what every point needs.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry is missing or no positive finite number, there are several splits and none is chosen, or rows
            are not comparable because they differ in normaliser, search or version of the split.
    """
    points: list[Point] = []
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for path in paths:
        for where, entry in _entries(path):
            if "split" in entry:
                rows.append((where, entry))
            else:
                points.append(_point_of_columns(where, entry, variables))
    return points + _points_of_rows(rows, selection, variables)


def inputs_of(points: Sequence[Point], variables: Sequence[Variable]) -> Inputs:
    """Returns the values of the variables of each point."""
    rows = [[point.inputs[name] for name in variables] for point in points]
    return np.array(rows, np.float64).reshape(len(points), len(variables))


def _entries(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the objects of a file with their places in it."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of points {path}: rows of results, or a CSV or JSON with columns N, D, loss")
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [(f"{path}, row {number}", row) for number, row in enumerate(csv.DictReader(file), start=1)]
    if path.suffix == ".json":
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error})") from error
        if not isinstance(listed, list) or not all(isinstance(row, dict) for row in cast("list[Any]", listed)):
            raise ValueError(f"{path} is no list of objects, such as [{{'N': 1e6, 'D': 100, 'loss': 0.2}}]")
        return [
            (f"{path}, object {number}", row)
            for number, row in enumerate(cast("list[dict[str, Any]]", listed), start=1)
        ]
    return [(f"{path}, row {number}", row) for number, row in enumerate(report.read(path), start=1)]


def _point_of_columns(where: str, entry: Mapping[str, Any], variables: Iterable[Variable]) -> Point:
    inputs = {name: _positive(where, entry, name) for name in variables}
    if "C" not in inputs and entry.get("C") not in (None, ""):
        inputs["C"] = _positive(where, entry, "C")
    return Point(str(entry.get("name") or where), _positive(where, entry, "loss"), inputs)


def _points_of_rows(
    rows: Sequence[tuple[str, Mapping[str, Any]]], selection: RowSelection, variables: Sequence[Variable]
) -> list[Point]:
    named = [(where, row) for where, row in rows if fnmatchcase(str(row.get("name", "")), selection.runs)]
    splits = sorted({str(row["split"]) for _, row in named})
    split = selection.split or (splits[0] if len(splits) == 1 else "")
    chosen = [(where, row) for where, row in named if row["split"] == split and row.get("outputs", split) == split]
    if rows and not chosen:
        wanted = f"split {selection.split!r}" if selection.split else "one split: choose it with --split"
        raise ValueError(
            f"no row of {wanted} among the {len(named)} rows of runs {selection.runs!r}; they have the splits "
            f"{', '.join(splits) or 'none'}"
        )
    last = {(row.get("name"), row.get("experiment")): (where, row) for where, row in chosen}
    _check_comparable(list(last.values()))
    return [_point_of_row(where, row, selection, variables) for where, row in last.values()]


def _point_of_row(where: str, row: Mapping[str, Any], selection: RowSelection, variables: Iterable[Variable]) -> Point:
    if row.get("trained") != row.get("steps"):
        raise ValueError(f"{where}: the run was evaluated after {row.get('trained')} of {row.get('steps')} steps")
    entries = selection.entries
    inputs = {name: _positive(where, row, entries[name]) for name in variables}
    if "C" not in inputs and row.get(entries["C"]):
        inputs["C"] = _positive(where, row, entries["C"])
    return Point(str(row.get("name", where)), _positive(where, row, selection.metric), inputs)


def _check_comparable(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for where, row in rows[1:]:
        first_where, first = rows[0]
        differing = [name for name in _SAME if first.get(name) != row.get(name)]
        if differing:
            raise ValueError(
                f"{where} and {first_where} are not comparable: they differ in {', '.join(differing)}. Choose runs with "
                "--runs, or evaluate them alike"
            )


def _positive(where: str, entry: Mapping[str, Any], name: str) -> float:
    """Returns a number that has a logarithm."""
    value = entry.get(name)
    if value is None or value == "":
        raise ValueError(
            f"{where} has no {name!r}, but {', '.join(map(str, entry))[:200]}. Rows of older versions get it by `jaxasr "
            "eval`, as far as the run knows it; tables need columns N, D (or C) and loss"
        )
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        raise ValueError(
            f"{where}: {name} is {str(value)[:40]!r}; a finite number above 0 is needed, to take its logarithm"
        )
    return number
