"""From energies to weights: the half of an attention that says how sharply, where, and whether by chance it looks.

`ScoredAttention` (scored.py) has the other half, the energies. Any focus goes with any energy.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.interface import Memory, Mixing, Weighed
from jaxasr.nn.schedule import Amount, amount_at, is_constant
from jaxasr.ops.attention.energies import among_top, masked_softmax


class Focus(nn.Module):
    """The interface. State and randomness as in `Attention`; energies at padding are any finite numbers."""

    samples = 1  # as `Attention.samples`

    @property
    def mixing(self) -> Mixing | None:
        """As `Attention.mixing`."""
        return None

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        """What it needs of the encoder's output, once an utterance: `Memory.focus`."""
        return ()

    def initial_state(self, memory: Memory) -> Any:
        """What is carried from step to step, before the first one."""
        return ()

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> Weighed:
        """Weights of one head, zero at padding."""
        raise TypeError(f"{type(self).__name__} is a Focus without __call__()")

    @property
    def lookback(self) -> int:
        """As `Attention.lookback`."""
        raise ValueError(
            f"the focus {type(self).__name__} weighs positions of the whole utterance; a stream needs Monotonic, or "
            "Chunkwise (MoChA) with a limited chunk, also behind a WarmStart"
        )

    def stopped(self, state: Any) -> Int[Array, " b"]:
        """As `Attention.stopped`."""
        raise TypeError(f"{type(self).__name__} is a Focus without stopped(): {self.lookback}")

    def moved(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """As `Attention.moved`."""
        raise TypeError(f"{type(self).__name__} is a Focus without moved(): {self.lookback}")


class Softmax(Focus):
    """A distribution over all positions, softmax(energy / temperature), or over the `top` of them.

    Training form and decode form differ in the temperature only, and only if it is said.

    Source: sharpening, Chorowski et al. 2015 (1506.07503), section 2.2: a temperature below 1, and keeping the `top` ones.
    """

    temperature: Amount = 1.0  # a number, or a schedule by steps of training
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
    ) -> Weighed:
        if not is_constant(self._temperature(memory), 1.0):
            energy_bs = energy_bs.astype(jnp.float32) / amount_at(self._temperature(memory), _step(memory))
        valid_bs = memory.valid_bs if self.top is None else among_top(energy_bs, memory.valid_bs, top=self.top)
        return Weighed(masked_softmax(energy_bs, valid_bs)[:, None], state)

    @property
    def plain(self) -> bool:
        """True: the softmax of the energies as they are, in both forms."""
        return is_constant(self.temperature, 1.0) and self.decode_temperature in (None, 1.0) and self.top is None

    def _temperature(self, memory: Memory) -> Amount:
        if memory.training is None and self.decode_temperature is not None:
            return self.decode_temperature
        return self.temperature


class Smooth(Focus):
    """Weights sigmoid(energy) / sum of all sigmoids: it looks at several positions at once. One form for both.

    Source: smoothing, Chorowski et al. 2015 (1506.07503), section 2.3.
    """

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> Weighed:
        log_sigmoid_bs = jax.nn.log_sigmoid(energy_bs.astype(jnp.float32))
        return Weighed(masked_softmax(log_sigmoid_bs, memory.valid_bs)[:, None], state)


def _step(memory: Memory) -> Int[Array, ""]:
    """The step of training; of no use outside of it."""
    return jnp.zeros((), jnp.int32) if memory.training is None else memory.training.step
