"""Encoders on AN4, all else equal: 2,400 steps, no language model, CTC 0.3 in the search."""

from jaxasr.report import Column, Row

COLUMNS = (Column("test"), Column("dev"))
ROWS = (
    Row("bidirectional LSTM", runs="BLSTM-*", baseline=True),
    Row("bidirectional GRU", runs="BGRU-*"),
    Row("LSTM, one way", runs="LSTM-*"),
    Row("latency-controlled BLSTM: 0.48 s, 0.24 s ahead", runs="latency-controlled-*"),
    Row("VGG, BLSTM", runs="VGG-BLSTM-*"),
    Row("CRDNN", runs="CRDNN-*"),
    Row("time-depth separable convolutions", runs="TDS-*"),
    Row("Transformer", runs="Transformer-*"),
    Row("Conformer", runs="Conformer-*"),
)
