"""Recurrent language models."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.layers import Dropout, Embedding, check_rates
from jaxasr.nn.lms.interface import Lm, check_sizes
from jaxasr.nn.lms.readout import Readout
from jaxasr.nn.recurrent import LstmGates
from jaxasr.ops.products import wide_einsum
from jaxasr.ops.recurrent.lstm import Carry, lstm_cell, lstm_directions, zero_carry
from jaxasr.records import Training
from jaxasr.shapes import Lengths, Size


class LstmLm(Lm):
    """An LSTM language model over the tokens so far.

    Dropout is applied to the embeddings, between layers and before the readout, not to the recurrent state. Recurrent dropout
    is one mask a text and layer on the input of the recurrent weights.

    Sources: Mikolov et al. 2010; Zaremba et al. 2014 (1409.2329), section 3.1, for the places of dropout; Gal and Ghahramani
    2016 (1512.05287), section 4, for recurrent dropout; Press and Wolf 2017 (1608.05859), section 3, for tied weights.
    """

    depth: int
    width: int
    embedding: int | None = None  # width of a token's embedding; None: the layers'
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    tied: bool = False  # the readout's weights are the embeddings

    def __post_init__(self):
        check_sizes(self, depth=self.depth, width=self.width, embedding=self._embedding)
        check_rates(self, "dropout", "recurrent_dropout")
        if self.tied and self._embedding != self.width:
            raise ValueError(
                f"LstmLm is tied with embedding {self.embedding} and width {self.width}; tied weights need the same width: "
                "leave embedding out, or tied=False"
            )
        super().__post_init__()

    @property
    def _embedding(self) -> int:
        return self.width if self.embedding is None else self.embedding

    def setup(self):
        self.embed = Embedding(self.vocab, self._embedding, embedding_init=nn.initializers.normal(0.1))
        self.gates = [LstmGates(self.width) for _ in range(self.depth)]
        self.dropouts = [Dropout(self.dropout) for _ in range(self.depth + 1)]
        self.recurrent_dropouts = [Dropout(self.recurrent_dropout) for _ in range(self.depth)]
        self.readout = Readout(self.vocab)

    def hidden(
        self, inputs_bk: Int[Array, "b k"], lengths_b: Lengths, training: Training | None
    ) -> Float[Array, "b k d"]:
        """Returns the input of the readout after each of the inputs, as in `Lm`."""
        x_bkd = self.dropouts[0](self.embed(inputs_bk), training)
        for layer, (gates, recurrent_dropout) in enumerate(zip(self.gates, self.recurrent_dropouts, strict=True)):
            gates_bkm, recurrent_dm = gates(x_bkd)
            scales = None
            if training is not None and self.recurrent_dropout:
                scales = (recurrent_dropout(jnp.ones((inputs_bk.shape[0], self.width), x_bkd.dtype), training),)
            (x_bkd,) = lstm_directions((gates_bkm,), (recurrent_dm,), lengths_b, reverse=(False,), scales=scales)
            x_bkd = self.dropouts[layer + 1](x_bkd, training)
        return x_bkd

    def start(self, examples: Size) -> tuple[Carry, ...]:
        """Returns the state before the first token: state and cell of each layer."""
        return tuple(zero_carry(examples, self.width, jnp.dtype(self.compute)) for _ in range(self.depth))

    def advance(
        self, state: tuple[Carry, ...], tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b d"], tuple[Carry, ...]]:
        """Returns the input of the readout after `tokens_b`, and the new state, as in `Lm`."""
        x_bd = self.embed(tokens_b)
        carries: list[Carry] = []
        for gates, carry in zip(self.gates, state, strict=True):
            gates_bm, recurrent_dm = gates(x_bd)
            carries.append(lstm_cell(gates_bm + wide_einsum("bd,dm->bm", carry.h_bd, recurrent_dm), carry))
            x_bd = carries[-1].h_bd
        return x_bd, tuple(carries)

    def read_out(self, hidden: Float[Array, "... d"]) -> Float[Array, "... v"]:
        """Returns logits."""
        return self.readout(hidden, self.embed.embedding if self.tied else None)
