"""What every attention is: a module that prepares the memory once and then is read step by step.

A decoder holds an `Attention` and does not know which. `weights` always come back, one row a head, so that alignments can
be watched for every mechanism.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int

from jaxasr.records import pytree


@pytree
@dataclass(frozen=True)
class Memory:
    """An encoded utterance as an attention wants it; made once, never changed. The leading axis of each leaf is b."""

    keys_bsd: Float[Array, "b s d"]
    values_bse: Float[Array, "b s e"]
    valid_bs: Bool[Array, "b s"]


@pytree
@dataclass(frozen=True)
class Read:
    """What one step brings back. Weights are zero at padding and sum to at most 1 for each head."""

    context_be: Float[Array, "b e"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


class Attention(nn.Module):
    """The interface. A mechanism overrides all three methods; its state is any pytree with the leading axis b."""

    def prepare(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> Memory:
        """Projects the encoder's output once for the whole utterance."""
        raise TypeError(f"{type(self).__name__} has no prepare()")

    def initial_state(self, memory: Memory) -> Any:
        """What the mechanism carries from step to step, before the first one."""
        raise TypeError(f"{type(self).__name__} has no initial_state()")

    def __call__(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Read:
        """One read."""
        raise TypeError(f"{type(self).__name__} has no __call__()")
