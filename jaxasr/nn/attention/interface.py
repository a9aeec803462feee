"""What every attention is: a way to weigh the positions of a memory, step by step.

A mechanism prepares the memory once an utterance and then weighs it for each query; what is read is the mean of the values
under the weights. A decoder holds an `Attention` and does not know which one. Weights always come back, one row a head,
so that alignments can be watched for every mechanism.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention import read
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
class Weighed:
    """What a mechanism says to one query. Weights are zero at padding; those of a head sum to at most 1."""

    weights_bhs: Float[Array, "b h s"]
    state: Any


@pytree
@dataclass(frozen=True)
class Read:
    """One whole step: what was read, under which weights, and what the mechanism carries on."""

    context_be: Float[Array, "b e"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


class Attention(nn.Module):
    """The interface. A mechanism overrides `prepare`, `initial_state` and `weigh`; its state is any pytree over b."""

    @property
    def heads(self) -> int:
        """Rows of weights; each reads its own share of the values' columns."""
        return 1

    def prepare(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> Memory:
        """Projects the encoder's output once for the whole utterance."""
        raise TypeError(f"{type(self).__name__} is an Attention without prepare()")

    def initial_state(self, memory: Memory) -> Any:
        """What the mechanism carries from step to step, before the first one."""
        raise TypeError(f"{type(self).__name__} is an Attention without initial_state()")

    def weigh(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Weighed:
        """How much each position matters to the query."""
        raise TypeError(f"{type(self).__name__} is an Attention without weigh()")

    def __call__(self, query_bd: Float[Array, "b d"], memory: Memory, state: Any) -> Read:
        """Weighs and reads."""
        weighed = self.weigh(query_bd, memory, state)
        return Read(read(weighed.weights_bhs, memory.values_bse), weighed.weights_bhs, weighed.state)
