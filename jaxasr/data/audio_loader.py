"""From a row of the plan to samples: audio bytes decoded, resampled to rate and speed, laid into one padded array."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import soxr
from jaxtyping import Int16, Int64

from jaxasr.data.audio import decode_native
from jaxasr.data.batching.epoch import PlanRow
from jaxasr.data.batching.lengths import speed_ratio
from jaxasr.data.batching.shape import Shape, host_rows
from jaxasr.data.prepared.corpus import PreparedCorpus


@runtime_checkable
class BatchPlan(Protocol):
    """A plan, or one epoch of it."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The static shapes of its batches."""
        ...

    def row(self, step: int, /) -> PlanRow:
        """What a step reads."""
        ...


@dataclass(frozen=True)
class AudioLoader:
    """`waves(step)` decodes what the plan names for this host. It can be pickled into worker processes."""

    plan: BatchPlan
    sources: tuple[PreparedCorpus, ...]
    corpus_offsets: Int64[np.ndarray, " corpora"]  # the number of each corpus's first example in the plan
    speeds: tuple[float, ...]
    rate_hz: int
    host: int
    hosts: int

    def __post_init__(self):
        if not 0 <= self.host < self.hosts:
            raise ValueError(f"host {self.host} of {self.hosts}: hosts count from 0")
        for shape in self.plan.shapes:
            host_rows(shape, self.host, self.hosts)

    def __call__(self, step: int) -> Int16[np.ndarray, "b n"]:
        """The padded waves; of transcripts alone they have no sample, and nothing is decoded.

        Raises:
          ValueError: audio that is damaged, or not as long as it was when it was prepared; the utterance is named.
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
        """Of the largest result."""
        return max(2 * shape.samples * shape.examples for shape in self.plan.shapes) // self.hosts

    def without_texts(self) -> "AudioLoader":
        """The same without the transcripts, which workers do not need."""
        return replace(self, sources=tuple(replace(source, texts=[], speakers=[]) for source in self.sources))

    def _decode(self, example: int, factor: float, planned: int) -> Int16[np.ndarray, " n"]:
        corpus = corpus_index(self.corpus_offsets, example)
        source, place = self.sources[corpus], example - int(self.corpus_offsets[corpus])
        name = f"{source.ids[place]!r} of {source.name} {source.split}"
        wave_n, native_hz = decode_native(source.read(place), id=name)
        ratio = speed_ratio(factor)
        if native_hz != self.rate_hz or ratio != 1:
            wave_n = soxr.resample(wave_n, native_hz * ratio.numerator, self.rate_hz * ratio.denominator)
        if len(wave_n) != planned:
            raise ValueError(
                f"prepared corpus is damaged: {name} has {len(wave_n)} samples at {self.rate_hz} Hz and speed "
                f"{factor}, by its index it should have {planned}: prepare it again with `jaxasr prepare "
                f"{source.name} --overwrite`"
            )
        return wave_n


def corpus_index(corpus_offsets: Int64[np.ndarray, " corpora"], example: int) -> int:
    """The place of the corpus that an example belongs to; `firsts` are the numbers of the corpora's first examples."""
    return int(np.searchsorted(corpus_offsets, example, side="right")) - 1
