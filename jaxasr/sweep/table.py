"""Tables of published figures beside our own results.

A table file has a docstring, COLUMNS and ROWS (report.Column, report.Row). Each column becomes a table of its own: the
published figure, ours as the mean over seeds, its confidence intervals, the difference and a verdict. If a row is the
baseline, the others are compared with it. Columns with a proxy stand apart and have no verdict. Runs that can't be averaged
raise an error. Rows that can't be compared with the ones above are listed apart, under the settings that differ.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxasr import report, score
from jaxasr.experiment.files import load_module
from jaxasr.files import write_whole
from jaxasr.report import Column, Row
from jaxasr.report.table_document import Grid, TableDocument, TableSection
from jaxasr.sweep.table_runs import KINDS, Result, RowRuns, other_searches, runs_of
from jaxasr.sweep.table_statistics import BaselineDifference, differences, order, verdict

TableFormat = Literal["latex", "html"]
_SUFFIXES: dict[TableFormat, str] = {"latex": ".tex", "html": ".html"}
_HOURS = "device-hours"
_OURS = (
    "Ours: the mean over seeds. Over seeds: Student's t over the runs (two at least), the test set taken as it is. Over the "
    "test set: its speakers or utterances as independent units, the runs taken as they are (of several, the mean of their "
    'bounds). "s": over speakers, where at least 5 are known; "u": over utterances, which is too narrow where the speakers '
    'differ; "u*": so, by the percentile bootstrap of older rows. Device-hours: of the training of all runs of the row. '
    "A commit with a + had changes that were not committed."
)
_PUBLISHED = (
    "Difference: ours less published, in points. Verdict: reproduced: the published figure lies in our interval over seeds "
    "and test set (half-widths add up in squares), which rests on 3 seeds at least and is at most a tenth of the figure to "
    "either side; consistent: it lies in our interval, which is wider or rests on fewer seeds; different: it lies outside."
)
_BASELINE = (
    "To the baseline: in points; interval and p of a t test over seeds and the units of the test set, paired by unit, p "
    'corrected for the rows by Holm. "x": over seeds alone, where rows have no errors by unit.'
)
_PROXY = (
    "Proxy: a smaller corpus in place of the published one. Its figures are compared with no published figure; the order of "
    "a row and the baseline is: as published or opposite where the corrected p is below 0.05, else open."
)


def table(file: Path, results: Path | None = None, *, formats: Sequence[TableFormat] = ()) -> str:
    """Returns the table as Markdown, and writes it beside the file, as FILE.md.

    Args:
        file: the table file.
        results: the rows; None: results.jsonl beside the file, if there is one.
        formats: others that are written as well, as FILE.tex and FILE.html.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no table, or runs of a row differ in more than their seed; the message names them.
    """
    module = load_module(file)
    columns, rows = _checked_table(file, getattr(module, "COLUMNS", ()), getattr(module, "ROWS", ()))
    path = results or file.with_name("results.jsonl")
    found = report.read(path, KINDS) if results or path.is_file() else []
    title = (module.__doc__ or file.stem).strip().splitlines()[0]
    sections = tuple(_TableColumn(column, columns, rows, found).section() for column in columns)
    document = TableDocument(title, sections, tuple(_notes(columns, rows, found)))
    text = document.markdown()
    write_whole(file.with_suffix(".md"), text + "\n")
    for name in formats:
        written = document.latex() if name == "latex" else document.html()
        write_whole(file.with_suffix(_SUFFIXES[name]), written + "\n")
    return text


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
    for column in columns:
        if column.proxy_of and column.proxy_of not in names:
            raise ValueError(
                f"{file}: column {column.name!r} is a proxy of {column.proxy_of!r}; the columns are {names}"
            )
    baselines = [row.label for row in rows if row.baseline]
    if len(baselines) > 1:
        raise ValueError(f"{file}: the rows {baselines} are baselines; one at most can be")
    return columns, rows


@dataclass(frozen=True)
class _Entry:
    """A row of the table with its runs, which are None if there are none."""

    row: Row
    ours: RowRuns | None


@dataclass(frozen=True)
class _TableColumn:
    """A column of a table file, which becomes a section."""

    column: Column
    columns: Sequence[Column]
    rows: Sequence[Row]
    results: Sequence[Result]

    def section(self) -> TableSection:
        """Returns the table of the column, and the rows that can't be compared with it, by the settings that differ."""
        (first, entries), *others = self._groups()
        grids = [self._grid(entries)]
        for key, apart in others:
            names = [name for name in {**first, **key} if first.get(name) != key.get(name)]
            differs = ", ".join(
                f"{name} {key.get(name, 'absent')} (above {first.get(name, 'absent')})" for name in names
            )
            grids.append(self._grid(apart, f"Not comparable with the rows above: {differs}."))
        remarks = tuple(other_searches(self.column, self.rows, self.results))
        return TableSection(_title(self.column), tuple(grids), remarks, bool(self.column.proxy))

    def _groups(self) -> list[tuple[dict[str, str], list[_Entry]]]:
        """Returns the rows by the settings of their runs; rows without runs stand in the first group."""
        groups: list[tuple[dict[str, str], list[_Entry]]] = [({}, [])]
        for row in self.rows:
            ours = runs_of(row, self.column, self.results)
            key = ours.key if ours else groups[0][0]
            if not groups[0][0]:
                groups[0] = (key, groups[0][1])
            for there, entries in groups:
                if there == key:
                    entries.append(_Entry(row, ours))
                    break
            else:
                groups.append((key, [_Entry(row, ours)]))
        return groups

    @property
    def _published_in(self) -> str:
        """The column whose published figures stand in this one; "" if no row has any."""
        name = self.column.proxy_of if self.column.proxy else self.column.name
        return name if any(row.paper.get(name) for row in self.rows) else ""

    def _grid(self, entries: Sequence[_Entry], note: str = "") -> Grid:
        """Returns a table of rows that can be compared."""
        baseline = next((entry for entry in entries if entry.row.baseline), None)
        others = {entry.row.label: entry.ours for entry in entries if entry.ours and not entry.row.baseline}
        tested: dict[str, BaselineDifference] = {}
        if baseline and baseline.ours:
            tested = differences(baseline.ours, others, self.column.metric)
        lines = [self._cells(entry, tested.get(entry.row.label)) for entry in entries]
        if not any(line[_HOURS] for line in lines):  # rows of older versions
            lines = [{name: cell for name, cell in line.items() if name != _HOURS} for line in lines]
        return Grid(tuple(lines[0]), tuple(tuple(line.values()) for line in lines), note)

    def _cells(self, entry: _Entry, tested: BaselineDifference | None) -> dict[str, str]:
        """Returns the cells of a row by the names of their columns."""
        row = entry.row
        ours = entry.ours
        cell = row.paper.get(self._published_in) if self._published_in else None
        has_note = any(run.get("note") for run in ours.runs) if ours else False
        cells = {"row": f"{row.label} (see note)" if has_note else row.label}
        proxy = self.column.proxy
        if self._published_in:
            cells[f"published {self._published_in} %" if proxy else "published %"] = cell.shown if cell else ""
        cells |= _own_cells(ours, self.column.metric, f"proxy on {proxy} %" if proxy else "ours %")
        if self._published_in and not proxy:
            cells |= {"difference": self._difference(row, ours), "verdict": verdict(cell, self.column, ours)}
        if any(other.baseline for other in self.rows):
            cells |= _baseline_cells("baseline" if row.baseline else "", tested)
            if self._published_in and proxy:
                cells["order"] = self._order(row, tested)
        hours = ours.device_hours if ours else None
        return cells | {_HOURS: "" if hours is None else f"{hours:.3g}", "commit": ours.commits if ours else ""}

    def _difference(self, row: Row, ours: RowRuns | None) -> str:
        cell = row.paper.get(self.column.name)
        if ours is None or cell is None:
            return ""
        if self.column.other_data:
            return "other data"
        if cell.confirmed is None:
            return ""
        return f"{100 * float(np.mean(ours.rates(self.column.metric))) - cell.confirmed:+.2f}"

    def _order(self, row: Row, tested: BaselineDifference | None) -> str:
        baseline = next(other for other in self.rows if other.baseline)
        there, here = (other.paper.get(self._published_in) for other in (baseline, row))
        if not there or not here or there.confirmed is None or here.confirmed is None:
            return ""
        return order(here.confirmed - there.confirmed, tested)


