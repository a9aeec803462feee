"""Chiu and Raffel 2018: online and offline attention on WSJ eval92, which is licensed; published figures only."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("eval92", other_data="WSJ eval92; no run of ours, the corpus is licensed"),)
ROWS = (
    Row("MoChA, chunk of 2, online (best)", (), {"eval92": Cell("13.9", "C")}),
    Row("soft attention, offline (best)", (), {"eval92": Cell("14.2", "M")}),
    Row("hard monotonic (Raffel et al. 2017)", (), {"eval92": Cell("17.4", "M")}),
    Row("Chan and Jaitly 2016, online", (), {"eval92": Cell("33.0", "C")}),
)
