"""Attention that scores every position against the query: an energy, and a focus that makes weights of it.

`AdditiveAttention` is content only (Bahdanau et al. 2015, 1409.0473). `LocationAttention` also sees where it looked before,
through a convolution of the previous weights (Chorowski et al. 2015, 1506.07503, equations 8 and 9).
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.focus import Focus, Softmax
from jaxasr.nn.attention.interface import Attention, Memory, Mixing, Weighed
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import additive_energy, location_features
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import times, wide_einsum, widened
from jaxasr.records import Training


class ScoredState(NamedTuple):
    """What both halves carry on: that of the energy and that of the focus."""

    energy: Any
    focus: Any


class ScoredAttention(Attention, kw_only=True):
    """The half that is the same for all: values as they come, `energies` from a subclass, weights from the focus.

    A subclass overrides `keys` and `energies`, and `remembered` if its energies depend on where it looked before.
    """

    focus: Focus = Softmax()

    @property
    def samples(self) -> int:
        return self.focus.samples

    @property
    def mixing(self) -> Mixing | None:
        return self.focus.mixing

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        valid_bs = valid_from_lengths(lengths_b, hidden_bsd.shape[1])
        focus = self.focus.prepare(hidden_bsd)
        return Memory(self.keys(hidden_bsd), hidden_bsd, valid_bs, self.randomness(training), focus)

    def initial_state(self, memory: Memory) -> ScoredState:
        return ScoredState(self.remembered(memory, None, None), self.focus.initial_state(memory))

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: ScoredState) -> Weighed:
        energy_bs = self.energies(query_bd, memory, state.energy)
        weighed = self.focus(energy_bs, query_bd, memory, state.focus)
        remembered = self.remembered(memory, state.energy, weighed.weights_bhs[:, 0])
        return replace(weighed, state=ScoredState(remembered, weighed.state))

    @property
    def remembers(self) -> bool:
        """True: its energies depend on where it looked before."""
        return type(self).remembered is not ScoredAttention.remembered

    @property
    def lookback(self) -> int:
        if self.remembers:
            raise ValueError(
                f"the energies of {type(self).__name__} depend on where it looked in the whole utterance; a stream needs "
                "those of AdditiveAttention or ProductAttention"
            )
        return self.focus.lookback

    def stopped(self, state: ScoredState) -> Int[Array, " b"]:
        return self.focus.stopped(state.focus)

    def moved(self, state: ScoredState, by_b: Int[Array, " b"]) -> ScoredState:
        return state._replace(focus=self.focus.moved(state.focus, by_b))

    def keys(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        """What the energies need of the encoder's output, once an utterance."""
        raise TypeError(f"{type(self).__name__} is a ScoredAttention without keys()")

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, before: Any) -> Float[Array, "b s"]:
        """How well each position fits the query; `before` is what `remembered` gave last."""
        raise TypeError(f"{type(self).__name__} is a ScoredAttention without energies()")

    def remembered(self, memory: Memory, before: Any, weights_bs: Float[Array, "b s"] | None) -> Any:
        """What the next energies see of the past; `weights_bs` is None before the first step."""
        return ()


class AdditiveAttention(ScoredAttention):
    """Energy v . tanh(W query + V key + b).

    With a "normed" vector v is g v / |v|, g beginning at 1 / sqrt(width): what a monotonic focus wants, to which the scale of
    the energies matters (Raffel et al. 2017, 1704.00784, section 2.4).
    """

    width: int  # of the energy's hidden layer
    vector: Literal["free", "normed"] = "free"  # v

    def __post_init__(self):
        _check_width(self, self.width)
        super().__post_init__()

    def setup(self):
        self.query = Dense(self.width, use_bias=False)
        self.key = Dense(self.width)
        self.energy = self.param("energy", nn.initializers.lecun_normal(), (self.width, 1))
        if self.vector == "normed":
            self.gain = self.param("gain", nn.initializers.constant(self.width**-0.5), ())

    def keys(self, hidden_bsd: Float[Array, "b s d"]) -> Float[Array, "b s m"]:
        return self.key(hidden_bsd)

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, before: Any) -> Float[Array, "b s"]:
        return self._energy(query_bd, memory.keys)

    def _energy(self, query_bd: Array, keys_bsd: Array) -> Float[Array, "b s"]:
        v_m = widened(self.energy[:, 0])
        if self.vector == "normed":
            v_m = v_m * (self.gain / jnp.linalg.norm(v_m))
        return additive_energy(self.query(query_bd), keys_bsd, v_m.astype(keys_bsd.dtype))


class ProductAttention(ScoredAttention):
    """Energy (W query) . (V key) over the root of their width: a scaled dot product that takes any focus.

    With softmax alone `DotAttention` is the same, and faster. With `Monotonic` in `MultiHead` it is the energy of monotonic
    multihead attention.

    Source: Vaswani et al. 2017 (1706.03762), section 3.2.1; Ma et al. 2020 (1909.12406), equation 13.
    """

    width: int  # of query and key

    def __post_init__(self):
        _check_width(self, self.width)
        super().__post_init__()

    def setup(self):
        self.query = Dense(self.width)
        self.key = Dense(self.width)

    def keys(self, hidden_bsd: Float[Array, "b s d"]) -> Float[Array, "b s m"]:
        return self.key(hidden_bsd)

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, before: Any) -> Float[Array, "b s"]:
        return wide_einsum("bm,bsm->bs", times(self.query(query_bd), self.width**-0.5), memory.keys)


class LocationAttention(AdditiveAttention):
    """Energy v . tanh(W query + V key + U f + b), where f is a convolution of the previous weights.

    Before the first step the previous weights are zero.
    """

    filters: int = 10
    taps: int = 101  # encoder positions that a filter spans, odd

    def __post_init__(self):
        if min(self.filters, self.taps) < 1 or self.taps % 2 == 0:
            raise ValueError(
                f"LocationAttention has filters={self.filters} and taps={self.taps}; both must be positive, and taps odd, so "
                "that a filter has a centre"
            )
        super().__post_init__()

    def setup(self):
        super().setup()
        self.location = Dense(self.width, use_bias=False)
        self.filter_bank = self.param("filters", nn.initializers.lecun_normal(), (self.taps, self.filters))

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, before: Any) -> Float[Array, "b s"]:
        return self._energy(query_bd, memory.keys + self.location(location_features(before, self.filter_bank)))

    def remembered(self, memory: Memory, before: Any, weights_bs: Float[Array, "b s"] | None) -> Float[Array, "b s"]:
        return jnp.zeros(memory.valid_bs.shape, jnp.float32) if weights_bs is None else weights_bs


def _check_width(module: ScoredAttention, width: int) -> None:
    """Raises ValueError unless there is a width."""
    if width < 1:
        raise ValueError(f"{type(module).__name__}.width is {width}; it must be 1 or more")
