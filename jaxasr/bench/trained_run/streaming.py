"""The benchmark of streaming: the words of an eval as streams, the latency of words and the time of computation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from jaxasr.data import decode_audio
from jaxasr.experiment import load
from jaxasr.experiment.restore import Choice
from jaxasr.files import default_data_dir
from jaxasr.score.alignment import count_words, total
from jaxasr.transcription.live import LatencyStats, as_text, latency_stats, load_streamer, playback
from jaxasr.transcription.streaming import FinalWord, Streamer


@dataclass(frozen=True)
class StreamingResult:
    """The words of all streams, each with its reference, and their latency."""

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    first_segments: tuple[str, ...]  # the words before the first endpoint
    latency: LatencyStats

    def lines(self) -> Iterator[str]:
        """Yields the lines of the benchmark."""
        for name, texts in (("streams", self.hypotheses), ("their first segments", self.first_segments)):
            counts = count_words(self.references, texts)
            whole = sum(count.errors == 0 for count in counts)
            yield f"{name}: WER {total(counts).rate:.2%}, {whole} of {len(texts)} without error"
        yield from as_text(self.latency).splitlines()


def bench_streaming(
    *,
    experiment: str = "",
    workdir: Path | None = None,
    checkpoint: Choice = "best",
    data_dir: Path | None = None,
    utterances: int | None = None,
) -> Iterator[str]:
    """Measures the streams of a run: the word error rate, the latency of words and the time of computation.

    Every utterance is a stream of its own, fed a second at a time, as `jaxasr transcribe --stream` hears a file.

    Args:
        experiment: FILE.py or FILE.py:function.
        workdir: its run.
        utterances: number of utterances of the first eval, from its beginning; None: all.

    Raises:
        ValueError: experiment or run are missing, or the model needs whole utterances.
    """
    if not experiment or workdir is None:
        raise ValueError("bench streaming measures a run: give --experiment FILE.py and --workdir RUN")
    loaded = load(experiment, {})
    streamer = load_streamer(loaded, workdir, checkpoint=checkpoint)
    name, split = next(iter(loaded.evals.items()), ("validation", loaded.validation))
    opened = split.data.open(data_dir or default_data_dir())
    count = len(opened.ids) if utterances is None else min(utterances, len(opened.ids))
    yield f"{count} utterances of {name}"
    rate_hz = loaded.train_data.rate_hz
    waves = (decode_audio(opened.read(i), id=opened.ids[i], rate_hz=rate_hz) for i in range(count))
    yield from measure(streamer, waves, [str(opened.examples.texts[i]) for i in range(count)]).lines()


def measure(streamer: Streamer, waves: Iterable[Int16[np.ndarray, " _"]], references: Sequence[str]) -> StreamingResult:
    """Streams every wave, at the rate of the streamer, and returns words and latency."""
    hypotheses: list[str] = []
    first: list[str] = []
    all_words: list[FinalWord] = []
    audio_s = compute_s = 0.0
    segments = 0
    for wave_n in waves:
        session = streamer.start_session()
        words = [word for piece in playback(wave_n, streamer.rate_hz, real_time=False) for word in session.feed(piece)]
        words += session.finish()
        hypotheses.append(" ".join(word.text for word in words))
        first.append(" ".join(word.text for word in words if word.segment == 0))
        all_words += [replace(word, segment=word.segment + segments) for word in words]
        segments += 1 + max((word.segment for word in words), default=0)
        audio_s += session.audio_s
        compute_s += session.compute_s
    latency = latency_stats(all_words, audio_s, compute_s, streamer.algorithmic_latency_s)
    return StreamingResult(tuple(references), tuple(hypotheses), tuple(first), latency)
