"""Table 2 of Gulati et al. 2020: Conformer S, M and L on LibriSpeech 960 h (there with a transducer's decoder)."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (Column("test-clean"), Column("test-other"))
ROWS = (
    Row("Conformer S, 10.3 M", "S-*", {"test-clean": Cell("2.7", "C2"), "test-other": Cell("6.3", "C2")}),
    Row("Conformer M, 30.7 M", "M-*", {"test-clean": Cell("2.3", "C2"), "test-other": Cell("5.0", "C2")}),
    Row("Conformer L, 118.8 M", "L-*", {"test-clean": Cell("2.1", "C2"), "test-other": Cell("4.3", "C2")}),
    Row("Conformer S, with language model", (), {"test-clean": Cell("2.1", "C2"), "test-other": Cell("5.0", "C2")}),
    Row("Conformer M, with language model", (), {"test-clean": Cell("2.0", "C2"), "test-other": Cell("4.3", "C2")}),
    Row("Conformer L, with language model", (), {"test-clean": Cell("1.9", "C2"), "test-other": Cell("3.9", "C2")}),
    Row("ContextNet S", (), {"test-clean": Cell("2.9", "C2"), "test-other": Cell("7.0", "C2")}),
    Row("LAS-LSTM, 360 M", (), {"test-clean": Cell("2.6", "C2"), "test-other": Cell("6.0", "C2")}),
    Row("Transformer transducer, 139 M", (), {"test-clean": Cell("2.4", "C2"), "test-other": Cell("5.6", "C2")}),
)
