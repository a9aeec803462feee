"""Table 3 of Gulati et al. 2020: Conformer L on LibriSpeech 960 h, taken apart: each row has one thing less."""

from jaxasr.report import Column, Row, cells

COLUMNS = (Column("dev-clean"), Column("dev-other"), Column("test-clean"), Column("test-other"))
ROWS = (
    Row("Conformer L", "L-*", cells(COLUMNS, "1.9 4.4 2.1 4.3", "C2")),
    Row("ReLU for swish", "relu-*", cells(COLUMNS, "1.9 4.4 2.0 4.5", "C2")),
    Row("and no convolution", "no-convolution-*", cells(COLUMNS, "2.1 4.8 2.1 4.9", "C2")),
    Row("and one feed-forward layer", "one-feed-*", cells(COLUMNS, "2.1 5.1 2.1 5.0", "C2")),
    Row("and no relative positions", "no-distances-*", cells(COLUMNS, "2.3 5.8 2.4 5.6", "C2")),
)
