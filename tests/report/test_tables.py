"""Tables in Markdown."""

import pytest

from jaxasr.report import Cell, Column, cells, markdown


def test_columns_are_aligned_and_figures_stand_to_the_right():
    table = markdown(
        ["row", "WER %", "note"], [["LAS", "6.8", "x|y"], ["with LM", "12.10 ± 0.3", "two\nlines"], ["third", "", ""]]
    )
    assert table.splitlines() == [
        "| row     |       WER % | note      |",
        "| ------- | ----------: | --------- |",
        "| LAS     |         6.8 | x\\|y      |",
        "| with LM | 12.10 ± 0.3 | two lines |",
        "| third   |             |           |",
    ]


def test_a_column_with_a_word_stands_to_the_left():
    assert markdown(["WER"], [["6.8"], ["not run"]]).splitlines()[1] == "| ------- |"
    assert markdown(["WER"], []).splitlines() == ["| WER |", "| --- |"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"a row of 1 cells under a header of 2: \['x'\]"):
        markdown(["a", "b"], [["x"]])


def test_published_figures_stand_in_the_order_of_the_columns():
    columns = (Column("dev"), Column("test"))
    assert cells(columns, "1.9 4.4", "C2") == {"dev": Cell("1.9", "C2"), "test": Cell("4.4", "C2")}
    with pytest.raises(ValueError, match="shorter"):
        cells(columns, "1.9", "C2")
    with pytest.raises(ValueError, match="a figure in percent is needed"):
        cells(columns, "1.9 -", "C2")
