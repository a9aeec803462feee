"""Comparisons of a table: ours with the published figure of a cell, and rows with the baseline row."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxasr import score
from jaxasr.report import Cell, Column
from jaxasr.score.comparison import TTest, holm, t_test, welch_test
from jaxasr.sweep.table_runs import RowRuns

Verdict = Literal[
    "reproduced", "consistent", "different: better", "different: worse", "not run", "other data", "unconfirmed", ""
]

ENOUGH_SEEDS = 3
NARROW = 0.1  # half of the interval over the published figure
LEVEL = 0.05  # below which a corrected p decides about an order
_COUNTS = {"wer": (0, 1), "cer": (2, 3)}  # places of errors and references in `unit_errors`


@dataclass(frozen=True)
class BaselineDifference:
    """The difference of a row to the baseline row."""

    test: TTest
    is_paired: bool  # False: over seeds alone, because the rows have no errors by unit
    p_holm: float = math.nan  # corrected for the rows of the table


def interval_of(ours: RowRuns, metric: str) -> score.Interval:
    """Returns the interval of a recipe over seeds and test sets, as fractions.

    The two are independent, so half-widths add up in squares. One seed has an interval over the test set alone.
    """
    rates = ours.rates(metric)
    mean = float(np.mean(rates))
    over_set = ours.over_test_set(metric)
    seeds = score.mean_interval(rates).high - mean if len(rates) > 1 else 0.0
    return score.Interval(
        mean - math.hypot(seeds, mean - over_set.low), mean + math.hypot(seeds, over_set.high - mean), over_set.level
    )


def verdict(cell: Cell | None, column: Column, ours: RowRuns | None) -> Verdict:
    """Returns how ours compares with a published figure; "" where there is nothing to compare.

    reproduced: the figure lies in our interval (`interval_of`), which rests on at least ENOUGH_SEEDS seeds and is at most
    NARROW of the figure to either side. consistent: it lies in our interval, which is wider or rests on fewer seeds.
    different: it lies outside. A figure of other data, or one that is not confirmed, is compared with nothing.
    """
    if cell is None or column.proxy:
        return ""
    if ours is None:
        return "not run"
    if column.other_data:
        return "other data"
    if cell.confirmed is None:
        return "unconfirmed"
    published = cell.confirmed / 100
    interval = interval_of(ours, column.metric)
    if published < interval.low:
        return "different: worse"
    if published > interval.high:
        return "different: better"
    half = (interval.high - interval.low) / 2
    is_sure = len(ours.runs) >= ENOUGH_SEEDS and half <= NARROW * published
    return "reproduced" if is_sure else "consistent"


def differences(baseline: RowRuns, others: dict[str, RowRuns], metric: str) -> dict[str, BaselineDifference]:
    """Returns the differences of rows to the baseline by label, those that can be tested, with Holm's correction."""
    found = {label: difference(baseline, ours, metric) for label, ours in others.items()}
    tested = {label: one for label, one in found.items() if one is not None}
    corrected = holm([one.test.p_value for one in tested.values()])
    return {
        label: BaselineDifference(one.test, one.is_paired, p_holm)
        for (label, one), p_holm in zip(tested.items(), corrected, strict=True)
    }


def difference(baseline: RowRuns, ours: RowRuns, metric: str) -> BaselineDifference | None:
    """Returns the test of a row against the baseline; None if neither errors by unit nor seeds are there."""
    by_unit = _errors_by_unit(baseline, ours, metric)
    if by_unit is not None:
        errors_a, errors_b, words = by_unit
        return BaselineDifference(t_test(errors_a, errors_b, words, range(len(words))), is_paired=True)
    if min(len(baseline.runs), len(ours.runs)) > 1:
        return BaselineDifference(welch_test(baseline.rates(metric), ours.rates(metric)), is_paired=False)
    return None


def order(published: float, found: BaselineDifference | None) -> str:
    """Returns whether a proxy shows the published order of a row and the baseline.

    Args:
        published: the figure of the row less that of the baseline.
        found: the difference on the proxy.
    """
    if found is None or not published:
        return ""
    if found.p_holm >= LEVEL:
        return "open"
    return "as published" if (found.test.difference > 0) == (published > 0) else "opposite"


def _errors_by_unit(a: RowRuns, b: RowRuns, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Returns the errors [runs, units] of both rows and the references of the units; None if they are not the same units."""
    counts: list[dict[str, list[int]]] = [run.get("unit_errors") or {} for run in (*a.runs, *b.runs)]
    if metric not in _COUNTS or not all(counts):
        return None
    errors, references = _COUNTS[metric]
    units = list(counts[0])
    if len(units) < 2 or any(one.keys() != counts[0].keys() for one in counts):
        return None
    words = np.array([[one[unit][references] for unit in units] for one in counts], np.float64)
    if (words != words[0]).any() or not words[0].sum():
        return None
    found = np.array([[one[unit][errors] for unit in units] for one in counts], np.float64)
    return found[: len(a.runs)], found[len(a.runs) :], words[0]
