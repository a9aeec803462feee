"""Streaming recognisers: they encode a window of samples at a time into a memory of a fixed size, for searches of streams."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int16

from jaxasr.nn.attention.alignment import StreamableAlignment
from jaxasr.nn.attention.interface import Memory
from jaxasr.nn.attention.scored import ScoredAttention
from jaxasr.nn.attention.warm import WarmStart
from jaxasr.nn.decoders.interface import Decoder
from jaxasr.nn.decoders.speller import Speller
from jaxasr.nn.lms.transformer import TransformerLm
from jaxasr.nn.precision import in_precision
from jaxasr.nn.seq2seq import Seq2Seq
from jaxasr.ops.audio import features
from jaxasr.records import Step, StreamState
from jaxasr.units import samples_from_ms


@dataclass(frozen=True)
class WindowSpec:
    """The windows of samples of a stream: each begins `new_samples` after the one before."""

    positions: int  # encoder positions that a window makes final
    lookback: int  # encoder positions before the last stop that may still be read
    frames: int  # feature frames of a window
    new_frames: int  # those that are not in the next window
    samples: int  # of a window; its first sample waits for the last one, so this is the algorithmic latency
    new_samples: int  # samples from one window to the next


@dataclass(frozen=True)
class StreamReader:
    """The alignment function by which a decoder reads a stream, with the path to its state in the decoder's state."""

    alignment: StreamableAlignment
    path: tuple[str, ...]  # attributes of the decoder's state, from the outermost one
    lookback: int  # positions before the last stop that a step may still read

    def stop_position(self, state: Any) -> Int[Array, " b"]:
        """Returns the position of the memory that the decoder read last."""
        return self.alignment.stop_position(functools.reduce(getattr, self.path, state))

    def shift(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """Returns the decoder's state for a memory that begins `by_b` positions later."""
        shifted = self.alignment.shift(functools.reduce(getattr, self.path, state), by_b)
        return _with_attribute(state, self.path, shifted)


def stream_reader(decoder: Decoder) -> StreamReader:
    """Returns the part of a decoder that reads a stream.

    Raises:
        ValueError: the decoder may read any position at every step; the message names the part, and a replacement.
    """
    if not isinstance(decoder, Speller):
        raise ValueError(
            f"{type(decoder).__name__} may read any position at every step; a stream needs a Speller whose attention's "
            "focus is Monotonic or MoChA"
        )
    if decoder.fusion is not None and isinstance(decoder.fusion.lm, TransformerLm):
        raise ValueError(
            "Speller.fusion has a TransformerLm, which keeps something of every token of a segment; a stream, whose "
            "segments may be of any length, needs an LstmLm"
        )
    attention = decoder.attention
    if not isinstance(attention, ScoredAttention):
        raise ValueError(
            f"{type(attention).__name__} weighs positions of the whole utterance; a stream needs AdditiveAttention or "
            "ProductAttention with a focus that is Monotonic or MoChA"
        )
    if attention.is_location_aware:
        raise ValueError(
            f"the energies of {type(attention).__name__} depend on where it looked in the whole utterance; a stream needs "
            "those of AdditiveAttention or ProductAttention"
        )
    warm = isinstance(attention.focus, WarmStart)
    alignment = attention.focus.hard if warm else attention.focus
    if not isinstance(alignment, StreamableAlignment):
        raise ValueError(
            f"the focus {type(alignment).__name__} weighs positions of the whole utterance; a stream needs Monotonic, or "
            "MoChA with a limited chunk, also behind a WarmStart"
        )
    path = ("attention", "focus", "hard") if warm else ("attention", "focus")
    return StreamReader(alignment, path, alignment.lookback)


def window_spec(model: Seq2Seq, chunks: int = 1) -> WindowSpec:
    """Returns the windows that hold `chunks` chunks of the encoder (`Encoder.chunk_spec`) and its look-ahead.

    Raises:
        ValueError: a part of the model needs whole utterances; the message names it, and a replacement.
    """
    frontend = model.frontend
    if frontend.normalize in ("utterance", "peak"):
        what = "a mean and a variance that are" if frontend.normalize == "utterance" else "a maximum that is"
        raise ValueError(
            f"this model can't hear a stream: model.frontend.normalize is {frontend.normalize!r}, by {what} "
            "known at its end; a stream needs 'global' or 'none'"
        )
    if frontend.edges != "inside" or frontend.pad_s:
        raise ValueError(
            f"this model can't hear a stream: model.frontend has edges={frontend.edges!r} and pad_s={frontend.pad_s:g}, "
            "which need the end of the utterance; a stream needs edges='inside' and pad_s=0"
        )
    try:
        chunk, lookahead = model.encoder.chunk_spec
        lookback = stream_reader(model.decoder).lookback
    except ValueError as error:
        raise ValueError(f"this model can't hear a stream: {error}") from error
    new_frames = chunks * chunk
    window, hop = (samples_from_ms(ms, frontend.rate_hz) for ms in (frontend.window_ms, frontend.hop_ms))
    return WindowSpec(
        positions=new_frames // model.encoder.stride,
        lookback=lookback,
        frames=new_frames + lookahead,
        new_frames=new_frames,
        samples=(new_frames + lookahead - 1) * hop + window,
        new_samples=new_frames * hop,
    )


@dataclass(frozen=True)
class StreamingRecogniser:
    """A model with its variables, for searches of streams (records.Streamable)."""

    model: Seq2Seq
    variables: Any
    chunks: int = 1  # of the encoder, in a window

    def __post_init__(self):
        # once, not at every step
        object.__setattr__(self, "variables", in_precision(self.variables, self.model.compute))

    @property
    def window_spec(self) -> WindowSpec:
        """The windows that `advance` takes."""
        return window_spec(self.model, self.chunks)

    def init_stream(self, examples: int, positions: int) -> StreamState:
        """Returns the state of `examples` streams before their first sample.

        Args:
            positions: encoder positions in the memory of each stream.

        Raises:
            ValueError: the model needs whole utterances, or a larger memory.
        """
        window = self.window_spec
        least = window.positions + window.lookback
        if positions < least:
            raise ValueError(f"a memory of {positions} encoder positions; this model needs {least} or more")
        encoder = self.model.encoder.initial_state(examples, self.model.frontend.bins)
        zero_b = jnp.zeros(examples, jnp.int32)
        wave_bn = jax.ShapeDtypeStruct((examples, window.samples), jnp.int16)
        encoded: Any = jax.eval_shape(self._encode, wave_bn, zero_b, encoder)
        hidden_bsd = jnp.zeros((examples, positions, encoded[0].shape[-1]), encoded[0].dtype)
        memory, state = self._init_decode_state(hidden_bsd, zero_b)
        encoder = jax.tree.map(lambda leaf, after: leaf.astype(after.dtype), encoder, encoded[2])
        return StreamState(encoder, memory, state, initial_state=state, dropped_b=zero_b, encoded_b=zero_b)

    def advance(
        self, stream: StreamState, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"]
    ) -> StreamState:
        """Returns the state of the streams after one more window (`window_spec`).

        Positions that can't be read again are dropped from the memory. If the memory is full, its oldest positions are too.

        Args:
            sample_lengths_b: real samples. If they are fewer than a whole window, the stream ends with them. While there are
                frames after those of the window, another window has to follow.
        """
        hidden_bkd, real_b, encoder = self._encode(wave_bn, sample_lengths_b, stream.encoder)
        new_memory, _ = self._init_decode_state(hidden_bkd, real_b)
        held_b = stream.encoded_b - stream.dropped_b
        capacity = stream.memory.valid_bs.shape[1] - hidden_bkd.shape[1]
        first_readable_b = self.stop_position(stream.state) - stream_reader(self.model.decoder).lookback
        drop_b = jnp.maximum(jnp.clip(first_readable_b, 0, held_b), held_b - capacity)
        return replace(
            stream,
            encoder=encoder,
            memory=_joined(stream.memory, new_memory, drop_b, held_b - drop_b, real_b),
            state=self.shift(stream.state, drop_b),
            dropped_b=stream.dropped_b + drop_b,
            encoded_b=stream.encoded_b + real_b,
        )

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        """Returns the decoder's step after `tokens_b`."""
        return self.model.apply(self.variables, memory, state, tokens_b, method="step")

    def stop_position(self, state: Any) -> Int[Array, " b"]:
        """Returns the position of the memory that the decoder read last."""
        return stream_reader(self.model.decoder).stop_position(state)

    def shift(self, state: Any, by_b: Int[Array, " b"]) -> Any:
        """Returns the state for a memory that begins `by_b` positions later."""
        return stream_reader(self.model.decoder).shift(state, by_b)

    def _encode(
        self, wave_bn: Int16[Array, "b n"], sample_lengths_b: Int[Array, " b"], prev_state: Any
    ) -> tuple[Float[Array, "b k d"], Int[Array, " b"], Any]:
        def encode(model: Seq2Seq) -> Any:
            frames_btf, lengths_b = model.frontend(features.amplitude(wave_bn), sample_lengths_b)
            return model.encoder.advance(model.cast_features(frames_btf), lengths_b, prev_state)

        return self.model.apply(self.variables, method=encode)

    def _init_decode_state(self, hidden_bkd: Float[Array, "b k d"], real_b: Int[Array, " b"]) -> tuple[Any, Any]:
        def start(model: Seq2Seq) -> Any:
            return model.decoder.start(hidden_bkd, real_b)

        return self.model.apply(self.variables, method=start)


def _with_attribute(state: Any, path: Sequence[str], value: Any) -> Any:
    """Returns a dataclass or named tuple with the attribute at the end of the path replaced, in nested copies."""
    if not path:
        return value
    name, *rest = path
    changes = {name: _with_attribute(getattr(state, name), rest, value)}
    return replace(state, **changes) if is_dataclass(state) else state._replace(**changes)  # pyright: ignore


def _joined(memory: Memory, new_memory: Memory, drop_b: Array, kept_b: Array, real_b: Array) -> Memory:
    """Returns the memory without its first positions, and with the new positions after those that are kept."""
    s = memory.valid_bs.shape[1]
    k = new_memory.valid_bs.shape[1]
    positions_bs = jnp.broadcast_to(jnp.arange(s)[None], memory.valid_bs.shape)
    kept_bs = positions_bs < kept_b[:, None]
    new_bs = jnp.minimum(s + positions_bs - kept_b[:, None], s + k - 1)
    index_bs = jnp.where(kept_bs, positions_bs + drop_b[:, None], new_bs)

    def join(old: Array, new: Array) -> Array:
        both = jnp.concatenate([old, new], axis=1)
        return jnp.take_along_axis(both, index_bs.reshape(index_bs.shape + (1,) * (both.ndim - 2)), axis=1)

    joined = jax.tree.map(join, memory, new_memory)
    return replace(joined, valid_bs=positions_bs < (kept_b + real_b)[:, None])
