"""Streaming transcription of a pipe, a microphone or a file with the best model of a run."""

import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int16

from jaxasr.data.audio import stream_audio
from jaxasr.decode import MaxTokens
from jaxasr.decode.guard import REPETITION_GUARD
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.split import tokenizer_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.nn.streaming import window_spec
from jaxasr.transcription.streaming import FinalWord, Streamer

PIPE = Path("-")  # standard input
PIECE_S = 0.02  # the pieces of a file that is played in real time
_HEADERS = (b"RIFF", b"fLaC", b"OggS", b"NIST")


@dataclass(frozen=True)
class LatencyStats:
    """The latency of the words of a stream, in seconds after their ends, and the time of computation."""

    words: int
    segments: int
    audio_s: float
    compute_s: float
    algorithmic_s: float  # chunk, look-ahead and feature window: the longest wait of a sample
    mean_s: float | None  # None: there were no words
    median_s: float | None
    p90_s: float | None  # the 90th percentile

    @property
    def real_time_factor(self) -> float | None:
        """The seconds of computation per second of audio, below 1 if the machine keeps up; None: no audio."""
        return self.compute_s / self.audio_s if self.audio_s else None


def stream(
    experiment: Experiment,
    workdir: str | Path,
    source: Path = PIPE,
    *,
    real_time: bool = False,
    chunk_ms: float | None = None,
    reset_encoder_at_endpoint: bool = False,
    checkpoint: Choice = "best",
    repetition_guard: bool = True,
) -> Iterator[FinalWord | LatencyStats]:
    """Yields the words of one stream as they become final, and the latency statistics at its end.

    Args:
        workdir: the folder of the run.
        source: an audio file; or `PIPE`: 16-bit little-endian mono samples at the experiment's rate, without a header. An
            interrupt while waiting for the pipe ends the stream.
        real_time: True: a file is played at the speed of speech; False: as fast as it can be computed.
        chunk_ms, reset_encoder_at_endpoint: as in `Streamer`.
        checkpoint: "best", "last", a step, or "mean": the mean of all that are kept.
        repetition_guard: True: phrases that repeat too often are ended (decode.guard.REPETITION_GUARD).

    Raises:
        FileNotFoundError: no such run, checkpoint or file.
        ValueError: the model needs whole utterances, the checkpoint does not fit the experiment, or the file is no audio.
    """
    window_spec(recogniser_of(experiment))
    rate_hz = experiment.train_data.rate_hz
    wave_n = None if source == PIPE else np.concatenate(list(stream_audio(source, rate_hz=rate_hz)))
    streamer = load_streamer(
        experiment,
        workdir,
        chunk_ms=chunk_ms,
        reset_encoder_at_endpoint=reset_encoder_at_endpoint,
        checkpoint=checkpoint,
        repetition_guard=repetition_guard,
    )
    session = streamer.start_session()
    words: list[FinalWord] = []
    if wave_n is None:
        pieces = pcm_pieces(cast(io.BufferedReader, sys.stdin.buffer), streamer.pacing.new_samples)
    else:
        pieces = playback(wave_n, rate_hz, real_time=real_time)
    for piece_n in pieces:
        for word in session.feed(piece_n):
            words.append(word)
            yield word
    for word in session.finish():
        words.append(word)
        yield word
    yield latency_stats(words, session.audio_s, session.compute_s, streamer.algorithmic_latency_s)


def load_streamer(
    experiment: Experiment,
    workdir: str | Path,
    *,
    chunk_ms: float | None = None,
    reset_encoder_at_endpoint: bool = False,
    checkpoint: Choice = "best",
    repetition_guard: bool = True,
) -> Streamer:
    """Returns the streamer of a run. Arguments and errors are those of `stream`."""
    model = recogniser_of(experiment)
    window_spec(model)
    variables, _ = trained_variables(experiment, Workdir(Path(workdir)), checkpoint)
    return Streamer(
        model,
        variables,
        tokenizer_of(experiment.train_data),
        chunk_ms=chunk_ms,
        max_tokens=getattr(experiment.validation.search, "max_tokens", MaxTokens()),
        guard=REPETITION_GUARD if repetition_guard else None,
        reset_encoder_at_endpoint=reset_encoder_at_endpoint,
    )


