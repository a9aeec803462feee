"""The benchmark of the loader: seconds of audio a second in padded batches, beside soundfile alone on the same bytes.

The two are measured alternately in one run, with the same number of processes. On a machine with other work, the figures
by CPU second are the reliable ones, because they do not count the time in which other processes have the processor.
"""

import io
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from jaxasr import text
from jaxasr.data.batches import Batches
from jaxasr.data.batching.buckets import ChooseBuckets
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.pipeline import Pipeline
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.prepared.prepare import prepare
from jaxasr.data.transforms import Tokenize

_CLIPS = 160  # decoded repeatedly by soundfile alone; also the number of synthetic clips
_ROUNDS = 5


@dataclass(frozen=True)
class LoaderThroughput:
    """The speed of the loader in seconds of audio a second, as medians over the rounds."""

    workers: int  # processes; 0: threads of one process
    loader: float  # from prepared records to padded 16-bit batches at the consumer
    decoding: float  # soundfile alone in the same number of processes, from bytes in memory
    ratio: float  # loader over decoding, median of the rounds
    loader_cpu: float  # seconds of audio a CPU second in one thread: reading, decoding, padding
    decoding_cpu: float  # seconds of audio a CPU second of soundfile alone
    start_s: float  # time to the first batch

    def lines(self) -> list[str]:
        """Returns lines that describe the speeds."""
        where = f"{self.workers} worker processes" if self.workers else "threads of one process"
        return [
            f"loader            {self.loader:9,.0f} audio-s/s in {where}, first batch after {self.start_s:.1f} s",
            f"soundfile alone   {self.decoding:9,.0f} audio-s/s in as many; ratio {self.ratio:.2f}",
            f"by CPU second     {self.loader_cpu:9,.0f} audio-s, soundfile alone {self.decoding_cpu:,.0f}; "
            f"ratio {self.loader_cpu / self.decoding_cpu:.2f}",
        ]


def bench_loader(opened: BoundPipeline, *, workers: int = 2, seconds: float = 10.0) -> LoaderThroughput:
    """Measures the loader on the training batches, from step 0 on.

    Args:
        opened: any pipeline; `synthetic_speech` yields one if no corpus is prepared.
        workers: loader processes; 0 measures threads of this process.
        seconds: the time of measuring after a warm-up, one half for the loader and one half for soundfile.
    """
    round_s = seconds / (2 * _ROUNDS)
    began = time.perf_counter()
    with opened.batches(0, workers=workers) as batches, _decoders(opened, workers) as decode:
        next(batches)
        start_s = time.perf_counter() - began
        decode(round_s)
        rounds = [(_loader_rate(batches, workers, round_s), decode(round_s)) for _ in range(_ROUNDS)]
    return LoaderThroughput(
        workers=workers,
        loader=statistics.median(loaded for loaded, _ in rounds),
        loader_cpu=_loader_rate_by_cpu(opened, round_s),
        decoding_cpu=_decoding_rate(_clips(opened), round_s, clock=time.thread_time),
        decoding=statistics.median(decoded for _, decoded in rounds),
        ratio=statistics.median(loaded / decoded for loaded, decoded in rounds),
        start_s=start_s,
    )


@contextmanager
def synthetic_speech(*, clips: int = _CLIPS, seconds_per_batch: float = 320.0) -> Iterator[BoundPipeline]:
    """Yields a pipeline on temporary 16 kHz FLAC files of 8 to 15 s: noise with the rhythm and the spectrum of speech."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noise"
        source.mkdir()
        rows = []
        for clip in range(clips):
            noise_n = _speech_like_noise(rng, rng.uniform(8.0, 15.0))
            soundfile.write(source / f"{clip}.flac", noise_n, 16_000, subtype="PCM_16")
            rows.append({"id": f"{clip}", "audio": f"{clip}.flac", "text": "NOISE", "split": "train"})
        (source / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        prepare(Manifest(source), Path(folder))  # pyright: ignore[reportArgumentType] (a ClassVar is as good)
        transforms = (Tokenize(text.Characters("EINOS")),)
        shapes = ChooseBuckets(count=4, seconds_per_batch=seconds_per_batch)
        yield Pipeline(Corpus("noise", "train"), transforms, shapes, shuffle_seed=0).open(Path(folder))


def _loader_rate(batches: Batches, workers: int, seconds: float) -> float:
    """Returns the seconds of audio a second, measured after the prefetched batches are used up."""
    for _ in range(5 * max(workers, 1)):
        next(batches)
    before_s = batches.audio_s
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
    return (batches.audio_s - before_s) / (time.perf_counter() - began)


@contextmanager
def _decoders(opened: BoundPipeline, workers: int):
    """Yields a function that measures for so many seconds how much audio soundfile alone decodes a second."""
    clips = _clips(opened)
    count = workers or 2
    pool: Executor = (
        ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) if workers else ThreadPoolExecutor(count)
    )
    with pool:

        def decode(seconds: float) -> float:
            return sum(pool.map(_decoding_rate, [clips] * count, [seconds] * count))

        yield decode


def _clips(opened: BoundPipeline) -> list[bytes]:
    """Returns the prepared audio of the examples of the first batches."""
    steps = range(len(opened.plan.epoch(0)))
    examples = [int(i) for step in steps for i in opened.plan.row(step).examples_b if i >= 0]
    return [opened.read(i) for i in examples[:_CLIPS]]


def _loader_rate_by_cpu(opened: BoundPipeline, seconds: float) -> float:
    load_waves = opened.audio_loader()
    samples = 0
    step = 0
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        load_waves(step)
        samples += opened.plan.row(step).padding.real
        step += 1
    return samples / opened.rate_hz / (time.thread_time() - began)


def _decoding_rate(clips: Sequence[bytes], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    audio_s = 0.0
    number = 0
    began = clock()
    while clock() - began < seconds:
        wave, rate_hz = soundfile.read(io.BytesIO(clips[number % len(clips)]), dtype="int16")
        audio_s += len(wave) / rate_hz
        number += 1
    return audio_s / (clock() - began)


def _speech_like_noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Returns noise that falls with frequency and swells four times a second; its pauses are not silent."""
    samples = round(seconds * 16_000)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / 16_000)
    colored = np.fft.irfft(spectrum / (1 + (hz / 500) ** 2), samples)
    swell = np.maximum(0.02, np.sin(2 * np.pi * 4 * np.arange(samples) / 16_000))
    return 0.1 * colored / colored.std() * swell
