"""AN4: the CRDNN, and hard attentions that begin with its parameters. CTC has 0.3 of the search; no language model."""

from jaxasr.report import Column, Row

COLUMNS = (Column("test"), Column("dev"), Column("test", metric="cer"))
ROWS = (
    Row("CRDNN, location-aware attention (crdnn.py)", runs="an4-crdnn-*", baseline=True),
    Row("the same, 800 steps more (hard.py, soft)", runs="an4-soft-*"),
    Row("latent (Shankar 2018), warm", runs="an4-latent-*"),
    Row("MoChA (Chiu 2018), warm", runs="an4-MoChA-*"),
    Row("hard monotonic (Raffel 2017), warm", runs="an4-monotonic-*"),
    Row("sampled by REINFORCE (Xu 2015), warm", runs="an4-sampled-*"),
    Row("Gumbel-softmax (Jang 2017), warm", runs="an4-Gumbel-*"),
)
