"""Hard monotonic focus: reading goes from left to right and stops once a token. Trained by its expectation.

The energies decide whether to stop at a position, each on its own, so their scale matters: take those of
`AdditiveAttention(..., vector="normed")`, or a scaled dot product. Several heads, each with a stop of its own (monotonic
multihead attention, Ma et al. 2020, 1909.12406), are `MultiHead` around an attention with this focus.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.focus import Focus, Softmax
from jaxasr.nn.attention.interface import Memory, Randomness, Weighed
from jaxasr.nn.attention.scored import ScoredAttention
from jaxasr.ops.attention.monotonic import Stop, expected_alignment, expected_chunk, hard_chunk, hard_stop


class Expected(NamedTuple):
    """What the training form carries: the number of the token, and the probabilities of the last stop."""

    position_b: Int[Array, " b"]
    stops_bs: Float[Array, "b s"]


class Monotonic(Focus):
    """Reads on from where it last stopped, and stops at each position with probability sigmoid(energy + r + noise).

    Training form: the probability of stopping at each position over all paths, with Gaussian noise on the energies so that
    they learn to be sure. Decode form: the first position with energy + r > 0 has all the weight; if there is none, nothing
    is read, and the next token starts from the same position.

    Source: Raffel et al. 2017 (1704.00784), sections 2.2 to 2.4; r = -4 is neural_sp's for speech.
    """

    noise: float = 1.0  # its standard deviation
    bias: float = -4.0  # r at the beginning, learned

    def __post_init__(self):
        if self.noise < 0:
            raise ValueError(f"Monotonic.noise is {self.noise}; it is a standard deviation and must be 0 or more")
        super().__post_init__()

    def setup(self):
        self.offset = self.param("offset", nn.initializers.constant(self.bias), ())

    def initial_state(self, memory: Memory) -> Expected | Int[Array, " b"]:
        zero_b = jnp.zeros(memory.valid_bs.shape[0], jnp.int32)
        if memory.training is None:
            return zero_b
        return Expected(zero_b, jnp.zeros(memory.valid_bs.shape, jnp.float32).at[:, 0].set(1.0))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> Weighed:
        if memory.training is None:
            stop = self.stop(energy_bs, memory, state)
            at_bs = stop.position_b[:, None] == jnp.arange(energy_bs.shape[1])[None]
            return Weighed((at_bs & stop.found_b[:, None]).astype(jnp.float32)[:, None], stop.position_b)
        state = self.expect(energy_bs, memory, memory.training, state)
        return Weighed(state.stops_bs[:, None], state)

    @property
    def lookback(self) -> int:
        return 0

    def stopped(self, state: Int[Array, " b"]) -> Int[Array, " b"]:
        return state

    def moved(self, state: Int[Array, " b"], by_b: Int[Array, " b"]) -> Int[Array, " b"]:
        return jnp.maximum(state - by_b, 0)

    def expect(self, energy_bs: Float[Array, "b s"], memory: Memory, training: Randomness, state: Expected) -> Expected:
        """The training form of one step: the new state says where it stopped."""
        energy_bs = self._energies(energy_bs)
        if self.noise:
            energy_bs = energy_bs + self.noise * training.normal(state.position_b, (energy_bs.shape[1],))
        stops_bs = expected_alignment(energy_bs, state.stops_bs, memory.valid_bs)
        return Expected(state.position_b + 1, stops_bs)

    def stop(self, energy_bs: Float[Array, "b s"], memory: Memory, state: Int[Array, " b"]) -> Stop:
        """The decode form of one step."""
        return hard_stop(self._energies(energy_bs), state, memory.valid_bs)

    def _energies(self, energy_bs: Array) -> Float[Array, "b s"]:
        return energy_bs.astype(jnp.float32) + self.offset


class ChunkState(NamedTuple):
    """What the stops and the energies of the chunks carry on."""

    stop: Any
    energy: Any


class Chunkwise(Focus):
    """Monotonic chunkwise attention (MoChA): a softmax over the `chunk` positions that end where reading stopped.

    The chunk's energies are those of an attention of its own, without a focus. With `chunk` 0 it looks back without
    limit (MILk). Training form: the expected weights over all paths of `stops`. Decode form: the softmax of the one chunk.

    Source: Chiu and Raffel 2018 (1712.05382), section 2.4; without a limit, Arivazhagan et al. 2019 (1906.05218).
    """

    energies: ScoredAttention
    chunk: int  # positions, the stop's own included; 0: all before it
    stops: Monotonic = Monotonic()

    def __post_init__(self):
        if self.chunk < 0:
            raise ValueError(f"Chunkwise.chunk is {self.chunk}; it must be positions, or 0 for all before the stop")
        focus = self.energies.focus
        if not isinstance(focus, Softmax) or not focus.plain:
            raise ValueError(
                f"Chunkwise.energies.focus is a {type(focus).__name__} that changes weights, and would not be used: a chunk "
                "is read under the softmax of its energies; leave it out"
            )
        super().__post_init__()

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        return self.energies.keys(hidden_bsd)

    def initial_state(self, memory: Memory) -> ChunkState:
        before = self.energies.remembered(_own(memory), None, None)
        return ChunkState(self.stops.initial_state(memory), before)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: ChunkState
    ) -> Weighed:
        chunk_bs = self.energies.energies(query_bd, _own(memory), state.energy)
        if memory.training is None:
            stop = self.stops.stop(energy_bs, memory, state.stop)
            weights_bs, carried = hard_chunk(stop, chunk_bs, memory.valid_bs, width=self.chunk), stop.position_b
        else:
            carried = self.stops.expect(energy_bs, memory, memory.training, state.stop)
            weights_bs = expected_chunk(carried.stops_bs, chunk_bs, memory.valid_bs, width=self.chunk)
        remembered = self.energies.remembered(_own(memory), state.energy, weights_bs)
        return Weighed(weights_bs[:, None], ChunkState(carried, remembered))

    @property
    def lookback(self) -> int:
        if self.chunk == 0:
            raise ValueError(
                "Chunkwise.chunk is 0, so it may look back without limit; a stream needs a chunk of 1 or more positions"
            )
        if self.energies.remembers:
            raise ValueError(
                f"Chunkwise.energies are those of {type(self.energies).__name__}, which depend on where it looked in the "
                "whole utterance; a stream needs AdditiveAttention or ProductAttention"
            )
        return self.chunk - 1

    def stopped(self, state: ChunkState) -> Int[Array, " b"]:
        return self.stops.stopped(state.stop)

    def moved(self, state: ChunkState, by_b: Int[Array, " b"]) -> ChunkState:
        return state._replace(stop=self.stops.moved(state.stop, by_b))


def _own(memory: Memory) -> Memory:
    """The memory as the chunk's energies see it."""
    return replace(memory, keys=memory.focus, focus=())
