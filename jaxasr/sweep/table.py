"""Tables of published figures beside our own results.

A table file has a docstring, COLUMNS and ROWS (report.Column, report.Row). Each column becomes a table of its own: the
published figure, ours as the mean over seeds, its confidence intervals, and the difference. Runs that can't be averaged raise
an error. Rows that can't be compared with the ones above are listed apart, under the settings that differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr import report, score
from jaxasr.evaluation.outputs import is_own
from jaxasr.experiment.files import load_module
from jaxasr.files import write_whole
from jaxasr.report import Column, Row

Result = Mapping[str, Any]  # a row of results.jsonl

SAME = ("recipe", "data", "tokenizer")  # equal for all runs of a row, beside COMPARABLE
_DECODING = ("search.", "language model ", "checkpoint")  # settings of the key that an evaluation can change
COMPARABLE = ("split_data", "normalizer", "words", "checkpoint")  # and the search, and its language models
NEEDED = ("experiment", "search", "intervals", "commit", "dirty")  # of every row that a table shows
NUMBER = (int, float, type(None))
KINDS = {"name": str, "split": str, "experiment": str, "search": dict, "intervals": dict, "commit": str, "lms": dict}
KINDS |= dict.fromkeys(("wer", "cer", "cer_no_spaces", "mer", "ser"), NUMBER)
KINDS |= {"steps": int, "trained": int}
HEADER = ("row", "published %", "ours %", "95 % over seeds", "95 % over the test set", "seeds", "difference", "commit")
NOTES = """\
* Published figures: {marks}.
* Ours: the mean over seeds. Over seeds: Student's t over the runs (two at least), the test set taken as it is. Over the
  test set: its speakers or utterances as independent units, the runs taken as they are (of several, the mean of their
  bounds). "s": over speakers, where at least 5 are known; "u": over utterances, which is too narrow where the speakers
  differ; "u*": so, by the percentile bootstrap of older rows.
* Difference: ours less published, in points. A commit with a + had changes that were not committed."""


def table(file: Path, results: Path | None = None) -> str:
    """Returns the table as Markdown, and writes it beside the file, as FILE.md.

    Args:
        file: the table file.
        results: the rows; None: results.jsonl beside the file, if there is one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no table, or runs of a row differ in more than their seed; the message names them.
    """
    module = load_module(file)
    columns, rows = _checked_table(file, getattr(module, "COLUMNS", ()), getattr(module, "ROWS", ()))
    path = results or file.with_name("results.jsonl")
    found = report.read(path, KINDS) if results or path.is_file() else []
    lines = [f"# {(module.__doc__ or file.stem).strip().splitlines()[0]}"]
    for column in columns:
        lines += ["", f"## {_title(column)}", "", *_section(column, rows, found)]
    marks = {cell.mark for row in rows for cell in row.paper.values() if cell}
    legend = "; ".join(f"[{mark}] {meaning}" for mark, meaning in report.MARKS.items() if mark in marks)
    text = "\n".join([*lines, "", NOTES.format(marks=legend or "none"), *_notes_on_runs(columns, rows, found)])
    write_whole(file.with_suffix(".md"), text + "\n")
    return text


@dataclass(frozen=True)
class _RowRuns:
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

    def cells(self, metric: str, published: float | None) -> list[str]:
        """Returns the cells from "ours" to "commit"."""
        values = [100 * run[metric] for run in self.runs]
        mean = float(np.mean(values))
        seeds = score.mean_interval(values) if len(values) > 1 else None
        bounds = np.array([run["intervals"][metric] for run in self.runs], np.float64)
        low, high = 100 * np.nan_to_num(bounds, nan=np.inf).mean(axis=0)  # a bound that is None is infinite
        commits = {f"{run['commit'][:7]}{'+' * bool(run['dirty'])}" for run in self.runs}
        return [
            f"{mean:.2f}",
            f"[{seeds.low:.2f}, {seeds.high:.2f}]" if seeds else "one seed",
            f"[{low:.2f}, {high:.2f}] {self._units()}",
            str(len(values)),
            "" if published is None else f"{mean - published:+.2f}",
            ", ".join(sorted(commits)),
        ]

    def _units(self) -> str:
        """Returns the letters of the units that the intervals rest on."""
        letters = {_letter(run) for run in self.runs}
        return ", ".join(sorted(letters))


def _letter(run: Result) -> str:
    if "interval_method" not in run:
        return "u*"
    return "s" if run["intervals_over"] == "speakers" else "u"


def _checked_table(file: Path, columns: Any, rows: Any) -> tuple[Sequence[Column], Sequence[Row]]:
    for name, entries, kind in (("COLUMNS", columns, Column), ("ROWS", rows, Row)):
        if (
            not isinstance(entries, list | tuple)
            or not entries
            or not all(isinstance(entry, kind) for entry in entries)
        ):
            raise ValueError(f"{file} is no table file: it needs {name} = (report.{kind.__name__}(...), ...)")
    names = [column.name for column in columns]
    for row in rows:
        strangers = sorted(set(row.paper) - set(names))
        if strangers:
            raise ValueError(f"{file}: row {row.label!r} has figures of {strangers}; the columns are {names}")
    return columns, rows


def _title(column: Column) -> str:
    ours = "" if column.name == (column.split or column.name) else f", ours on {column.split}"
    published = f" (published: {column.other_data})" if column.other_data else ""
    return f"{column.name}, {column.metric.upper()}{ours}{published}"


def _section(column: Column, rows: Sequence[Row], results: Sequence[Result]) -> Iterator[str]:
    """Yields the table of a column, and the rows that can't be compared with it, by the settings that differ."""
    groups: list[tuple[dict[str, str], list[list[str]]]] = [({}, [])]
    for row in rows:
        ours = _runs_of(row, column, results)
        if ours is None:
            groups[0][1].append([row.label, *_published(row, column), *["not run", "", "", "0", "", ""]])
            continue
        key = ours.key
        line = _line(row, column, ours)
        if not groups[0][0]:
            groups[0] = (key, groups[0][1])
        for there, lines in groups:
            if there == key:
                lines.append(line)
                break
        else:
            groups.append((key, [line]))
    (first, lines), *others = groups
    yield report.markdown(HEADER, lines)
    yield from _other_searches(column, rows, results)
    for key, lines in others:
        names = [name for name in {**first, **key} if first.get(name) != key.get(name)]
        differs = ", ".join(f"{name} {key.get(name, 'absent')} (above {first.get(name, 'absent')})" for name in names)
        yield f"\nNot comparable with the rows above: {differs}.\n"
        yield report.markdown(HEADER, lines)


