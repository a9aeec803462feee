"""Table 4 of Gulati et al. 2020: attention and convolution of Conformer L on LibriSpeech 960 h."""

from jaxasr.report import Column, Row, cells

COLUMNS = (Column("dev-clean"), Column("dev-other"))
ROWS = (
    Row("attention, then convolution", "L-*", cells(COLUMNS, "1.9 4.4", "C2")),
    Row("convolution, then attention", "convolution-first-*", cells(COLUMNS, "1.9 4.5", "C2")),
    Row("side by side", "side-by-side-*", cells(COLUMNS, "2.0 4.9", "C2")),
    Row("lightweight convolution", "lightweight-*", cells(COLUMNS, "2.0 4.8", "C2")),
)
