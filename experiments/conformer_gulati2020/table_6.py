"""Table 6 of Gulati et al. 2020: the heads of Conformer L on LibriSpeech 960 h."""

from jaxasr.report import Column, Row, cells

COLUMNS = (Column("dev-other"), Column("test-other"))
ROWS = (
    Row("4 heads", "heads-4-*", cells(COLUMNS, "4.6 4.5", "C2")),
    Row("8 heads", "L-*", cells(COLUMNS, "4.4 4.3", "C2")),
    Row("16 heads", "heads-16-*", cells(COLUMNS, "4.3 4.4", "C2")),
    Row("32 heads", "heads-32-*", cells(COLUMNS, "4.4 4.5", "C2")),
)
