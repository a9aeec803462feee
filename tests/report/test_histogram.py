"""Histograms of characters."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr.report import text_histogram


def test_lines_have_bars_counts_and_shares():
    values = np.repeat([1.0, 3.0, 3.5, 11.0], [1, 2, 1, 4])
    assert text_histogram(values, bins=[0, 2, 4, 10], unit="s", width=39) == [
        " 0 -  2 s  ████              1   12.5 %",
        " 2 -  4 s  ████████████      3   37.5 %",
        " 4 - 10 s                    0    0.0 %",
        "   > 10 s  ████████████████  4   50.0 %",
    ]


@given(
    values=st.lists(st.floats(-1e15, 1e15) | st.integers(-50, 50).map(float), min_size=1).map(np.array),
    bins=st.integers(1, 30),
    width=st.integers(80, 140),
)
def test_every_value_is_in_one_bin_and_no_line_is_too_long(values, bins, width):
    lines = text_histogram(values, bins=bins, width=width)
    counts = [int(re.search(r"([\d,]+) +[\d.]+ %$", line)[1].replace(",", "")) for line in lines]  # pyright: ignore[reportOptionalSubscript]
    assert sum(counts) == len(values)
    assert len(lines) <= bins + 2
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= width
    assert all((count > 0) == bool(re.search("[█▏▎▍▌▋▊▉]", line)) for count, line in zip(counts, lines, strict=True))


def test_edges_are_round():
    lines = text_histogram(np.array([1.3, 24.5]), bins=6, unit="s", width=80)
    assert [line.split(" s ")[0].split() for line in lines] == [
        ["0", "-", "5"],
        ["5", "-", "10"],
        ["10", "-", "15"],
        ["15", "-", "20"],
        ["20", "-", "25"],
    ]
    assert text_histogram(np.array([3, 3]), unit="tokens", width=60)[0].startswith("3 - 4 tokens  █")


def test_what_cannot_be_drawn():
    assert text_histogram(np.zeros(0)) == ["no values"]
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        text_histogram(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"edges of bins must rise, .* \[2.0, 1.0\]"):
        text_histogram(np.array([1.0]), bins=[2, 1])
