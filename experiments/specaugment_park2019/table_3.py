"""Table 3 of Park et al. 2019: LAS-6-1280 on LibriSpeech 960 h, schedule L, policy LD."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("test-clean"), Column("test-other"))
ROWS = (
    Row("LAS", "none-*", {"test-clean": Cell("4.1", "C2"), "test-other": Cell("12.5", "C2")}),
    Row("LAS + SpecAugment", "LD-*", {"test-clean": Cell("2.8", "C2"), "test-other": Cell("6.8", "C")}),
    Row("LAS, with language model", (), {"test-clean": Cell("3.2", "C2"), "test-other": Cell("9.8", "C2")}),
    Row(
        "LAS + SpecAugment, with language model", (), {"test-clean": Cell("2.5", "C2"), "test-other": Cell("5.8", "C")}
    ),
)
