"""Table 7 of Gulati et al. 2020: the taps of Conformer L's convolution on LibriSpeech 960 h."""

from jaxasr.report import Column, Row, cells

COLUMNS = (Column("dev-other"), Column("test-other"))
ROWS = (
    Row("3 taps", "taps-3-*", cells(COLUMNS, "4.41 4.39", "C2")),
    Row("7 taps", "taps-7-*", cells(COLUMNS, "4.30 4.44", "C2")),
    Row("17 taps", "taps-17-*", cells(COLUMNS, "4.31 4.38", "C2")),
    Row("32 taps", "L-*", cells(COLUMNS, "4.30 4.29", "C2")),
    Row("65 taps", "taps-65-*", cells(COLUMNS, "4.47 4.46", "C2")),
)