def pcm_pieces(file: io.BufferedIOBase, most: int) -> Iterator[Int16[np.ndarray, " n"]]:
    """Yields 16-bit little-endian samples as they arrive, up to `most` at once. Half a sample at the end is left out.

    Raises:
        ValueError: the data begins with the header of an audio file.
    """
    rest = b""
    begun = False
    while data := _read_available(file, 2 * most):
        if not begun and data.startswith(_HEADERS):
            raise ValueError(
                f"standard input begins with {data[:4].decode()}, as a file of audio does; give that file itself, or its "
                "samples without a header"
            )
        begun = True
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield np.frombuffer(data[:whole], "<i2").astype(np.int16)


def _read_available(file: io.BufferedIOBase, most: int) -> bytes:
    """Reads the bytes that are available, at least one; returns none at the end and after an interrupt."""
    try:
        return file.read1(most)
    except KeyboardInterrupt:
        return b""


def playback(wave_n: Int16[np.ndarray, " n"], rate_hz: int, *, real_time: bool) -> Iterator[Int16[np.ndarray, " n"]]:
    """Yields a wave in pieces; in real time, a piece comes when its last sample would have been spoken."""
    piece = round((PIECE_S if real_time else 1.0) * rate_hz)
    begun = time.monotonic()
    for start in range(0, len(wave_n), piece):
        now_n = wave_n[start : start + piece]
        if real_time:
            time.sleep(max(0.0, begun + (start + len(now_n)) / rate_hz - time.monotonic()))
        yield now_n


def latency_stats(words: Sequence[FinalWord], audio_s: float, compute_s: float, algorithmic_s: float) -> LatencyStats:
    """Returns the latency statistics of a finished stream."""
    late = [word.latency_s for word in words]
    mean, median, p90 = (float(np.mean(late)), *map(float, np.quantile(late, (0.5, 0.9)))) if late else (None,) * 3
    return LatencyStats(
        words=len(words),
        segments=len({word.segment for word in words}),
        audio_s=audio_s,
        compute_s=compute_s,
        algorithmic_s=algorithmic_s,
        mean_s=mean,
        median_s=median,
        p90_s=p90,
    )


def as_text(event: FinalWord | LatencyStats) -> str:
    """Returns a line for the terminal."""
    if isinstance(event, FinalWord):
        return f"{event.start_s:8.2f} {event.end_s:8.2f}  {event.text}  (+{event.latency_s:.2f} s)"
    lines = [
        f"{event.words} word{'s' * (event.words != 1)} in {event.segments} segment{'s' * (event.segments != 1)} of "
        f"{event.audio_s:.1f} s of speech, algorithmic latency {event.algorithmic_s:.2f} s"
    ]
    if event.words:
        late = f"mean {event.mean_s:.2f} s, median {event.median_s:.2f} s, nine of ten within {event.p90_s:.2f} s"
        lines.append(f"words came after their ends: {late}")
    if event.real_time_factor is not None:
        lines.append(f"computed in {event.compute_s:.2f} s, real-time factor {event.real_time_factor:.3f}")
    return "\n".join(lines)


def as_json(event: FinalWord | LatencyStats) -> str:
    """Returns a line of JSON."""
    if isinstance(event, FinalWord):
        fields = asdict(event) | {"latency_s": event.latency_s}
    else:
        fields = asdict(event) | {"real_time_factor": event.real_time_factor}
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}
    return json.dumps(rounded, ensure_ascii=False)


RENDERERS = {"txt": as_text, "json": as_json}
