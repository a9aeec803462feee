"""The recogniser as it hears a stream: a window of samples at a time, in a memory of a fixed size."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int16

from jaxasr.nn.attention.interface import Memory
from jaxasr.nn.precision import in_precision
from jaxasr.nn.seq2seq import Seq2Seq
from jaxasr.ops.audio import features
from jaxasr.records import Step, StreamState
from jaxasr.units import samples_from_ms


@dataclass(frozen=True)
class WindowSpec:
    """The windows of samples in which a recogniser hears a stream: each begins `new` samples behind the one before."""

    positions: int  # encoder positions that a window makes final
    frames: int  # feature frames of a window
    new_frames: int  # those that are not in the next window
    samples: int  # of a window: what its first sample waits for, the algorithmic latency
    new_samples: int  # samples from one window to the next


def window_spec(model: Seq2Seq, chunks: int = 1) -> WindowSpec:
    """The windows of so many chunks of the encoder (`Encoder.pace`) and its look-ahead.

    Raises:
        ValueError: a part of the model needs whole utterances: which one, and what does not.
    """
    if model.frontend.normalize == "utterance":
        raise ValueError(
            "this model can't hear a stream: model.frontend.normalize is 'utterance', by a mean and a variance that "
            "are known at its end; a stream needs 'global' or 'none'"
        )
    try:
        (chunk, ahead), _ = model.encoder.chunk_spec, model.decoder.lookback
    except ValueError as error:
        raise ValueError(f"this model can't hear a stream: {error}") from error
    frontend, own = model.frontend, chunks * chunk
    window, hop = (samples_from_ms(ms, frontend.rate_hz) for ms in (frontend.window_ms, frontend.hop_ms))
    return WindowSpec(
        positions=own // model.encoder.stride,
        frames=own + ahead,
        new_frames=own,
        samples=(own + ahead - 1) * hop + window,
        new_samples=own * hop,
    )


@dataclass(frozen=True)
class StreamingRecogniser:
    """A model and its variables, as a search for streams wants them (records.Streamable)."""

    model: Seq2Seq
    variables: Any
    chunks: int = 1  # of the encoder, in a window

    def __post_init__(self):
        object.__setattr__(
            self, "variables", in_precision(self.variables, self.model.compute)
        )  # once, not at every step

    @property
    def window_spec(self) -> WindowSpec:
        """The windows that `hear` is given."""
        return window_spec(self.model, self.chunks)

    def init_stream(self, examples: int, positions: int) -> StreamState:
        """So many streams before their first sample, each with a memory of so many encoder positions.

        Raises:
            ValueError: the model needs whole utterances; or a memory larger than this.
        """
        window = self.window_spec
        least = window.positions + self.model.decoder.lookback
        if positions < least:
            raise ValueError(f"a memory of {positions} encoder positions; this model needs {least} or more")
        encoder = self.model.encoder.initial_state(examples, self.model.frontend.bins)
        zero_b = jnp.zeros(examples, jnp.int32)
        wave_bn = jax.ShapeDtypeStruct((examples, window.samples), jnp.int16)
        heard: Any = jax.eval_shape(self._encode, wave_bn, zero_b, encoder)
        silence_bsd = jnp.zeros((examples, positions, heard[0].shape[-1]), heard[0].dtype)
        memory, state = self._remember(silence_bsd, zero_b)
        encoder = jax.tree.map(lambda leaf, after: leaf.astype(after.dtype), encoder, heard[2])
        return StreamState(encoder, memory, state, initial_state=state, dropped_b=zero_b, encoded_b=zero_b)

    def advance(
        self, stream: StreamState, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"]
    ) -> StreamState:
        """The stream after one more of the windows that `pacing` tells of.

        What will not be read again is dropped from the memory, and, where there is no room, the oldest of what might be.

        Args:
            sample_lengths_b: real samples. Fewer than a whole window: the stream ends with them. As long as there are frames
                behind those of the window, one more has to follow.
        """
        hidden_bkd, real_b, encoder = self._encode(wave_bn, sample_lengths_b, stream.encoder)
        more, _ = self._remember(hidden_bkd, real_b)
        held_b = stream.encoded_b - stream.dropped_b
        room = stream.memory.valid_bs.shape[1] - hidden_bkd.shape[1]
        unread_b = self.stopped(stream.state) - self.model.decoder.lookback
        drop_b = jnp.maximum(jnp.clip(unread_b, 0, held_b), held_b - room)
        return replace(
            stream,
            encoder=encoder,
            memory=_joined(stream.memory, more, drop_b, held_b - drop_b, real_b),
            state=self.moved(stream.state, drop_b),
            dropped_b=stream.dropped_b + drop_b,
            encoded_b=stream.encoded_b + real_b,
        )

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """One token further."""
        return self.model.apply(self.variables, memory, state, tokens_b, method="step")

    def stopped(self, state: Any) -> Int[Array, " b"]:
        """The position of the memory that was read last."""
        return self.model.decoder.stopped(state)

    def moved(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """The state where the memory begins so many positions later."""
        return self.model.decoder.moved(state, by_b)

    def _encode(
        self, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"], before: Any
    ) -> tuple[Float[Array, "b k d"], Int[Array, " b"], Any]:
        def encode(model: Seq2Seq) -> Any:
            frames_btf, lengths_b = model.frontend(features.amplitude(wave_bn), sample_lengths_b)
            return model.encoder.advance(model.cast_features(frames_btf), lengths_b, before)

        return self.model.apply(self.variables, method=encode)

    def _remember(self, hidden_bkd: Float[Array, "b k d"], real_b: Int[Array, " b"]) -> tuple[Any, Any]:
        def remember(model: Seq2Seq) -> Any:
            return model.decoder.start(hidden_bkd, real_b)

        return self.model.apply(self.variables, method=remember)


def _joined(memory: Memory, more: Memory, drop_b: Array, kept_b: Array, real_b: Array) -> Memory:
    """The memory without its first positions, and behind those that are kept the new ones."""
    s, k = memory.valid_bs.shape[1], more.valid_bs.shape[1]
    places_bs = jnp.broadcast_to(jnp.arange(s)[None], memory.valid_bs.shape)
    kept_bs = places_bs < kept_b[:, None]
    index_bs = jnp.where(kept_bs, places_bs + drop_b[:, None], jnp.minimum(s + places_bs - kept_b[:, None], s + k - 1))

    def join(old: Array, new: Array) -> Array:
        both = jnp.concatenate([old, new], axis=1)
        return jnp.take_along_axis(both, index_bs.reshape(index_bs.shape + (1,) * (both.ndim - 2)), axis=1)

    joined = jax.tree.map(join, memory, more)
    return replace(joined, valid_bs=places_bs < (kept_b + real_b)[:, None])
