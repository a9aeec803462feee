"""The runs that stand in a row of a table, and what makes them comparable with one another and with other rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from jaxasr import score
from jaxasr.evaluation.outputs import is_own
from jaxasr.report import Column, Row

Result = Mapping[str, Any]  # a row of results.jsonl

SAME = ("recipe", "data", "tokenizer")  # equal for all runs of a row, beside COMPARABLE
_DECODING = ("search.", "language model ", "checkpoint")  # settings of the key that an evaluation can change
COMPARABLE = ("split_data", "normalizer", "words", "checkpoint")  # and the search, and its language models
NEEDED = ("experiment", "search", "intervals", "commit", "dirty")  # of every row that a table shows
NUMBER = (int, float, type(None))
KINDS = {"name": str, "split": str, "experiment": str, "search": dict, "intervals": dict, "commit": str, "lms": dict}
KINDS |= dict.fromkeys(("wer", "cer", "cer_no_spaces", "mer", "ser"), NUMBER)
KINDS |= {"steps": int, "trained": int, "device_hours": NUMBER, "unit_errors": (dict, type(None))}


@dataclass(frozen=True)
class RowRuns:
    """The runs of a row, on the split of a column."""

    runs: tuple[Result, ...]

    @property
    def key(self) -> dict[str, str]:
        """The settings that are equal for figures that can be compared.

        An option that is None is left out: it may be newer than a row without it.
        """
        run = self.runs[0]
        search = {f"search.{name}": str(value) for name, value in run["search"].items() if value is not None}
        lms = {f"language model {name}": provenance for name, provenance in run.get("lms", {}).items()}
        return {name: str(run.get(name)) for name in COMPARABLE} | search | lms

    @property
    def commits(self) -> str:
        """The commits of the runs; a + marks changes that were not committed."""
        return ", ".join(sorted({f"{run['commit'][:7]}{'+' * bool(run['dirty'])}" for run in self.runs}))

    @property
    def device_hours(self) -> float | None:
        """The device-hours of the training of all runs; None if a run does not know it."""
        hours = [run.get("device_hours") for run in self.runs]
        return sum(hour for hour in hours if hour is not None) if None not in hours else None

    @property
    def units(self) -> str:
        """The letters of the units that the intervals over the test set rest on."""
        return ", ".join(sorted({_letter(run) for run in self.runs}))

    def rates(self, metric: str) -> list[float]:
        """Returns the rates of the runs, as fractions."""
        return [float(run[metric]) for run in self.runs]

    def over_test_set(self, metric: str) -> score.Interval:
        """Returns the mean of the runs' intervals over the test set. A bound that is None is infinite."""
        bounds = np.array([run["intervals"][metric] for run in self.runs], np.float64)
        low, high = np.nan_to_num(bounds, nan=np.inf).mean(axis=0)
        return score.Interval(float(low), float(high), 0.95)


def _letter(run: Result) -> str:
    if "interval_method" not in run:
        return "u*"
    return "s" if run["intervals_over"] == "speakers" else "u"


def runs_of(row: Row, column: Column, results: Sequence[Result]) -> RowRuns | None:
    """Returns the last result of each run of a row, of its own search if there is one.

    An experiment and seed with two names counts once.
    """
    latest: dict[str, Result] = {}
    for result in results:
        name = result.get("name", "")
        if _is_of(result, row, column) and (is_own(result) or name not in latest or not is_own(latest[name])):
            latest[name] = result
    once = {result.get("experiment", name): result for name, result in latest.items()}
    if not once:
        return None
    ours = RowRuns(tuple(once.values()))
    _check_seeds_only(row, column, ours.runs)
    return ours


def _is_of(result: Result, row: Row, column: Column) -> bool:
    name = result.get("name", "")
    split = column.split or column.name
    return result.get("split") == split and any(fnmatchcase(name, pattern) for pattern in row.patterns(column))


def other_searches(column: Column, rows: Sequence[Row], results: Sequence[Result]) -> Iterator[str]:
    """Yields a line for each run that has rows of several searches on the split: the table shows one of them."""
    split = column.split or column.name
    decoded: dict[str, dict[str, str]] = {}
    for result in results:
        if isinstance(result.get("search"), dict) and any(_is_of(result, row, column) for row in rows):
            key = {name: value for name, value in RowRuns((result,)).key.items() if name.startswith(_DECODING)}
            decoded.setdefault(result.get("name", ""), {})[str(sorted(key.items()))] = result.get("outputs", split)
    for name, searches in decoded.items():
        if len(searches) > 1:
            yield (
                f"{name} has rows of {len(searches)} searches or checkpoints on {split} ({', '.join(searches.values())}): "
                "shown is the last one with the experiment's own. Give the others names: --name"
            )


def _missing(run: Result, metric: str) -> list[str]:
    """Returns what a row lacks of the entries that every table shows."""
    interval = run.get("intervals", {}).get(metric)
    bounds = interval if isinstance(interval, list) and len(interval) == 2 else ["none"]
    has_interval = all(bound is None or type(bound) in (int, float) for bound in bounds)
    return [name for name in NEEDED if name not in run] + [f"interval of {metric}"] * (not has_interval)


def _check_seeds_only(row: Row, column: Column, runs: Sequence[Result]) -> None:
    for run in runs:
        if run.get(column.metric) is None:
            scores = [name for name in run.get("intervals", {}) if run.get(name, 0) is not None]
            there = ", ".join(sorted(scores)) or "no scores"
            raise ValueError(
                f"row {row.label!r}: run {run['name']} has no {column.metric} on {column.split or column.name}, but {there}; "
                "give the column another metric, or the row other runs"
            )
        if lost := _missing(run, column.metric):
            raise ValueError(
                f"row {row.label!r}: run {run['name']} on {column.split or column.name} has no {', '.join(lost)}; take its "
                "row out of the results, or evaluate the run again"
            )
        if run.get("trained", 0) != run.get("steps", 0):
            raise ValueError(
                f"row {row.label!r}: run {run['name']} was evaluated on {column.split or column.name} after "
                f"{run['trained']:,} of {run['steps']:,} steps; let it end, or take its row out of the results"
            )
        first, this = (
            {name: str(other.get(name)) for name in SAME}
            | {"init_from": "given" if other.get("init_from") else "absent"}
            | RowRuns((other,)).key
            for other in (runs[0], run)
        )
        differs = [
            f"{name} {first.get(name)} and {this.get(name)}"
            for name in {**first, **this}
            if first.get(name) != this.get(name)
        ]
        if differs:
            raise ValueError(
                f"row {row.label!r} can't be the mean of runs {runs[0]['name']} and {run['name']}, which differ in more than "
                f"their seed: {', '.join(differs)}. Give them rows of their own, or run again what is out of date"
            )
