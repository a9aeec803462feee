"""A pipe, a microphone or a file to words while it is heard, with the best model of a run."""

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

from jaxasr.data import decode_audio
from jaxasr.decode import MaxTokens
from jaxasr.experiment.experiment import Experiment, recogniser_of, tokenizer_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.workdir import Workdir
from jaxasr.nn.streaming import window_spec
from jaxasr.transcription.streaming import FinalWord, Streamer

PIPE = Path("-")  # standard input
PIECE_S = 0.02  # of a file, when it is played in real time
_HEADERS = (b"RIFF", b"fLaC", b"OggS", b"NIST")


@dataclass(frozen=True)
class LatencyStats:
    """How late the words of a stream came, in seconds behind their ends, and what it took to compute them."""

    words: int
    segments: int
    audio_s: float
    compute_s: float
    algorithmic_s: float  # chunk, look-ahead and feature window: what a sample waits for at most
    mean_s: float | None  # None: there was no word
    median_s: float | None
    p90_s: float | None  # nine of ten words came no later than this

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of computation for one of speech; below 1 the machine keeps up. None: nothing was heard."""
        return self.compute_s / self.audio_s if self.audio_s else None


def stream(
    experiment: Experiment,
    workdir: Workdir,
    source: Path = PIPE,
    *,
    real_time: bool = False,
    chunk_ms: float | None = None,
    reset_encoder_at_endpoint: bool = False,
    checkpoint: Choice = "best",
) -> Iterator[FinalWord | LatencyStats]:
    """The words of one stream as they become sure, and at its end how late they came.

    Args:
        source: an audio file; or `PIPE`: samples of 16 bits, little-endian, mono, at the experiment's rate, without a
            header. An interrupt while the pipe is waited for ends the stream as its end does.
        real_time: a file is played as fast as it was spoken; else as fast as it can be heard.
        chunk_ms, renews_encoder: as those of `Streamer`.
        checkpoint: "best", "last", a step, or "mean": of all that are kept.

    Raises:
        FileNotFoundError: there is no such run, checkpoint or file.
        ValueError: the model needs whole utterances, the checkpoint does not fit the experiment, or the file is no audio.
    """
    model = recogniser_of(experiment)
    window_spec(model)
    rate_hz = experiment.train_data.rate_hz
    wave_n = None if source == PIPE else _read(source, rate_hz)
    variables, _ = trained_variables(experiment, workdir, checkpoint)
    streamer = Streamer(
        model,
        variables,
        tokenizer_of(experiment.train_data),
        chunk_ms=chunk_ms,
        max_tokens=getattr(experiment.validation.search, "max_tokens", MaxTokens()),
        reset_encoder_at_endpoint=reset_encoder_at_endpoint,
    )
    hearing, words = streamer.start_session(), []
    if wave_n is None:
        pieces = pcm_pieces(cast(io.BufferedReader, sys.stdin.buffer), streamer.pacing.new_samples)
    else:
        pieces = playback(wave_n, rate_hz, real_time=real_time)
    for piece_n in pieces:
        for word in hearing.feed(piece_n):
            words.append(word)
            yield word
    for word in hearing.finish():
        words.append(word)
        yield word
    yield latency_stats(words, hearing.audio_s, hearing.compute_s, streamer.algorithmic_latency_s)


def pcm_pieces(file: io.BufferedIOBase, most: int) -> Iterator[Int16[np.ndarray, " n"]]:
    """Samples of 16 bits, little-endian, as they arrive, up to `most` at once. Half a sample at the end is left out.

    Raises:
        ValueError: what arrives begins as a file of audio does.
    """
    rest, begun = b"", False
    while data := _arrived(file, 2 * most):
        if not begun and data.startswith(_HEADERS):
            raise ValueError(
                f"standard input begins with {data[:4].decode()}, as a file of audio does; give that file itself, or its "
                "samples without a header"
            )
        begun, data = True, rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield np.frombuffer(data[:whole], "<i2").astype(np.int16)


def _arrived(file: io.BufferedIOBase, most: int) -> bytes:
    """What is there, as soon as there is anything; nothing at the end, and when the user has interrupted the waiting."""
    try:
        return file.read1(most)
    except KeyboardInterrupt:
        return b""


def playback(wave_n: Int16[np.ndarray, " n"], rate_hz: int, *, real_time: bool) -> Iterator[Int16[np.ndarray, " n"]]:
    """A wave piece by piece, in real time each one not before it is over."""
    piece, begun = round((PIECE_S if real_time else 1.0) * rate_hz), time.monotonic()
    for start in range(0, len(wave_n), piece):
        now_n = wave_n[start : start + piece]
        if real_time:
            time.sleep(max(0.0, begun + (start + len(now_n)) / rate_hz - time.monotonic()))
        yield now_n


def latency_stats(words: Sequence[FinalWord], audio_s: float, compute_s: float, algorithmic_s: float) -> LatencyStats:
    """The delays of a stream that is over."""
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


def as_text(heard: FinalWord | LatencyStats) -> str:
    """A line for people."""
    if isinstance(heard, FinalWord):
        return f"{heard.start_s:8.2f} {heard.end_s:8.2f}  {heard.text}  (+{heard.latency_s:.2f} s)"
    lines = [
        f"{heard.words} word{'s' * (heard.words != 1)} in {heard.segments} segment{'s' * (heard.segments != 1)} of "
        f"{heard.audio_s:.1f} s of speech, algorithmic latency "
        f"{heard.algorithmic_s:.2f} s"
    ]
    if heard.words:
        late = f"mean {heard.mean_s:.2f} s, median {heard.median_s:.2f} s, nine of ten within {heard.p90_s:.2f} s"
        lines.append(f"words came after their ends: {late}")
    if heard.real_time_factor is not None:
        lines.append(f"computed in {heard.compute_s:.2f} s, real-time factor {heard.real_time_factor:.3f}")
    return "\n".join(lines)


def as_json(heard: FinalWord | LatencyStats) -> str:
    """A line for programs."""
    if isinstance(heard, FinalWord):
        fields = asdict(heard) | {"latency_s": heard.latency_s}
    else:
        fields = asdict(heard) | {"real_time_factor": heard.real_time_factor}
    rounded = {name: round(each, 4) if isinstance(each, float) else each for name, each in fields.items()}
    return json.dumps(rounded, ensure_ascii=False)


RENDERERS = {"txt": as_text, "json": as_json}


def _read(path: Path, rate_hz: int) -> Int16[np.ndarray, " n"]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no audio file {path}; - is standard input, as samples of 16 bits at {rate_hz} Hz"
        )
    return decode_audio(path.read_bytes(), id=str(path), rate_hz=rate_hz)
