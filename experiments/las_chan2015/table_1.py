"""Table 1 of Chan et al. 2015: Listen, Attend and Spell, with sampling and a language model."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (
    Column("clean", split="test-clean", other_data="Google voice search, clean"),
    Column("noisy", split="test-other", other_data="Google voice search, noisy"),
)
ROWS = (
    Row("CLDNN-HMM", (), {"clean": Cell("8.0", "C"), "noisy": Cell("8.9", "C2")}),
    Row("LAS", "las-*", {"clean": Cell("16.2", "C2"), "noisy": Cell("19.0", "C2")}),
    Row("LAS + LM rescoring", (), {"clean": Cell("12.6", "C2"), "noisy": Cell("14.7", "C2")}),
    Row("LAS + sampling", "sampling-*", {"clean": Cell("14.1", "C"), "noisy": Cell("16.5", "C2")}),
    Row("LAS + sampling + LM rescoring", (), {"clean": Cell("10.3", "C"), "noisy": Cell("12.0", "C2")}),
)
