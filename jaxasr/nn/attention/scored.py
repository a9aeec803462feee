"""Attentions that score every position against the query: an energy, and an alignment function that turns it into weights.

`AdditiveAttention` depends on content alone (Bahdanau et al. 2015, 1409.0473). `LocationAttention` also depends on a
convolution of the previous weights (Chorowski et al. 2015, 1506.07503, equations 8 and 9).
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.alignment import AlignmentFn, Softmax
from jaxasr.nn.attention.interface import Attention, AttentionOutput, Marginalisation, Memory
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import additive_energy, location_features
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.ops.products import times, wide_einsum, widened
from jaxasr.records import Training


class ScoredState(NamedTuple):
    """The states of the energy and of the alignment function."""

    energy: Any
    focus: Any


class ScoredAttention(Attention, kw_only=True):
    """The base of scored attentions: a subclass computes `energies`, `focus` turns them into weights, values are unchanged.

    A subclass overrides `keys` and `energies`, and `location_state` if its energies depend on previous weights.
    """

    focus: AlignmentFn = Softmax()  # energies to weights

    @property
    def samples(self) -> int:
        return self.focus.samples

    @property
    def marginalisation(self) -> Marginalisation | None:
        return self.focus.marginalisation

    def prepare(
        self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Memory:
        valid_bs = valid_from_lengths(lengths_b, hidden_bsd.shape[1])
        focus = self.focus.prepare(hidden_bsd)
        return Memory(self.keys(hidden_bsd), hidden_bsd, valid_bs, self.randomness(training), focus)

    def initial_state(self, memory: Memory) -> ScoredState:
        return ScoredState(self.location_state(memory, None, None), self.focus.initial_state(memory))

    def step(self, query_bd: Float[Array, "b d"], memory: Memory, state: ScoredState) -> AttentionOutput:
        energy_bs = self.energies(query_bd, memory, state.energy)
        output = self.focus(energy_bs, query_bd, memory, state.focus)
        location_state = self.location_state(memory, state.energy, output.weights_bhs[:, 0])
        return replace(output, state=ScoredState(location_state, output.state))

    @property
    def is_location_aware(self) -> bool:
        """A flag: True if the energies depend on previous weights."""
        return type(self).location_state is not ScoredAttention.location_state

    def keys(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        """Returns the part of the encoder's output that the energies need, once an utterance."""
        raise TypeError(f"{type(self).__name__} is a ScoredAttention without keys()")

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, prev_state: Any) -> Float[Array, "b s"]:
        """Returns the score of each position for the query; `prev_state` is the last result of `location_state`."""
        raise TypeError(f"{type(self).__name__} is a ScoredAttention without energies()")

    def location_state(self, memory: Memory, prev_state: Any, weights_bs: Float[Array, "b s"] | None) -> Any:
        """Returns the part of past weights on which the next energies depend; `weights_bs` is None before the first step."""
        return ()


class AdditiveAttention(ScoredAttention):
    """An attention with energy v . tanh(W query + V key + b).

    With a "normed" vector v is g v / |v|, and g is initialised to 1 / sqrt(width). Monotonic alignments need it, because the
    scale of the energies matters to them (Raffel et al. 2017, 1704.00784, section 2.4).
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

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, prev_state: Any) -> Float[Array, "b s"]:
        return self._energy(query_bd, memory.keys)

    def _energy(self, query_bd: Array, keys_bsd: Array) -> Float[Array, "b s"]:
        v_m = widened(self.energy[:, 0])
        if self.vector == "normed":
            v_m = v_m * (self.gain / jnp.linalg.norm(v_m))
        return additive_energy(self.query(query_bd), keys_bsd, v_m.astype(keys_bsd.dtype))


class ProductAttention(ScoredAttention):
    """An attention with energy (W query) . (V key) over the root of their width: a scaled dot product that takes any focus.

    With softmax alone `DotAttention` computes the same and is faster. With `Monotonic` in `MultiHead` it is the energy of
    monotonic multihead attention.

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

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, prev_state: Any) -> Float[Array, "b s"]:
        return wide_einsum("bm,bsm->bs", times(self.query(query_bd), self.width**-0.5), memory.keys)


class LocationAttention(AdditiveAttention):
    """An attention with energy v . tanh(W query + V key + U f + b), where f is a convolution of the previous weights.

    Before the first step the previous weights are zero.
    """

    filters: int = 10
    kernel_size: int = 101  # encoder positions that a filter spans, odd

    def __post_init__(self):
        if min(self.filters, self.kernel_size) < 1 or self.kernel_size % 2 == 0:
            raise ValueError(
                f"LocationAttention has filters={self.filters} and kernel_size={self.kernel_size}; both must be positive, "
                "and kernel_size odd, so that a filter has a centre"
            )
        super().__post_init__()

    def setup(self):
        super().setup()
        self.location = Dense(self.width, use_bias=False)
        self.filter_bank = self.param("filters", nn.initializers.lecun_normal(), (self.kernel_size, self.filters))

    def energies(self, query_bd: Float[Array, "b d"], memory: Memory, prev_state: Any) -> Float[Array, "b s"]:
        return self._energy(query_bd, memory.keys + self.location(location_features(prev_state, self.filter_bank)))

    def location_state(
        self, memory: Memory, prev_state: Any, weights_bs: Float[Array, "b s"] | None
    ) -> Float[Array, "b s"]:
        return jnp.zeros(memory.valid_bs.shape, jnp.float32) if weights_bs is None else weights_bs


def _check_width(module: ScoredAttention, width: int) -> None:
    """Raises ValueError unless the width is at least 1."""
    if width < 1:
        raise ValueError(f"{type(module).__name__}.width is {width}; it must be 1 or more")
