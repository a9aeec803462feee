"""The loader of padded audio batches: decodes the examples of a plan row and resamples them to the rate and speed."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import soxr
from jaxtyping import Int16, Int64

from jaxasr.data.audio import decode_native
from jaxasr.data.batching.epoch import PlanRow
from jaxasr.data.batching.lengths import speed_ratio
from jaxasr.data.batching.shape import Shape, host_rows
from jaxasr.data.prepared.corpus import PreparedCorpus, example_key
from jaxasr.data.recording_conditions import RecordingCondition


@runtime_checkable
class BatchPlan(Protocol):
    """A batch plan of any length: all epochs of training, or one epoch."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The static shapes of the batches."""
        ...

    def row(self, step: int, /) -> PlanRow:
        """Returns the batch that a step reads."""
        ...


@dataclass(frozen=True)
class AudioLoader:
    """A loader that decodes this host's examples of a step. It can be pickled into worker processes."""

    plan: BatchPlan
    sources: tuple[PreparedCorpus, ...]
    corpus_offsets: Int64[np.ndarray, " corpora"]  # index of each corpus's first example in the plan
    speeds: tuple[float, ...]
    rate_hz: int
    host: int
    hosts: int
    condition: RecordingCondition | None = None  # that all utterances are put under

    def __post_init__(self):
        if not 0 <= self.host < self.hosts:
            raise ValueError(f"host {self.host} of {self.hosts}: hosts count from 0")
        for shape in self.plan.shapes:
            host_rows(shape, self.host, self.hosts)

    def __call__(self, step: int) -> Int16[np.ndarray, "b n"]:
        """Returns the padded waves of a step. Batches of transcripts alone have waves of 0 samples.

        Raises:
          ValueError: audio is damaged or has another length than when it was prepared. The message names the utterance.
        """
        row = self.plan.row(step)
        mine = host_rows(row.shape, self.host, self.hosts)
        wave_bn = np.zeros((mine.stop - mine.start, row.shape.samples), np.int16)
        columns = zip(row.examples_b[mine], row.speeds_b[mine], row.sample_lengths_b[mine], strict=True)
        for wave_n, (example, speed, samples) in zip(wave_bn, columns, strict=True):
            if example >= 0 and samples:
                wave_n[:samples] = self._decode(int(example), self.speeds[speed], int(samples))
        return wave_bn

    @property
    def largest_bytes(self) -> int:
        """The size of the largest batch of waves on this host."""
        return max(2 * shape.samples * shape.examples for shape in self.plan.shapes) // self.hosts

    def without_texts(self) -> "AudioLoader":
        """Returns a loader without transcripts and speakers, which worker processes do not need."""
        return replace(self, sources=tuple(replace(source, texts=[], speakers=[]) for source in self.sources))

    def _decode(self, example: int, factor: float, planned: int) -> Int16[np.ndarray, " n"]:
        corpus = corpus_index(self.corpus_offsets, example)
        source = self.sources[corpus]
        index = example - int(self.corpus_offsets[corpus])
        name = f"{source.ids[index]!r} of {source.name} {source.split}"
        wave_n, native_hz = decode_native(source.read(index), id=name)
        ratio = speed_ratio(factor)
        if native_hz != self.rate_hz or ratio != 1:
            wave_n = soxr.resample(wave_n, native_hz * ratio.numerator, self.rate_hz * ratio.denominator)
        if len(wave_n) != planned:
            raise ValueError(
                f"prepared corpus is damaged: {name} has {len(wave_n)} samples at {self.rate_hz} Hz and speed "
                f"{factor}, by its index it should have {planned}: prepare it again with `jaxasr prepare "
                f"{source.name} --overwrite`"
            )
        if self.condition is not None:
            return self.condition(wave_n, rate_hz=self.rate_hz, key=example_key(source.name, source.ids[index]))
        return wave_n


def corpus_index(corpus_offsets: Int64[np.ndarray, " corpora"], example: int) -> int:
    """Returns the index of the corpus that an example belongs to.

    Args:
      corpus_offsets: index of each corpus's first example.
      example: index among the examples of all corpora.
    """
    return int(np.searchsorted(corpus_offsets, example, side="right")) - 1