def _published(row: Row, column: Column) -> list[str]:
    cell = row.paper.get(column.name)
    return [cell.shown if cell else ""]


def _line(row: Row, column: Column, ours: _RowRuns) -> list[str]:
    cell = row.paper.get(column.name)
    *cells, difference, commit = ours.cells(column.metric, cell.confirmed if cell else None)
    label = f"{row.label} (see note)" if any(run.get("note") for run in ours.runs) else row.label
    return [label, *_published(row, column), *cells, "other data" if column.other_data else difference, commit]


def _notes_on_runs(columns: Sequence[Column], rows: Sequence[Row], results: Sequence[Result]) -> Iterator[str]:
    """Yields a line for each `note` that runs of the table have in their results, with the names of the runs."""
    for row in rows:
        names: dict[str, set[str]] = {}
        for ours in (_runs_of(row, column, results) for column in columns):
            for run in ours.runs if ours else ():
                if run.get("note"):
                    names.setdefault(run["note"], set()).add(run["name"])
        for note, runs in names.items():
            yield f"* {row.label} ({', '.join(sorted(runs))}): {note}"


def _runs_of(row: Row, column: Column, results: Sequence[Result]) -> _RowRuns | None:
    """Returns the last result of each run of a row, of its own search if there is one.

    An experiment and seed with two names counts once.
    """
    split = column.split or column.name
    latest: dict[str, Result] = {}
    for result in results:
        name = result.get("name", "")
        if _is_of(result, row, split) and (is_own(result) or name not in latest or not is_own(latest[name])):
            latest[name] = result
    once = {result.get("experiment", name): result for name, result in latest.items()}
    if not once:
        return None
    ours = _RowRuns(tuple(once.values()))
    _check_seeds_only(row, column, ours.runs)
    return ours


def _is_of(result: Result, row: Row, split: str) -> bool:
    name = result.get("name", "")
    return result.get("split") == split and any(fnmatchcase(name, pattern) for pattern in row.patterns)


def _other_searches(column: Column, rows: Sequence[Row], results: Sequence[Result]) -> Iterator[str]:
    """Yields a line for each run that has rows of several searches on the split: the table shows one of them."""
    split = column.split or column.name
    decoded: dict[str, dict[str, str]] = {}
    for result in results:
        if isinstance(result.get("search"), dict) and any(_is_of(result, row, split) for row in rows):
            key = {name: value for name, value in _RowRuns((result,)).key.items() if name.startswith(_DECODING)}
            decoded.setdefault(result.get("name", ""), {})[str(sorted(key.items()))] = result.get("outputs", split)
    for name, searches in decoded.items():
        if len(searches) > 1:
            yield (
                f"\n{name} has rows of {len(searches)} searches or checkpoints on {split} ({', '.join(searches.values())}): "
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
            | _RowRuns((other,)).key
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
