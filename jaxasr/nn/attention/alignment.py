"""Alignment functions, for authors of attentions: they turn the energies of all positions into attention weights.

`ScoredAttention` (scored.py) computes the energies and takes any alignment function as its `focus`.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import AttentionOutput, Marginalisation, Memory
from jaxasr.nn.module import Module
from jaxasr.nn.schedule import ScalarOrSchedule, is_constant, value_at
from jaxasr.ops.attention.energies import among_top, masked_softmax


class AlignmentFn(Module):
    """The interface of alignment functions.

    State and randomness are as in `Attention`. Energies at padding are arbitrary finite numbers.
    """

    samples = 1  # as `Attention.samples`

    @property
    def marginalisation(self) -> Marginalisation | None:
        """The way a decoder mixes positions, as `Attention.marginalisation`."""
        return None

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        """Returns the part of the encoder's output that it needs, once an utterance: `Memory.focus`."""
        return ()

    def initial_state(self, memory: Memory) -> Any:
        """Returns the state before the first step."""
        return ()

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> AttentionOutput:
        """Returns the weights of one head, zero at padding, and the new state."""
        raise TypeError(f"{type(self).__name__} is an AlignmentFn without __call__()")


@runtime_checkable
class StreamableAlignment(Protocol):
    """The optional interface of an alignment function that reads from left to right, so that it can attend to a stream.

    A decoder that uses it needs only a part of the encoder's output at a time (nn/streaming.py).
    """

    @property
    def lookback(self) -> int:
        """The positions before the last stop that a step in decode form may read; it may read all positions after the stop.

        Raises:
            ValueError: it may look back without limit.
        """
        ...

    def stop_position(self, state: Any) -> Int[Array, " b"]:
        """Returns the position of the last stop, from which the decode form reads on."""
        ...

    def shift(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """Returns the decode state for a memory that begins `by_b` positions later. No stop lies before its first one."""
        ...


class Softmax(AlignmentFn):
    """A distribution over all positions, softmax(energy / temperature), or over the `top` of them.

    Training form and decode form differ in the temperature only, and only if `decode_temperature` is given.

    Source: sharpening, Chorowski et al. 2015 (1506.07503), section 2.2: a temperature below 1, and keeping the `top` ones.
    """

    temperature: ScalarOrSchedule = 1.0  # a number, or a schedule by steps of training
    top: int | None = None  # positions that are kept in each step; None: all
    decode_temperature: float | None = None  # None: as in training, where that is a number

    def __post_init__(self):
        if callable(self.temperature) and self.decode_temperature is None:
            raise ValueError(
                "Softmax.temperature is a schedule and decode_temperature None; a search knows no step, so say the "
                "temperature that it has to use"
            )
        for name, temperature in (("temperature", self.temperature), ("decode_temperature", self.decode_temperature)):
            if not (temperature is None or callable(temperature) or temperature > 0):
                raise ValueError(f"Softmax.{name} is {temperature}; it must be more than 0")
        if self.top is not None and self.top < 1:
            raise ValueError(f"Softmax.top is {self.top}; it must be 1 or more, or None for all positions")
        super().__post_init__()

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> AttentionOutput:
        """Returns the weights of one head, as in `AlignmentFn`."""
        if not is_constant(self._temperature(memory), 1.0):
            energy_bs = energy_bs.astype(jnp.float32) / value_at(self._temperature(memory), _step(memory))
        valid_bs = memory.valid_bs if self.top is None else among_top(energy_bs, memory.valid_bs, top=self.top)
        return AttentionOutput(masked_softmax(energy_bs, valid_bs)[:, None], state)

    @property
    def plain(self) -> bool:
        """A flag: True if both forms are the softmax of the unchanged energies."""
        return is_constant(self.temperature, 1.0) and self.decode_temperature in (None, 1.0) and self.top is None

    def _temperature(self, memory: Memory) -> ScalarOrSchedule:
        if memory.training is None and self.decode_temperature is not None:
            return self.decode_temperature
        return self.temperature


class SmoothSoftmax(AlignmentFn):
    """The weights sigmoid(energy) / sum of all sigmoids, which spread over several positions. Both forms are the same.

    Source: smoothing, Chorowski et al. 2015 (1506.07503), section 2.3.
    """

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> AttentionOutput:
        """Returns the weights of one head, as in `AlignmentFn`."""
        log_sigmoid_bs = jax.nn.log_sigmoid(energy_bs.astype(jnp.float32))
        return AttentionOutput(masked_softmax(log_sigmoid_bs, memory.valid_bs)[:, None], state)


def _step(memory: Memory) -> Int[Array, ""]:
    """Returns the step of training; 0 in decode form, where no schedule is read."""
    return jnp.zeros((), jnp.int32) if memory.training is None else memory.training.step
