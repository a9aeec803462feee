"""Attention on AN4, all else equal: 2,400 steps, no language model, no CTC in the search."""

from jaxasr.report import Column, Row

COLUMNS = (Column("test"), Column("dev"))
ROWS = (
    Row("location-aware (Chorowski 2015)", runs="location-aware-*", baseline=True),
    Row("additive (Bahdanau 2015)", runs="additive-*"),
    Row("dot (Luong 2015)", runs="dot-*"),
    Row("coverage (Tu 2016)", runs="coverage-*"),
    Row("mixture of Gaussians (Graves 2013)", runs="Gaussians-*"),
    Row("hard monotonic, warm (Raffel 2017)", runs="monotonic-*"),
    Row("MoChA, warm (Chiu 2018)", runs="MoChA-*"),
    Row("sampled by REINFORCE, warm (Xu 2015)", runs="sampled-*"),
    Row("none: a fixed vector (Sutskever 2014)", runs="none-*"),
)
