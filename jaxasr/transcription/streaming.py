"""Streaming recognition: samples in, words out as soon as they are final, with their latency."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int16

from jaxasr.decode import NoRepeatNgram
from jaxasr.decode.search import MaxTokens
from jaxasr.decode.stream import EmittedTokens, GreedyStream, SegmentState
from jaxasr.nn import Seq2Seq
from jaxasr.nn.streaming import StreamingRecogniser, window_spec
from jaxasr.ops.audio.features import frame_lengths
from jaxasr.records import END, StreamState
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.detokenize import IncrementalDetokenizer, WordSpan
from jaxasr.units import samples_from_ms

CHUNK_MS = 320.0  # the approximate chunk if none is given
MEMORY_S = 30.0  # speech that attention can still read: 750 encoder positions of 40 ms


@dataclass(frozen=True)
class FinalWord:
    """A word that will not change any more. Times are in seconds from the first sample."""

    text: str
    start_s: float  # beginning of the encoder position of its first token
    end_s: float  # end of the encoder position of its last token
    emitted_at_s: float  # end of the samples that had been used when it was emitted
    segment: int = 0  # end symbols before it

    @property
    def latency_s(self) -> float:
        """The delay after its end in seconds, without the time of computation."""
        return self.emitted_at_s - self.end_s


class Streamer:
    """A streaming recogniser, compiled once for any number of streams, one after another or interleaved."""

    def __init__(
        self,
        model: Seq2Seq,
        variables: Any,
        tokenizer: Tokenizer,
        *,
        chunk_ms: float | None = None,
        memory_s: float = MEMORY_S,
        max_tokens: MaxTokens = MaxTokens(),
        guard: NoRepeatNgram | None = None,
        reset_encoder_at_endpoint: bool = False,
    ):
        """Sets up the sizes of chunks and memory; nothing is compiled before the first session.

        Args:
            chunk_ms: speech that is encoded at once, a multiple of the encoder's chunk; about CHUNK_MS if None.
            memory_s: past speech that is kept for the attention, from its last stop on. Words equal those of the whole
                utterance as long as no token waits longer than this.
            max_tokens: the limit of the search for whole utterances.
            guard: the limit of repetitions in a segment; None: no limit.
            reset_encoder_at_endpoint: True: the encoder state is reset too when a segment ends, from the next window on.

        Raises:
            ValueError: a part of the model needs whole utterances, or the encoder does not support the chunk.
        """
        self.tokenizer = tokenizer
        self.reset_encoder_at_endpoint = reset_encoder_at_endpoint
        self.rate_hz = model.frontend.rate_hz
        self._variables = variables
        self._chunks = _chunks(model, chunk_ms)
        self.pacing = window_spec(model, self._chunks)
        self.hop = samples_from_ms(model.frontend.hop_ms, self.rate_hz)
        self._window = samples_from_ms(model.frontend.window_ms, self.rate_hz)
        self.position_s = model.encoder.stride * self.hop / self.rate_hz
        self._positions = self.pacing.positions + self.pacing.lookback + round(memory_s / self.position_s)
        self._search = GreedyStream(max_tokens, guard=guard)
        self._compiled = _compiled(model, self._chunks, self._positions, self._search)  # pyright: ignore[reportArgumentType]

    @property
    def algorithmic_latency_s(self) -> float:
        """The longest wait of a sample in seconds: a chunk, the look-ahead and a feature window."""
        return self.pacing.samples / self.rate_hz

    def start_session(self) -> "StreamingSession":
        """Returns a session before its first sample, with everything compiled."""
        session = StreamingSession(self)
        session.warm_up()
        return session

    def begin(self) -> tuple[StreamState, SegmentState]:
        """Returns the initial states of the encoder and of the search."""
        return self._compiled.init(self._variables), self._search.init(1)

    def encode(self, stream: StreamState, samples_n: Int16[np.ndarray, " n"]) -> StreamState:
        """Returns the stream after one more window, which is padded if it is short."""
        wave_1n = np.zeros((1, self.pacing.samples), np.int16)
        wave_1n[0, : len(samples_n)] = samples_n
        return self._compiled.encode(self._variables, stream, wave_1n, np.array([len(samples_n)], np.int32))

    def write(
        self, stream: StreamState, segment: SegmentState, *, last: bool
    ) -> tuple[StreamState, SegmentState, EmittedTokens]:
        """Runs the search as far as possible and returns the new states and, on the host, the emitted tokens."""
        state, segment, emitted = self._compiled.write(self._variables, stream, segment, np.array([last]))
        return replace(stream, state=state), segment, jax.device_get(emitted)

    def frames(self, samples: int) -> int:
        """Returns the number of complete feature frames in so many samples."""
        return int(frame_lengths(samples, window_samples=self._window, hop_samples=self.hop))


class StreamingSession:
    """A session of one stream: `feed` it samples as they come, then `finish` it. Its memory does not grow."""

    def __init__(self, streamer: Streamer):
        """Starts a session without compiling; see `Streamer.start_session`."""
        self._streamer = streamer
        self._stream, self._segment = streamer.begin()
        self._fresh = self._stream
        self._writer = IncrementalDetokenizer(streamer.tokenizer)
        self._samples = np.zeros(0, np.int16)  # the beginning of the next window
        self._gone = 0  # samples before them
        self._segments = 0
        self._finished = False
        self.compute_s = 0.0  # spent in `feed` and `finish`

    @property
    def audio_s(self) -> float:
        """The seconds of audio that were fed."""
        return (self._gone + len(self._samples)) / self._streamer.rate_hz

    def warm_up(self) -> None:
        """Compiles all functions of the stream without changing its state."""
        stream = self._streamer.encode(self._stream, np.zeros(0, np.int16))
        self._streamer.write(stream, self._segment, last=False)

    def feed(self, samples_n: Int16[np.ndarray, " n"]) -> list[FinalWord]:
        """Adds any number of samples and returns the words that are final by then.

        Raises:
            ValueError: the stream was finished.
        """
        if self._finished:
            raise ValueError("this stream is finished; open another one")
        begun = time.perf_counter()
        self._samples = np.concatenate([self._samples, samples_n])
        words: list[FinalWord] = []
        window = self._streamer.pacing.samples
        while len(self._samples) >= window:
            self._stream = self._streamer.encode(self._stream, self._samples[:window])
            words += self._write(self._gone + window, last=False)
            self._advance()
        self.compute_s += time.perf_counter() - begun
        return words

    def finish(self) -> list[FinalWord]:
        """Ends the stream and returns the remaining words."""
        begun = time.perf_counter()
        end = self._gone + len(self._samples)
        words: list[FinalWord] = []
        while not self._finished:
            left = self._streamer.frames(len(self._samples))
            if left:
                self._stream = self._streamer.encode(self._stream, self._samples[: self._streamer.pacing.samples])
            self._finished = left <= self._streamer.pacing.new_frames
            words += self._write(end, last=self._finished)
            self._advance()
        words += self._final_words(self._writer.finish(), end)
        self.compute_s += time.perf_counter() - begun
        return words

    def _advance(self) -> None:
        """Drops the samples that the next window does not need."""
        gone = min(self._streamer.pacing.new_samples, len(self._samples))
        self._samples = self._samples[gone:]
        self._gone += gone

    def _write(self, used: int, *, last: bool) -> list[FinalWord]:
        """Returns the words that the search has finished after `used` samples of the stream."""
        words: list[FinalWord] = []
        more = True
        segments_before = self._segments
        while more:
            self._stream, self._segment, emitted = self._streamer.write(self._stream, self._segment, last=last)
            count = int(emitted.counts_b[0])
            for token, position in zip(emitted.tokens_bu[0, :count], emitted.positions_bu[0, :count], strict=True):
                words += self._final_words(self._spans(int(token), int(position)), used)
                self._segments += int(token) == END
            more = bool(emitted.more_b[0])
        if self._streamer.reset_encoder_at_endpoint and self._segments > segments_before:
            self._stream = replace(self._stream, encoder=self._fresh.encoder)
        return words

    def _spans(self, token: int, position: int) -> Iterator[WordSpan]:
        return self._writer.finish() if token == END else self._writer.write(token, position)

    def _final_words(self, spans: Iterator[WordSpan], used: int) -> list[FinalWord]:
        at_s = used / self._streamer.rate_hz
        position_s = self._streamer.position_s
        return [
            FinalWord(span.text, span.first * position_s, min((span.last + 1) * position_s, at_s), at_s, self._segments)
            for span in spans
        ]


class _CompiledStreaming(NamedTuple):
    """The functions on the device; each is compiled once."""

    init: Callable[[Any], StreamState]
    encode: Callable[..., StreamState]
    write: Callable[..., Any]


@functools.cache
def _compiled(model: Seq2Seq, chunks: int, positions: int, search: GreedyStream) -> _CompiledStreaming:
    """Compiles the functions of a stream, for any variables."""

    def init(variables: Any) -> StreamState:
        return StreamingRecogniser(model, variables, chunks).init_stream(1, positions)

    def encode(variables: Any, stream: StreamState, wave_1n: Array, samples_1: Array) -> StreamState:
        return StreamingRecogniser(model, variables, chunks).advance(stream, wave_1n, samples_1)

    def write(variables: Any, stream: StreamState, segment: SegmentState, last_1: Array) -> Any:
        return search(StreamingRecogniser(model, variables, chunks), stream, segment, last_1)

    return _CompiledStreaming(jax.jit(init), jax.jit(encode), jax.jit(write))


def _chunks(model: Seq2Seq, chunk_ms: float | None) -> int:
    """Returns the number of encoder chunks in a window."""
    one = window_spec(model).new_samples / model.frontend.rate_hz * 1000
    if chunk_ms is None:
        return max(1, round(CHUNK_MS / one))
    chunks = round(chunk_ms / one)
    if chunks < 1 or abs(chunks * one - chunk_ms) > 1e-6:
        raise ValueError(
            f"chunks of {chunk_ms:g} ms, but those of {type(model.encoder).__name__} are multiples of {one:g} ms; the "
            f"nearest is {max(1, chunks) * one:g} ms"
        )
    return chunks
