"""Batches, as they leave the loader: waves from the stream, tokens and keys laid beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt32

from jaxasr.data.audio_loader import AudioLoader
from jaxasr.data.batching.epoch import PlanRow
from jaxasr.data.batching.lengths import RaggedTokens
from jaxasr.data.batching.shape import host_rows
from jaxasr.data.prefetch import PrefetchIterator
from jaxasr.records import Batch


class Batches:
    """Iterates over (step, row of the plan, this host's part of the batch); ends its workers when it is closed.

    `waited_s` and `audio_s` only grow: the loop logs how much they grew.
    """

    def __init__(
        self,
        loader: AudioLoader,
        tokens: RaggedTokens,
        keys: UInt32[np.ndarray, "examples speeds"],
        steps: range,
        *,
        workers: int,
    ):
        """Starts decoding for the steps of the range.

        Args:
          waves: what is decoded at a step.
          tokens: of every example of the plan.
          keys: of every example at every speed: what `ids_b` says.
          steps: consecutive.
          workers: processes that decode; 0 is threads of this one. Where there is no audio there are none.
        """
        self.audio_s = 0.0  # given out so far, without padding, on this host
        self._loader, self._tokens, self._keys, self._steps = loader, tokens, keys, iter(steps)
        workers = workers if loader.largest_bytes else 0
        self._stream = PrefetchIterator(
            loader.without_texts() if workers else loader, steps, workers=workers, result_bytes=loader.largest_bytes
        )

    @property
    def waited_s(self) -> float:
        """Seconds for which the consumer waited for data."""
        return self._stream.waited_s

    def host_rows(self, row: PlanRow) -> slice:
        """The rows of the plan's batch that are read on this host."""
        return host_rows(row.shape, self._loader.host, self._loader.hosts)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[int, PlanRow, Batch]:
        wave_bn = next(self._stream)
        step = next(self._steps)
        row = self._loader.plan.row(step)
        mine = self.host_rows(row)
        examples_b, valid_b = row.examples_b[mine], row.valid_b[mine]
        tokens_bu, token_lengths_b = self._padded_tokens(examples_b, row.shape.tokens)
        batch = Batch(
            wave_bn=wave_bn,
            sample_lengths_b=row.sample_lengths_b[mine].astype(np.int32),
            tokens_bu=tokens_bu,
            token_lengths_b=token_lengths_b,
            ids_b=np.where(valid_b, self._keys[examples_b, row.speeds_b[mine]], np.uint32(0)),
            valid_b=valid_b,
        )
        self.audio_s += float(row.sample_lengths_b[mine].sum()) / self._loader.rate_hz
        return step, row, batch

    def close(self) -> None:
        """Ends threads and workers; nothing more can be read."""
        self._stream.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _padded_tokens(self, examples_b: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        tokens_bu, lengths_b = np.zeros((len(examples_b), limit), np.int32), np.zeros(len(examples_b), np.int32)
        for b, example in enumerate(examples_b.tolist()):
            if example >= 0:
                tokens_u = self._tokens[example]
                tokens_bu[b, : len(tokens_u)] = tokens_u
                lengths_b[b] = len(tokens_u)
        return tokens_bu, lengths_b


@dataclass(frozen=True)
class EvalBatch:
    """A batch of an evaluation, and who said what in it: the valid rows of all hosts, which come first."""

    row: PlanRow
    batch: Batch  # the rows of this host
    sample_lengths: tuple[int, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]  # references, normalised
    speakers: tuple[str, ...]


class EvalIterator:
    """Iterates over `Labelled` batches; ends its workers when it is closed or has come to its end."""

    def __init__(self, batches: Batches, ids: Sequence[str], texts: Sequence[str], speakers: Sequence[str]):
        """Lays the names beside the batches; all three are of every example of the plan."""
        self._batches, self._names = batches, (ids, texts, speakers)

    @property
    def waited_s(self) -> float:
        """Seconds for which the consumer waited for data."""
        return self._batches.waited_s

    @property
    def audio_s(self) -> float:
        """Audio given out so far, without padding, on this host."""
        return self._batches.audio_s

    def __iter__(self) -> "EvalIterator":
        return self

    def __next__(self) -> EvalBatch:
        _, row, batch = next(self._batches)
        examples: list[int] = row.examples_b[row.examples_b >= 0].tolist()
        ids, texts, speakers = self._names
        return EvalBatch(
            row=row,
            batch=batch,
            sample_lengths=tuple(row.sample_lengths_b[row.examples_b >= 0].tolist()),
            ids=tuple(ids[example] for example in examples),
            texts=tuple(texts[example] for example in examples),
            speakers=tuple(speakers[example] for example in examples),
        )

    def close(self) -> None:
        """Ends threads and workers; nothing more can be read."""
        self._batches.close()

    def __enter__(self) -> "EvalIterator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
