"""Hard monotonic alignments, for streaming models: they read from left to right, stop once a token, and train by expectation.

Each energy alone decides whether to stop at its position, so the scale of the energies matters. Use those of
`AdditiveAttention(..., vector="normed")`, or a scaled dot product. For several heads with a stop each (monotonic multihead
attention, Ma et al. 2020, 1909.12406), put `MultiHead` around an attention with this focus.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.alignment import AlignmentFn, Softmax
from jaxasr.nn.attention.interface import AttentionOutput, Memory, Randomness
from jaxasr.nn.attention.scored import ScoredAttention
from jaxasr.ops.attention.monotonic import StopPosition, expected_alignment, expected_chunk, hard_chunk, hard_stop


class MonotonicState(NamedTuple):
    """The state of the training form: the number of the token, and the probabilities of the last stop."""

    position_b: Int[Array, " b"]
    stops_bs: Float[Array, "b s"]


class Monotonic(AlignmentFn):
    """A hard monotonic alignment: after the last stop it stops at each position with probability sigmoid(energy + r + noise).

    Training form: the probability of a stop at each position over all paths. Gaussian noise on the energies trains them to be
    far from 0. Decode form: the first position with energy + r > 0 has all the weight. If there is none, all weights are zero
    and the next token starts from the same position. The decode form can attend to a stream (`StreamableAlignment`).

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

    def initial_state(self, memory: Memory) -> MonotonicState | Int[Array, " b"]:
        zero_b = jnp.zeros(memory.valid_bs.shape[0], jnp.int32)
        if memory.training is None:
            return zero_b
        return MonotonicState(zero_b, jnp.zeros(memory.valid_bs.shape, jnp.float32).at[:, 0].set(1.0))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> AttentionOutput:
        if memory.training is None:
            stop = self.stop(energy_bs, memory, state)
            at_bs = stop.position_b[:, None] == jnp.arange(energy_bs.shape[1])[None]
            return AttentionOutput((at_bs & stop.found_b[:, None]).astype(jnp.float32)[:, None], stop.position_b)
        state = self.expect(energy_bs, memory, memory.training, state)
        return AttentionOutput(state.stops_bs[:, None], state)

    @property
    def lookback(self) -> int:
        """The positions before the last stop that may be read: none."""
        return 0

    def stop_position(self, state: Int[Array, " b"]) -> Int[Array, " b"]:
        """Returns the position of the last stop."""
        return state

    def shift(self, state: Int[Array, " b"], by_b: Int[Array, " b"]) -> Int[Array, " b"]:
        """Returns the state for a memory that begins `by_b` positions later."""
        return jnp.maximum(state - by_b, 0)

    def expect(
        self, energy_bs: Float[Array, "b s"], memory: Memory, training: Randomness, state: MonotonicState
    ) -> MonotonicState:
        """Returns the new state after one step in training form, with the probabilities of its stop."""
        energy_bs = self._energies(energy_bs)
        if self.noise:
            energy_bs = energy_bs + self.noise * training.normal(state.position_b, (energy_bs.shape[1],))
        stops_bs = expected_alignment(energy_bs, state.stops_bs, memory.valid_bs)
        return MonotonicState(state.position_b + 1, stops_bs)

    def stop(self, energy_bs: Float[Array, "b s"], memory: Memory, state: Int[Array, " b"]) -> StopPosition:
        """Returns the stop of one step in decode form."""
        return hard_stop(self._energies(energy_bs), state, memory.valid_bs)

    def _energies(self, energy_bs: Array) -> Float[Array, "b s"]:
        return energy_bs.astype(jnp.float32) + self.offset


class ChunkState(NamedTuple):
    """The states of the stops and of the energies of the chunks."""

    stop: Any
    energy: Any


class MoChA(AlignmentFn):
    """A monotonic chunkwise attention (MoChA): a softmax over the `chunk` positions that end at the stop.

    A second attention, whose focus is not used, computes the chunk's energies. With `chunk` 0 the chunk begins at the first
    position (MILk). Training form: the expected weights over all paths of `stops`. Decode form: the softmax of the one chunk.
    With a limited chunk the decode form can attend to a stream (`StreamableAlignment`).

    Source: Chiu and Raffel 2018 (1712.05382), section 2.4; without a limit, Arivazhagan et al. 2019 (1906.05218).
    """

    energies: ScoredAttention
    chunk: int  # positions, the stop's own included; 0: all before it
    stops: Monotonic = Monotonic()

    def __post_init__(self):
        if self.chunk < 0:
            raise ValueError(f"MoChA.chunk is {self.chunk}; it must be positions, or 0 for all before the stop")
        focus = self.energies.focus
        if not isinstance(focus, Softmax) or not focus.plain:
            raise ValueError(
                f"MoChA.energies.focus is a {type(focus).__name__} that changes weights, and would not be used: a chunk "
                "is read under the softmax of its energies; leave it out"
            )
        super().__post_init__()

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        return self.energies.keys(hidden_bsd)

    def initial_state(self, memory: Memory) -> ChunkState:
        prev_state = self.energies.location_state(_own(memory), None, None)
        return ChunkState(self.stops.initial_state(memory), prev_state)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: ChunkState
    ) -> AttentionOutput:
        chunk_bs = self.energies.energies(query_bd, _own(memory), state.energy)
        if memory.training is None:
            stop = self.stops.stop(energy_bs, memory, state.stop)
            weights_bs = hard_chunk(stop, chunk_bs, memory.valid_bs, width=self.chunk)
            new_stop = stop.position_b
        else:
            new_stop = self.stops.expect(energy_bs, memory, memory.training, state.stop)
            weights_bs = expected_chunk(new_stop.stops_bs, chunk_bs, memory.valid_bs, width=self.chunk)
        location_state = self.energies.location_state(_own(memory), state.energy, weights_bs)
        return AttentionOutput(weights_bs[:, None], ChunkState(new_stop, location_state))

    @property
    def lookback(self) -> int:
        """The positions of a chunk before its stop.

        Raises:
            ValueError: the chunk has no limit, or its energies are location-aware.
        """
        if self.chunk == 0:
            raise ValueError(
                "MoChA.chunk is 0, so it may look back without limit; a stream needs a chunk of 1 or more positions"
            )
        if self.energies.is_location_aware:
            raise ValueError(
                f"MoChA.energies are those of {type(self.energies).__name__}, which depend on where it looked in the "
                "whole utterance; a stream needs AdditiveAttention or ProductAttention"
            )
        return self.chunk - 1

    def stop_position(self, state: ChunkState) -> Int[Array, " b"]:
        """Returns the position of the last stop."""
        return self.stops.stop_position(state.stop)

    def shift(self, state: ChunkState, by_b: Int[Array, " b"]) -> ChunkState:
        """Returns the state for a memory that begins `by_b` positions later."""
        return state._replace(stop=self.stops.shift(state.stop, by_b))


def _own(memory: Memory) -> Memory:
    """Returns the memory with the keys of the chunk's energies."""
    return replace(memory, keys=memory.focus, focus=())
