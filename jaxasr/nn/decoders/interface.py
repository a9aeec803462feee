"""The interface of decoders, which run teacher-forced over whole transcripts, or one token at a time."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float, Int

from jaxasr.nn.module import Module
from jaxasr.records import Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class TeacherForcedOutput:
    """The output of a teacher-forced pass over k = u + 1 positions: each token of the transcript, then the end.

    If the attention draws several samples, each example is repeated: b is that of the hidden states times the samples.
    """

    logits_bkv: Float[Array, "b k v"]
    weights_bkhs: Float[Array, "b k h s"]
    draws: Draws | None = None
    counts_bh: Float[Array, "b h"] | None = None  # `Memory.counts_bh`; a column a layer


class Decoder(Module, kw_only=True):
    """The interface of decoders. A decoder overrides `__call__`, `start` and `step`."""

    vocab: int  # tokens, the end included

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        training: Training | None,
    ) -> TeacherForcedOutput:
        """Returns teacher-forced logits and weights. Random operations are active only if `training` is given."""
        raise TypeError(f"{type(self).__name__} is a Decoder without __call__()")

    def start(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Any, Any]:
        """Returns the memory of the utterances and the state before the first token; each leaf begins with the axis b."""
        raise TypeError(f"{type(self).__name__} is a Decoder without start()")

    def step(
        self, memory: Any, state: Any, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], Any]:
        """Returns logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        raise TypeError(f"{type(self).__name__} is a Decoder without step()")
