"""Table 6 of Park et al. 2019: what each part of SpecAugment does for LAS-4-1024 on LibriSpeech 960 h."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("test-clean"), Column("test-other"))
ROWS = (
    Row("full (LB)", "LB-full-*", {"test-clean": Cell("3.7", "C2"), "test-other": Cell("10.0", "C2")}),
    Row("no time warp", "LB-no-warp-*", {"test-clean": Cell("3.8", "C2"), "test-other": Cell("10.1", "C2")}),
    Row("no frequency mask", "LB-no-freq-*", {"test-clean": Cell("4.0", "C2"), "test-other": Cell("11.0", "C2")}),
    Row("no time mask", "LB-no-time-*", {"test-clean": Cell("4.1", "C2"), "test-other": Cell("10.9", "C2")}),
)