def _own_cells(ours: RowRuns | None, metric: str, name: str) -> dict[str, str]:
    """Returns the mean, its intervals and the number of seeds."""
    header = (name, "95 % over seeds", "95 % over the test set", "seeds")
    if ours is None:
        return dict(zip(header, ("not run", "", "", "0"), strict=True))
    rates = ours.rates(metric)
    over_seeds = _bounds(score.mean_interval(rates)) if len(rates) > 1 else "one seed"
    over_set = f"{_bounds(ours.over_test_set(metric))} {ours.units}"
    return dict(zip(header, (f"{100 * float(np.mean(rates)):.2f}", over_seeds, over_set, str(len(rates))), strict=True))


def _baseline_cells(mark: str, tested: BaselineDifference | None) -> dict[str, str]:
    header = ("to the baseline", "95 % of it", "p (Holm)")
    if tested is None:
        return dict(zip(header, (mark, "", ""), strict=True))
    test = tested.test
    p_value = "<0.001" if tested.p_holm < 0.001 else f"{tested.p_holm:.3f}"
    bounds = f"[{100 * test.interval.low:+.2f}, {100 * test.interval.high:+.2f}]{'' if tested.is_paired else ' x'}"
    return dict(zip(header, (f"{100 * test.difference:+.2f}", bounds, p_value), strict=True))


def _bounds(interval: score.Interval) -> str:
    return f"[{100 * interval.low:.2f}, {100 * interval.high if math.isfinite(interval.high) else math.inf:.2f}]"


def _title(column: Column) -> str:
    metric = column.metric.upper()
    split = column.split or column.name
    if column.proxy:
        of = f", in place of {column.proxy_of}" if column.proxy_of else ""
        return f"{column.name}: proxy on {column.proxy}, {split}, {metric}{of}"
    ours = "" if column.name == split else f", ours on {column.split}"
    published = f" (published: {column.other_data})" if column.other_data else ""
    return f"{column.name}, {metric}{ours}{published}"


def _notes(columns: Sequence[Column], rows: Sequence[Row], results: Sequence[Result]) -> Iterator[str]:
    marks = {cell.mark for row in rows for cell in row.paper.values() if cell}
    if marks:
        legend = "; ".join(f"[{mark}] {meaning}" for mark, meaning in report.MARKS.items() if mark in marks)
        yield f"Published figures: {legend}."
    yield _OURS
    if marks:
        yield _PUBLISHED
    if any(row.baseline for row in rows):
        yield _BASELINE
    if any(column.proxy for column in columns):
        yield _PROXY
    for row in rows:
        names: dict[str, set[str]] = {}
        for ours in (runs_of(row, column, results) for column in columns):
            for run in ours.runs if ours else ():
                if run.get("note"):
                    names.setdefault(run["note"], set()).add(run["name"])
        for note, runs in names.items():
            yield f"{row.label} ({', '.join(sorted(runs))}): {note}"
