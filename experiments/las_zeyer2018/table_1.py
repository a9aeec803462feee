"""Zeyer et al. 2018 on LibriSpeech 960 h: grown layer by layer, and with an LSTM language model."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("dev-clean"), Column("dev-other"), Column("test-clean"), Column("test-other"))
ROWS = (
    Row(
        "grown",
        "grown-*",
        {
            "dev-clean": Cell("4.87", "M"),
            "dev-other": Cell("14.37", "C"),
            "test-clean": Cell("4.87", "M"),
            "test-other": Cell("15.39", "M"),
        },
    ),
    Row("six layers at once", "at-once-*", {}),
    Row(
        "grown, with language model",
        (),
        {
            "dev-clean": Cell("3.54", "C"),
            "dev-other": Cell("11.52", "M"),
            "test-clean": Cell("3.82", "C"),
            "test-other": Cell("12.76", "C"),
        },
    ),
)
