"""What every encoder is: frames in, hidden states at a coarser rate out, with the lengths that go with them."""

from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxasr.records import Training


class ChunkSpec(NamedTuple):
    """How an encoder takes a stream: in windows of any number of chunks and one look-ahead. Both are whole strides."""

    chunk: int  # feature frames whose positions a window makes final
    lookahead: int  # feature frames behind the chunks that it sees; they come again at the head of the next window


class Encoder(nn.Module):
    """The interface. An encoder overrides `stride` and `__call__`, and keeps the law of padding.

    One that can encode while it listens overrides `chunk_spec`, `initial_state` and `advance` too: over the windows of a stream the real
    positions that `advance` gives are, side by side, those of `__call__` for the whole utterance in evaluation.
    """

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output: t frames become ceil(t / stride) positions."""
        raise TypeError(f"{type(self).__name__} is an Encoder without stride")

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Hidden states, zero at padding, and their lengths. What is random is on where `training` says whose it is."""
        raise TypeError(f"{type(self).__name__} is an Encoder without __call__()")

    @property
    def chunk_spec(self) -> ChunkSpec:
        """The windows in which it takes a stream.

        Raises:
            ValueError: it needs whole utterances; the message says why and what does not.
        """
        raise ValueError(
            f"{type(self).__name__} encodes whole utterances; a stream needs LatencyControlledBlstm, or a Listener with "
            "bidirectional=False"
        )

    def initial_state(self, examples: int, bins: int) -> Any:
        """Where streams of frames of so many bins begin; every leaf has the leading axis b. Errors as `chunk_spec`."""
        raise TypeError(f"{type(self).__name__} is an Encoder without open(): {self.chunk_spec}")

    def advance(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], prev_state: Any
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], Any]:
        """The positions of a window's chunks, how many are real, and where the next window goes on.

        Args:
            frames_btf: t = m * chunk + ahead frames for any m (see `chunk_spec`); the next window begins with the frame m * chunk.
            lengths_b: real frames of the window. Fewer than t: the stream ends with them.
            before: what `initial_state` gave, or the window before.
        """
        raise TypeError(f"{type(self).__name__} is an Encoder without advance(): {self.chunk_spec}")
