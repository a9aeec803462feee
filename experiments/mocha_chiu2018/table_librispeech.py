"""neural_sp's README: streaming and offline attention on LibriSpeech 960 h (there with a language model, weight 0.5)."""

from jaxasr.report import Cell, Column, Row

COLUMNS = (
    Column("test-clean", other_data="the same split, with a language model"),
    Column("test-other", other_data="the same split, with a language model"),
)
ROWS = (
    Row("UniLSTM, MoChA", "mocha-*", {"test-clean": Cell("4.2", "C"), "test-other": Cell("11.2", "C")}),
    Row("UniLSTM, MoChA, soft at first", "warm-*", {}),
    Row("UniLSTM, hard monotonic", "monotonic-*", {}),
    Row("UniLSTM, soft attention", "soft-*", {}),
    Row("UniLSTM, transducer", (), {"test-clean": Cell("4.0", "C"), "test-other": Cell("11.6", "C")}),
    Row("LC-BLSTM, MoChA", (), {"test-clean": Cell("3.5", "C"), "test-other": Cell("9.1", "C")}),
    Row("BLSTM, soft attention", (), {"test-clean": Cell("2.6", "C"), "test-other": Cell("7.5", "C")}),
)
