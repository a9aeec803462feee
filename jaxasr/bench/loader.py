"""How fast the loader is: audio seconds a second in padded batches, beside soundfile alone on the same bytes.

Both are measured in turn, within one run and with as many processes. Where other work shares the machine, look at the
figures by CPU second: they do not count the time in which others had the processor.
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
from jaxasr.data.bound_pipeline import OpenPipeline
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.pipeline import Pipeline
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.prepared.prepare import prepare
from jaxasr.data.transforms import Tokenize

_CLIPS = 160  # decoded over and over by soundfile alone; and made, where no corpus is given
_ROUNDS = 5


@dataclass(frozen=True)
class LoaderSpeed:
    """Audio seconds a second, medians over the rounds."""

    workers: int  # processes; 0: threads of one
    loader: float  # from prepared records to padded 16-bit batches in the consumer's hands
    decoding: float  # soundfile alone, in as many processes, from bytes in memory
    ratio: float  # of the two, median of the rounds
    loader_cpu: float  # audio seconds a CPU second, in one thread of this process: reading, decoding, padding
    decoding_cpu: float  # the same of soundfile alone
    start_s: float  # from the call to the first batch

    def lines(self) -> list[str]:
        """For people."""
        where = f"{self.workers} worker processes" if self.workers else "threads of one process"
        return [
            f"loader            {self.loader:9,.0f} audio-s/s in {where}, first batch after {self.start_s:.1f} s",
            f"soundfile alone   {self.decoding:9,.0f} audio-s/s in as many; ratio {self.ratio:.2f}",
            f"by CPU second     {self.loader_cpu:9,.0f} audio-s, soundfile alone {self.decoding_cpu:,.0f}; "
            f"ratio {self.loader_cpu / self.decoding_cpu:.2f}",
        ]


def bench_loader(opened: OpenPipeline, *, workers: int = 2, seconds: float = 10.0) -> LoaderSpeed:
    """Measures the loader on the batches of training, from step 0 on.

    Args:
      opened: any pipeline; `synthetic_speech` gives one where nothing is prepared.
      workers: processes; 0 measures threads of this one.
      seconds: of measuring, half for the loader and half for soundfile, after both are warm.
    """
    each_s = seconds / (2 * _ROUNDS)
    began = time.perf_counter()
    with opened.batches(0, workers=workers) as batches, _decoders(opened, workers) as decode:
        next(batches)
        start_s = time.perf_counter() - began
        decode(each_s)
        rounds = [(_load(batches, workers, each_s), decode(each_s)) for _ in range(_ROUNDS)]
    return LoaderSpeed(
        workers=workers,
        loader=statistics.median(loaded for loaded, _ in rounds),
        loader_cpu=_loader_by_cpu(opened, each_s),
        decoding_cpu=_decode(_clips(opened), each_s, clock=time.thread_time),
        decoding=statistics.median(decoded for _, decoded in rounds),
        ratio=statistics.median(loaded / decoded for loaded, decoded in rounds),
        start_s=start_s,
    )


@contextmanager
def synthetic_speech(*, clips: int = _CLIPS, seconds_per_batch: float = 320.0) -> Iterator[OpenPipeline]:
    """A pipeline on noise with the rhythm and the spectrum of speech: 16 kHz FLAC of 8 to 15 s, gone when it is left."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noise"
        source.mkdir()
        rows = []
        for clip in range(clips):
            soundfile.write(source / f"{clip}.flac", _babble(rng, rng.uniform(8.0, 15.0)), 16_000, subtype="PCM_16")
            rows.append({"id": f"{clip}", "audio": f"{clip}.flac", "text": "NOISE", "split": "train"})
        (source / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        prepare(Manifest(source), Path(folder))  # pyright: ignore[reportArgumentType] (a ClassVar is as good)
        transforms = (Tokenize(text.Characters("EINOS")),)
        shapes = ChooseBuckets(count=4, seconds_per_batch=seconds_per_batch)
        yield Pipeline(Corpus("noise", "train"), transforms, shapes, shuffle_seed=0).open(Path(folder))


def _load(batches: Batches, workers: int, seconds: float) -> float:
    """Audio seconds a second; what lay ready when the clock would have started is taken away first."""
    for _ in range(5 * max(workers, 1)):
        next(batches)
    began, before_s = time.perf_counter(), batches.audio_s
    while time.perf_counter() - began < seconds:
        next(batches)
    return (batches.audio_s - before_s) / (time.perf_counter() - began)


@contextmanager
def _decoders(opened: OpenPipeline, workers: int):
    """A function of seconds: how much audio soundfile alone decodes in a second, in so many processes or threads."""
    clips = _clips(opened)
    count = workers or 2
    pool: Executor = (
        ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) if workers else ThreadPoolExecutor(count)
    )
    with pool:

        def decode(seconds: float) -> float:
            return sum(pool.map(_decode, [clips] * count, [seconds] * count))

        yield decode


def _clips(opened: OpenPipeline) -> list[bytes]:
    """Audio as it was prepared, of the examples of the first batches."""
    steps = range(len(opened.plan.epoch(0)))
    examples = [int(i) for step in steps for i in opened.plan.row(step).examples_b if i >= 0]
    return [opened.read(i) for i in examples[:_CLIPS]]


def _loader_by_cpu(opened: OpenPipeline, seconds: float) -> float:
    waves, began, samples, step = opened.waves(), time.thread_time(), 0, 0
    while time.thread_time() - began < seconds:
        waves(step)
        samples, step = samples + opened.plan.row(step).padding.useful, step + 1
    return samples / opened.rate_hz / (time.thread_time() - began)


def _decode(clips: Sequence[bytes], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    began, audio_s, place = clock(), 0.0, 0
    while clock() - began < seconds:
        wave, rate_hz = soundfile.read(io.BytesIO(clips[place % len(clips)]), dtype="int16")
        audio_s, place = audio_s + len(wave) / rate_hz, place + 1
    return audio_s / (clock() - began)


def _babble(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise that falls with frequency and swells four times a second; pauses are not silent."""
    samples = round(seconds * 16_000)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / 16_000)
    colored = np.fft.irfft(spectrum / (1 + (hz / 500) ** 2), samples)
    swell = np.maximum(0.02, np.sin(2 * np.pi * 4 * np.arange(samples) / 16_000))
    return 0.1 * colored / colored.std() * swell
