"""The interface of encoders, from feature frames to hidden states at a lower rate, with their lengths."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int

from jaxasr.nn.module import Module
from jaxasr.records import Training


class ChunkSpec(NamedTuple):
    """The windows of a stream for an encoder: any number of chunks and one look-ahead. Both are multiples of the stride."""

    chunk: int  # feature frames whose positions a window makes final
    lookahead: int  # feature frames after the chunks; they come again at the beginning of the next window


class Encoder(Module):
    """The interface of encoders. An encoder overrides `stride` and `__call__`, and is invariant to padding.

    An encoder for streams overrides `chunk_spec`, `initial_state` and `advance` too. The real positions that `advance`
    returns for the windows of a stream, concatenated, are those of `__call__` for the whole utterance in evaluation.
    """

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output: t frames become ceil(t / stride) positions."""
        raise TypeError(f"{type(self).__name__} is an Encoder without stride")

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Random operations need `training`."""
        raise TypeError(f"{type(self).__name__} is an Encoder without __call__()")

    @property
    def chunk_spec(self) -> ChunkSpec:
        """The windows of a stream.

        Raises:
            ValueError: the encoder needs whole utterances; the message has the reason, and names encoders that do not.
        """
        raise ValueError(
            f"{type(self).__name__} encodes whole utterances; a stream needs LatencyControlledBlstm, or a Listener with "
            "bidirectional=False"
        )

    def initial_state(self, examples: int, bins: int) -> Any:
        """Returns the state of streams of frames with `bins` bins before their first frame; each leaf begins with the axis b.

        Raises:
            TypeError: the encoder needs whole utterances, as in `chunk_spec`.
        """
        raise TypeError(f"{type(self).__name__} is an Encoder without initial_state(): {self.chunk_spec}")

    def advance(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], prev_state: Any
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], Any]:
        """Returns the positions of a window's chunks, the number of real ones, and the state for the next window.

        Args:
            frames_btf: t = m * chunk + lookahead frames for any m (see `chunk_spec`); the next window begins with frame
                m * chunk.
            lengths_b: real frames of the window. If they are fewer than t, the stream ends with them.
            prev_state: the result of `initial_state` or of the window before.
        """
        raise TypeError(f"{type(self).__name__} is an Encoder without advance(): {self.chunk_spec}")
