"""What every decoder is: teacher-forced over whole transcripts, or one token at a time."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxasr.records import Draws, Training, pytree


@pytree
@dataclass(frozen=True)
class Decoded:
    """A teacher-forced pass over k = u + 1 positions: each token of the transcript, then the end.

    An attention that draws several samples repeats each example: then b is that of the hidden states times the samples.
    """

    logits_bkv: Float[Array, "b k v"]
    weights_bkhs: Float[Array, "b k h s"]
    draws: Draws | None = None


class Decoder(nn.Module, kw_only=True):
    """The interface. A decoder overrides `__call__`, `start` and `step`."""

    vocab: int  # tokens, the end included

    def __call__(
        self,
        hidden_bsd: Float[Array, "b s d"],
        lengths_b: Int[Array, " b"],
        tokens_bu: Int[Array, "b u"],
        *,
        training: Training | None,
    ) -> Decoded:
        """Logits and weights, teacher-forced. What is random is on where `training` says whose it is."""
        raise TypeError(f"{type(self).__name__} is a Decoder without __call__()")

    def start(self, hidden_bsd: Float[Array, "b s d"], lengths_b: Int[Array, " b"]) -> tuple[Any, Any]:
        """The memory of the utterances and the state before the first token; each leaf begins with the axis b."""
        raise TypeError(f"{type(self).__name__} is a Decoder without start()")

    def step(
        self, memory: Any, state: Any, tokens_b: Int[Array, " b"]
    ) -> tuple[Float[Array, "b v"], Float[Array, "b h s"], Any]:
        """Logits of the next token after `tokens_b` (END before the first one), weights, and the new state."""
        raise TypeError(f"{type(self).__name__} is a Decoder without step()")

    @property
    def lookback(self) -> int:
        """Positions before the last one read that a step may still read, in the decode form.

        Raises:
            ValueError: steps may read any position, so it can't write along with a stream; the message says what can.
        """
        raise ValueError(
            f"{type(self).__name__} may read any position at every step; a stream needs a Speller whose attention's focus is "
            "Monotonic or Chunkwise (MoChA)"
        )

    def stopped(self, state: Any) -> Int[Array, " b"]:
        """The last position that was read, from which the next step reads on. Errors as `lookback`."""
        raise TypeError(f"{type(self).__name__} is a Decoder without stopped(): {self.lookback}")

    def moved(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """The state where the memory begins so many positions later."""
        raise TypeError(f"{type(self).__name__} is a Decoder without moved(): {self.lookback}")
