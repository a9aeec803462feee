"""Table 2 of Park et al. 2019: sizes, schedules and policies on LibriSpeech 960 h, without a language model."""

from jaxasr.report import Cell, Column, Row, cells

COLUMNS = (Column("test-clean"), Column("test-other"))
ROWS = (
    Row("LAS-4-1024, B", "4x1024-B-none-*", cells(COLUMNS, "4.7 14.3", "M")),
    Row("LAS-4-1024, B, LB", "LB-full-*", cells(COLUMNS, "3.7 10.0", "C2")),
    Row("LAS-4-1024, B, LD", "4x1024-B-LD-*", {"test-clean": Cell("3.6", "M"), "test-other": Cell("9.2", "C2")}),
    Row("LAS-4-1024, D", "4x1024-D-none-*", cells(COLUMNS, "4.4 13.3", "M")),
    Row("LAS-4-1024, D, LB", "4x1024-D-LB-*", cells(COLUMNS, "3.4 9.2", "M")),
    Row("LAS-4-1024, D, LD", "4x1024-D-LD-*", cells(COLUMNS, "3.4 8.3", "M")),
    Row("LAS-6-1024, D", "6x1024-D-none-*", cells(COLUMNS, "4.5 13.1", "M")),
    Row("LAS-6-1024, D, LB", "6x1024-D-LB-*", cells(COLUMNS, "3.4 8.6", "M")),
    Row("LAS-6-1024, D, LD", "6x1024-D-LD-*", cells(COLUMNS, "3.2 8.0", "M")),
    Row("LAS-6-1280, D", "6x1280-D-none-*", cells(COLUMNS, "4.3 12.9", "M")),
    Row("LAS-6-1280, D, LB", "6x1280-D-LB-*", cells(COLUMNS, "3.4 8.7", "M")),
    Row("LAS-6-1280, D, LD", "6x1280-D-LD-*", cells(COLUMNS, "3.2 7.7", "M")),
)
