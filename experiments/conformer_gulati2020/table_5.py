"""Table 5 of Gulati et al. 2020: the feed-forward layers of Conformer L on LibriSpeech 960 h."""

from jaxasr.report import Column, Row, cells

COLUMNS = (Column("dev-clean"), Column("dev-other"), Column("test-clean"), Column("test-other"))
ROWS = (
    Row("two, half steps", "L-*", cells(COLUMNS, "1.9 4.4 2.1 4.3", "C2")),
    Row("one", "single-feed-*", cells(COLUMNS, "1.9 4.5 2.1 4.5", "C2")),
    Row("two, full steps", "full-steps-*", cells(COLUMNS, "1.9 4.5 2.1 4.5", "C2")),
)
