"""Several heads of an attention, each with parameters, a state and a share of the values of its own."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.dot import DotAttention
from jaxasr.nn.attention.fixed import NoAttention
from jaxasr.nn.attention.interface import Attention, Memory, Randomness, Weighed
from jaxasr.nn.layers import Dense
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Draws, Training


class HeadKeys(NamedTuple):
    """What the heads prepared; each leaf begins with [b, h]."""

    keys: Any
    focus: Any
    key_bh2: Array | None  # what each draws from in training


class MultiHead(Attention):
    """`heads` copies of `inner` with parameters of their own; each reads its columns of the values, projected to `width`.

    Its forms are those of `inner`. What several heads drew counts as one draw: their log probabilities and entropies are
    added, and the baseline is the mean of theirs.

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
        if self.inner.heads != 1 or self.inner.mixing is not None:
            raise ValueError(
                f"MultiHead.inner is {type(self.inner).__name__} with {self.inner.heads} heads and "
                f"mixing={self.inner.mixing}; it needs one head, and no mixture of positions"
            )
        if isinstance(self.inner, (DotAttention, NoAttention, MultiHead)):
            raise ValueError(
                f"MultiHead.inner is {type(self.inner).__name__}, whose own values, or beginning of the decoder's state, "
                "would be lost; DotAttention has heads itself"
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
        return Memory(self._each(prepare)(), self.values(hidden_bsd), valid_bs, self.randomness(training))

    def initial_state(self, memory: Memory) -> Any:
        def first(inner: Attention, keys: HeadKeys) -> Any:
            return inner.initial_state(_of_head(memory, keys))

        return self._each(first)(memory.keys)

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Weighed:
        def weigh(inner: Attention, keys: HeadKeys, state: Any) -> tuple[Array, Any, Draws | None]:
            weighed = inner.weigh(query_bd, _of_head(memory, keys), state)
            return weighed.weights_bhs[:, 0], weighed.state, weighed.draw

        weights_bhs, state, draw = self._each(weigh)(memory.keys, state)
        return Weighed(weights_bhs, state, _together(draw))

    def _each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of the inner attention of each head, and of trees; what it is given and gives begins with [b, h]."""
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
    """The memory as one head sees it; the values are read by who holds all heads."""
    drawing = memory.training
    if drawing is not None and keys.key_bh2 is not None:
        drawing = Randomness(keys.key_bh2, drawing.step)
    return replace(memory, keys=keys.keys, focus=keys.focus, training=drawing)


def _together(draw: Draws | None) -> Draws | None:
    """The draws of the heads [b, h, 1] as one."""
    if draw is None:
        return None
    log_probs_bu, baselines_bu, entropies_bu = (
        jnp.sum(leaf, axis=1) for leaf in (draw.log_probs_bu, draw.baselines_bu, draw.entropies_bu)
    )
    return Draws(log_probs_bu, baselines_bu / draw.baselines_bu.shape[1], entropies_bu)
