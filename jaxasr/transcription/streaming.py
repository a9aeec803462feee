"""Speech that is still being spoken: samples in, words out as soon as they are sure, and how late they come."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int16

from jaxasr.decode.search import MaxTokens
from jaxasr.decode.stream import EmittedTokens, GreedyStream, SegmentState
from jaxasr.nn import Seq2Seq
from jaxasr.nn.streaming import StreamingRecogniser, window_spec
from jaxasr.ops.audio.features import frame_lengths
from jaxasr.records import END, StreamState
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.transcription.detokenize import WordSpan, IncrementalDetokenizer
from jaxasr.units import samples_from_ms

CHUNK_MS = 320.0  # about, where the encoder leaves the choice
MEMORY_S = 30.0  # of speech that may still be read: 750 encoder positions of 40 ms


@dataclass(frozen=True)
class FinalWord:
    """A word that will not change any more. Times are in seconds from the first sample."""

    text: str
    start_s: float  # of the encoder position at which its first token was read
    end_s: float  # of the end of the one at which its last token was read
    emitted_at_s: float  # the samples up to here had been used when it came out
    segment: int = 0  # ends of speech before it

    @property
    def latency_s(self) -> float:
        """How long after its end it came out, the time to compute apart."""
        return self.emitted_at_s - self.end_s


class Streamer:
    """A model that hears streams: compiled once, for any number of them, one after another or in turns."""

    def __init__(
        self,
        model: Seq2Seq,
        variables: Any,
        tokenizer: Tokenizer,
        *,
        chunk_ms: float | None = None,
        memory_s: float = MEMORY_S,
        max_tokens: MaxTokens = MaxTokens(),
        reset_encoder_at_endpoint: bool = False,
    ):
        """Nothing is compiled before the first stream is opened.

        Args:
            chunk_ms: of speech that is encoded at once, a multiple of what `model.encoder` asks for; about CHUNK_MS if None.
            memory_s: of speech before the present that is kept for the attention, from its last stop on. Words are those of
                the whole utterance as long as no token waits longer than this.
            max_tokens: as that of the search for whole utterances.
            renews_encoder: begins a new segment with a new encoder too, from the next window on; else that goes on.

        Raises:
            ValueError: a part of the model needs whole utterances; or a chunk that the encoder can't take.
        """
        self.tokenizer = tokenizer
        self.renews_encoder = reset_encoder_at_endpoint
        self.rate_hz = model.frontend.rate_hz
        self._variables = variables
        self._chunks = _chunks(model, chunk_ms)
        self.pacing = window_spec(model, self._chunks)
        self.hop = samples_from_ms(model.frontend.hop_ms, self.rate_hz)
        self._window = samples_from_ms(model.frontend.window_ms, self.rate_hz)
        self.position_s = model.encoder.stride * self.hop / self.rate_hz
        self._positions = self.pacing.positions + self.pacing.lookback + round(memory_s / self.position_s)
        self._search = GreedyStream(max_tokens)
        self._compiled = _compiled(model, self._chunks, self._positions, self._search)  # pyright: ignore[reportArgumentType]

    @property
    def algorithmic_latency_s(self) -> float:
        """What a sample waits for at most before anything is made of it: a chunk, the look-ahead and a feature window."""
        return self.pacing.samples / self.rate_hz

    def start_session(self) -> "StreamingSession":
        """A stream before its first sample, with everything compiled."""
        hearing = StreamingSession(self)
        hearing.warm_up()
        return hearing

    def begin(self) -> tuple[StreamState, SegmentState]:
        """Where the device begins."""
        return self._compiled.open(self._variables), self._search.init(1)

    def encode(self, stream: StreamState, samples_n: Int16[np.ndarray, " n"]) -> StreamState:
        """The stream after a window, which is filled up where it ends."""
        wave_1n = np.zeros((1, self.pacing.samples), np.int16)
        wave_1n[0, : len(samples_n)] = samples_n
        return self._compiled.hear(self._variables, stream, wave_1n, np.array([len(samples_n)], np.int32))

    def write(self, stream: StreamState, segment: SegmentState, *, last: bool) -> tuple[StreamState, SegmentState, EmittedTokens]:
        """What the search adds; its arrays are on the host."""
        state, segment, spoken = self._compiled.write(self._variables, stream, segment, np.array([last]))
        return replace(stream, state=state), segment, jax.device_get(spoken)

    def frames(self, samples: int) -> int:
        """Whole feature frames of so many samples."""
        return int(frame_lengths(samples, window_samples=self._window, hop_samples=self.hop))


class StreamingSession:
    """One stream: `feed` it samples as they come, then `finish` it. What it keeps does not grow."""

    def __init__(self, streamer: Streamer):
        """As `Streamer.open`, but the first words wait for what has to be compiled."""
        self._streamer = streamer
        self._stream, self._segment = streamer.begin()
        self._fresh = self._stream
        self._writer = IncrementalDetokenizer(streamer.tokenizer)
        self._samples = np.zeros(0, np.int16)  # those that the next window begins with
        self._gone = 0  # samples before them
        self._segments = 0
        self._finished = False
        self.compute_s = 0.0  # spent in `feed` and `finish`

    @property
    def audio_s(self) -> float:
        """Seconds that were fed."""
        return (self._gone + len(self._samples)) / self._streamer.rate_hz

    def warm_up(self) -> None:
        """Compiles what the stream needs, and changes nothing."""
        stream = self._streamer.encode(self._stream, np.zeros(0, np.int16))
        self._streamer.write(stream, self._segment, last=False)

    def feed(self, samples_n: Int16[np.ndarray, " n"]) -> list[FinalWord]:
        """The words that are sure now that these samples, any number of them, were heard as well.

        Raises:
            ValueError: the stream was finished.
        """
        if self._finished:
            raise ValueError("this stream is finished; open another one")
        begun = time.perf_counter()
        self._samples = np.concatenate([self._samples, samples_n])
        words, window = [], self._streamer.pacing.samples
        while len(self._samples) >= window:
            self._stream = self._streamer.encode(self._stream, self._samples[:window])
            words += self._write(self._gone + window, last=False)
            self._go_on()
        self.compute_s += time.perf_counter() - begun
        return words

    def finish(self) -> list[FinalWord]:
        """The words that are sure now that there will be no more samples."""
        begun, end = time.perf_counter(), self._gone + len(self._samples)
        words = []
        while not self._finished:
            left = self._streamer.frames(len(self._samples))
            if left:
                self._stream = self._streamer.encode(self._stream, self._samples[: self._streamer.pacing.samples])
            self._finished = left <= self._streamer.pacing.new_frames
            words += self._write(end, last=self._finished)
            self._go_on()
        words += self._stable(self._writer.finish(), end)
        self.compute_s += time.perf_counter() - begun
        return words

    def _go_on(self) -> None:
        """To the samples of the next window."""
        gone = min(self._streamer.pacing.new_samples, len(self._samples))
        self._samples, self._gone = self._samples[gone:], self._gone + gone

    def _write(self, used: int, *, last: bool) -> list[FinalWord]:
        """The words that the search has finished, with so many samples of the stream."""
        words, more, before = [], True, self._segments
        while more:
            self._stream, self._segment, spoken = self._streamer.write(self._stream, self._segment, last=last)
            count = int(spoken.counts_b[0])
            for token, position in zip(spoken.tokens_bu[0, :count], spoken.positions_bu[0, :count], strict=True):
                words += self._stable(self._written(int(token), int(position)), used)
                self._segments += int(token) == END
            more = bool(spoken.more_b[0])
        if self._streamer.renews_encoder and self._segments > before:
            self._stream = replace(self._stream, encoder=self._fresh.encoder)
        return words

    def _written(self, token: int, position: int) -> Iterator[WordSpan]:
        return self._writer.finish() if token == END else self._writer.write(token, position)

    def _stable(self, words: Iterator[WordSpan], used: int) -> list[FinalWord]:
        at_s, position_s = used / self._streamer.rate_hz, self._streamer.position_s
        return [
            FinalWord(
                each.text, each.first * position_s, min((each.last + 1) * position_s, at_s), at_s, self._segments
            )
            for each in words
        ]


class _CompiledStreaming(NamedTuple):
    """What runs on the device; each compiles once."""

    open: Callable[[Any], StreamState]
    hear: Callable[..., StreamState]
    write: Callable[..., Any]


@functools.cache
def _compiled(model: Seq2Seq, chunks: int, positions: int, search: GreedyStream) -> _CompiledStreaming:
    """The functions of one stream, for any variables."""

    def open_(variables: Any) -> StreamState:
        return StreamingRecogniser(model, variables, chunks).init_stream(1, positions)

    def hear(variables: Any, stream: StreamState, wave_1n: Array, samples_1: Array) -> StreamState:
        return StreamingRecogniser(model, variables, chunks).advance(stream, wave_1n, samples_1)

    def write(variables: Any, stream: StreamState, segment: SegmentState, last_1: Array) -> Any:
        return search(StreamingRecogniser(model, variables, chunks), stream, segment, last_1)

    return _CompiledStreaming(jax.jit(open_), jax.jit(hear), jax.jit(write))


def _chunks(model: Seq2Seq, chunk_ms: float | None) -> int:
    """Chunks of the encoder in a window."""
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
