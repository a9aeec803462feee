"""The iterators over batches for training and for evaluation: prefetched waves together with tokens and keys."""

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
    """An iterator over (step, plan row, this host's part of the batch). Closing it ends its workers.

    `waited_s` and `audio_s` count from the start and never decrease. The training loop logs their differences.
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
          loader: decodes the waves of a step.
          tokens: one sequence for each example of the plan.
          keys: the value of `Batch.ids_b` for each example at each speed.
          steps: consecutive steps.
          workers: number of decoding processes; 0 decodes in threads of this process. Batches without audio start none.
        """
        self.audio_s = 0.0  # audio returned so far, without padding, on this host
        self._loader = loader
        self._tokens = tokens
        self._keys = keys
        self._steps = iter(steps)
        workers = workers if loader.largest_bytes else 0
        self._stream = PrefetchIterator(
            loader.without_texts() if workers else loader, steps, workers=workers, result_bytes=loader.largest_bytes
        )

    @property
    def waited_s(self) -> float:
        """The seconds that the consumer has waited for data."""
        return self._stream.waited_s

    def host_rows(self, row: PlanRow) -> slice:
        """Returns the rows of the plan's batch that this host reads."""
        return host_rows(row.shape, self._loader.host, self._loader.hosts)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[int, PlanRow, Batch]:
        wave_bn = next(self._stream)
        step = next(self._steps)
        row = self._loader.plan.row(step)
        mine = self.host_rows(row)
        examples_b = row.examples_b[mine]
        valid_b = row.valid_b[mine]
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
        """Ends threads and workers. No further batch can be read."""
        self._stream.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _padded_tokens(self, examples_b: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        tokens_bu = np.zeros((len(examples_b), limit), np.int32)
        lengths_b = np.zeros(len(examples_b), np.int32)
        for b, example in enumerate(examples_b.tolist()):
            if example >= 0:
                tokens_u = self._tokens[example]
                tokens_bu[b, : len(tokens_u)] = tokens_u
                lengths_b[b] = len(tokens_u)
        return tokens_bu, lengths_b


@dataclass(frozen=True)
class EvalBatch:
    """A batch of an evaluation with ids, references and speakers.

    The tuples cover the valid rows of all hosts, which come first in the global batch.
    """

    row: PlanRow
    batch: Batch  # the rows of this host
    sample_lengths: tuple[int, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]  # normalised references
    speakers: tuple[str, ...]


class EvalIterator:
    """An iterator over `EvalBatch`. It ends its workers when it is closed or exhausted."""

    def __init__(self, batches: Batches, ids: Sequence[str], texts: Sequence[str], speakers: Sequence[str]):
        """Joins the batches with ids, texts and speakers, which have one entry for each example of the plan."""
        self._batches = batches
        self._names = (ids, texts, speakers)

    @property
    def waited_s(self) -> float:
        """The seconds that the consumer has waited for data."""
        return self._batches.waited_s

    @property
    def audio_s(self) -> float:
        """The audio returned so far, in seconds, without padding, on this host."""
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
        """Ends threads and workers. No further batch can be read."""
        self._batches.close()

    def __enter__(self) -> "EvalIterator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
