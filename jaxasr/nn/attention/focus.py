"""From energies to weights: the half of an attention that says how sharply, where, and whether by chance it looks.

`ScoredAttention` (scored.py) has the other half, the energies. Any focus goes with any energy.
"""

from typing import Any, ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from jaxasr.nn.attention.interface import Memory, Mixing, Weighed
from jaxasr.ops.attention import masked_softmax


class Focus(nn.Module):
    """The interface. State and randomness as in `Attention`; energies at padding are any finite numbers."""

    samples: ClassVar[int] = 1  # as `Attention.samples`
    mixing: ClassVar[Mixing | None] = None  # as `Attention.mixing`

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


class Softmax(Focus):
    """A distribution over all positions, the same in training and in search."""

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Any
    ) -> Weighed:
        return Weighed(masked_softmax(energy_bs, memory.valid_bs)[:, None], state)
