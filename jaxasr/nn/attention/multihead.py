"""Multi-head attention from any attention of one head; each head has its own parameters, state and share of the values."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.dot import DotAttention
from jaxasr.nn.attention.fixed import FixedVector
from jaxasr.nn.attention.interface import Attention, AttentionOutput, Memory, Randomness
from jaxasr.nn.attention.query_free import QueryFreeAttention
from jaxasr.nn.layers import Dense
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Draws, Training


class HeadKeys(NamedTuple):
    """The prepared memories of the heads; each leaf begins with [b, h]."""

    keys: Any
    focus: Any
    key_bh2: Array | None  # random key of each head in training


class MultiHead(Attention):
    """A multi-head attention: `heads` copies of `inner`, each with its own parameters and columns of the projected values.

    Training and decode form are those of `inner`. The draws of the heads count as one draw: their log probabilities and
    entropies are added, and its baseline is the mean of theirs.

    Source: Vaswani et al. 2017 (1706.03762), section 3.2.2; for speech, Chiu et al. 2018 (1712.01769), section 2.2.2.
    """

    inner: Attention  # of one head
    heads: int = field()
    width: int = field()  # of the values, all heads together

    def __post_init__(self):
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            raise ValueError(
                f"MultiHead has heads={self.heads} and width={self.width}; each must be at least 1 and the width a multiple "
                "of the heads, since each reads its own share of the columns"
            )
        if self.inner.heads != 1 or self.inner.marginalisation is not None:
            raise ValueError(
                f"MultiHead.inner is {type(self.inner).__name__} with {self.inner.heads} heads and "
                f"marginalisation={self.inner.marginalisation}; it needs one head, and no mixture of positions"
            )
        if isinstance(self.inner, (DotAttention, FixedVector, MultiHead, QueryFreeAttention)):
            raise ValueError(
                f"MultiHead.inner is {type(self.inner).__name__}, whose own values, count of tokens, or beginning of the "
                "decoder's state, would be lost; DotAttention has heads itself"
            )
        super().__post_init__()

    @property
    def samples(self) -> int:
        return self.inner.samples

    def setup(self):
        self.values = Dense(self.width)

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        def prepare(inner: Attention) -> HeadKeys:
            memory = inner.prepare(hidden_bsd, lengths_b, training)
            return HeadKeys(memory.keys, memory.focus, None if memory.training is None else memory.training.key_b2)

        valid_bs = valid_from_lengths(lengths_b, hidden_bsd.shape[1])
        return Memory(self._map_heads(prepare)(), self.values(hidden_bsd), valid_bs, self.randomness(training))

    def initial_state(self, memory: Memory) -> Any:
        def first(inner: Attention, keys: HeadKeys) -> Any:
            return inner.initial_state(_of_head(memory, keys))

        return self._map_heads(first)(memory.keys)

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> AttentionOutput:
        def step(inner: Attention, keys: HeadKeys, state: Any) -> tuple[Array, Any, Draws | None]:
            output = inner.step(query_bd, _of_head(memory, keys), state)
            return output.weights_bhs[:, 0], output.state, output.draw

        weights_bhs, state, draw = self._map_heads(step)(memory.keys, state)
        return AttentionOutput(weights_bhs, state, _combined_draw(draw))

    def _map_heads(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function` mapped over the heads; its arguments after the attention, and its results, begin with [b, h]."""
        vmapped = nn.vmap(
            function,
            variable_axes={"params": 0},
            split_rngs={"params": True, "draw": True, "dropout": True},
            in_axes=1,
            out_axes=1,
            axis_size=self.heads,
        )
        return lambda *trees: vmapped(self.inner, *trees)


def _of_head(memory: Memory, keys: HeadKeys) -> Memory:
    """Returns the memory of one head; `values_bse` stays that of all heads."""
    drawing = memory.training
    if drawing is not None and keys.key_bh2 is not None:
        drawing = Randomness(keys.key_bh2, drawing.step)
    return replace(memory, keys=keys.keys, focus=keys.focus, training=drawing)


def _combined_draw(draw: Draws | None) -> Draws | None:
    """Returns the draws of the heads, [b, h, 1], as one draw."""
    if draw is None:
        return None
    log_probs_bu, baselines_bu, entropies_bu = (
        jnp.sum(leaf, axis=1) for leaf in (draw.log_probs_bu, draw.baselines_bu, draw.entropies_bu)
    )
    return Draws(log_probs_bu, baselines_bu / draw.baselines_bu.shape[1], entropies_bu)
