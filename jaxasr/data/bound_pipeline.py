"""A pipeline bound to prepared corpora. It reads texts and lengths, chooses shapes and plans batches, each on first use."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64, UInt32

from jaxasr import text
from jaxasr.data.audio_loader import AudioLoader, corpus_index
from jaxasr.data.batches import Batches, EvalIterator
from jaxasr.data.batching.buckets import ShapeChoice
from jaxasr.data.batching.epoch import Epoch
from jaxasr.data.batching.lengths import Lengths, RaggedTokens, keys_at_speed, samples_at_speed
from jaxasr.data.batching.plan import TrainingPlan, plan_evaluation
from jaxasr.data.batching.shape import Shape, describe_shapes
from jaxasr.data.columns.strings import chained, joined
from jaxasr.data.prepared.corpus import PreparedCorpus
from jaxasr.data.prepared.transcript_columns import transform_examples
from jaxasr.data.recording_conditions import RecordingCondition
from jaxasr.data.transforms import ExampleTable, FilterReason, Transform, find_tokenizer

_NO_LIMIT = 1 << 62  # steps


@dataclass(frozen=True)
class SkippedExample:
    """An example that training leaves out."""

    corpus: str
    id: str
    reason: str  # identical for all examples of one kind, so that they can be counted
    detail: str


@dataclass(frozen=True)
class BoundPipeline:
    """A pipeline on prepared corpora, as `Pipeline.open` returns it.

    Examples are numbered through all corpora, in the order of the corpora.
    """

    sources: tuple[PreparedCorpus, ...]
    weights: tuple[float | int, ...]  # one for each source
    transforms: tuple[Transform, ...]
    shape_choice: ShapeChoice
    shuffle_seed: int
    rate_hz: int
    condition: RecordingCondition | None = None  # of evaluations

    @property
    def tokenizer(self) -> text.Tokenizer:
        """The tokenizer of the Tokenize transform."""
        return find_tokenizer(self.transforms)

    @property
    def hash(self) -> str:
        """A hash of the examples in all corpora, 12 hex digits. With one corpus it is the corpus's `manifest_hash`."""
        hashes = [source.manifest_hash for source in self.sources]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]

    @cached_property
    def examples(self) -> ExampleTable:
        """The texts, tokens and filter reasons of all examples, after all transforms."""
        return transform_examples(self.sources, self.transforms)

    @cached_property
    def plan(self) -> TrainingPlan:
        """The batches of training.

        Raises:
          ValueError: no example is left to train on, or none fits a shape.
        """
        return TrainingPlan(self._train_lengths, self.shapes, self.shuffle_seed)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The static shapes of the training batches.

        Raises:
          ValueError: no example is left to train on.
        """
        if not (self._train_lengths.weights > 0).any():
            reasons = Counter(found.reason for found in self._filter_reasons.values()).most_common()
            listed = ", ".join(f"{count} ({reason})" for reason, count in reasons) or "the corpora are empty"
            raise ValueError(f"no example is left to train on; left out: {listed}")
        return self.shape_choice.shapes(*self._train_items, rate_hz=self.rate_hz)

    @cached_property
    def eval_plan(self) -> Epoch:
        """The batches of an evaluation."""
        lengths = self._lengths((self._eval_speed,), np.ones(len(self._keys)))
        shapes = self.shape_choice.eval_buckets(lengths.samples[:, 0], lengths.tokens, rate_hz=self.rate_hz)
        return plan_evaluation(lengths, shapes)

    @cached_property
    def skipped(self) -> tuple[SkippedExample, ...]:
        """The examples that training leaves out, with the reasons. An evaluation leaves none out."""
        reasons = dict(self._filter_reasons)
        for i in self.plan.unbucketable.tolist():
            detail = f"{self.examples.seconds[i]:.3f} s, {self._tokens.lengths[i]} tokens"
            reasons[i] = FilterReason("fits no shape at any speed", detail)
        return tuple(
            SkippedExample(
                self.sources[corpus_index(self._corpus_offsets, i)].name, self.ids[i], found.reason, found.detail
            )
            for i, found in sorted(reasons.items())
        )

    @property
    def skipped_counts(self) -> dict[str, int]:
        """The number of examples that training leaves out, by reason."""
        return dict(Counter(example.reason for example in self.skipped).most_common())

    @property
    def train_hours(self) -> float:
        """The hours of audio that training reads, no example counted twice; 0 for transcripts alone."""
        reads = self._train_lengths.weights > 0
        reads[self.plan.unbucketable] = False
        return float(self.examples.seconds[reads].sum()) / 3600 * self.shape_choice.audio

    @cached_property
    def ids(self) -> Sequence[str]:
        """The ids of all examples, in the order of the corpora."""
        return chained([source.ids for source in self.sources])

    @cached_property
    def speakers(self) -> Sequence[str]:
        """The speakers of all examples, in the order of the corpora."""
        return chained([source.speakers for source in self.sources])

    def describe(self) -> str:
        """Returns a text with the training shapes, their share of padding, and the examples that are left out."""
        table = describe_shapes(self.shapes, *self._train_items, rate_hz=self.rate_hz)
        epoch = self.plan.epoch(0)
        real = epoch.padding.real
        amount = f"{real / self.rate_hz / 3600:.2f} h" if self.shape_choice.audio else f"{real:,} tokens and ends"
        lines = [f"epoch 0: {len(epoch)} batches, {amount}, {epoch.padding.share:.2%} padding, unused rows included"]
        lines += [f"left out: {count} ({reason})" for reason, count in self.skipped_counts.items()]
        return "\n".join([table, *lines])

    def duration_quantiles_s(self, quantiles: tuple[float, float]) -> tuple[float, float]:
        """Returns two quantiles of the seconds of an example of training, at all its speeds; zeros without audio."""
        samples, _, weights = self._train_items
        low, high = np.quantile(samples, quantiles, weights=weights, method="inverted_cdf") / self.rate_hz
        return round(float(low), 3), round(float(high), 3)

    def batches(
        self, start_step: int, *, workers: int = 0, host: int = 0, hosts: int = 1, stop_step: int | None = None
    ) -> Batches:
        """Iterates over this host's part of the training batches from `start_step` on.

        Order and content are those of `plan`. They do not depend on the number of workers or on the start step.

        Args:
          start_step: the first step, counted through all epochs.
          workers: number of decoding processes; 0 decodes in threads of this process.
          host: index of this host, from 0 to `hosts` - 1.
          hosts: number of hosts. The examples of every shape are split evenly over them, in order.
          stop_step: the step before which the iteration stops; None: it never stops.

        Raises:
          ValueError: a shape's examples cannot be split over the hosts.
        """
        if start_step < 0:
            raise ValueError(f"start_step {start_step}: steps count from 0")
        loader = self.audio_loader(host=host, hosts=hosts)
        steps = range(start_step, _NO_LIMIT if stop_step is None else stop_step)
        keys = np.stack([keys_at_speed(self._keys, factor) for factor in self.examples.speeds], axis=1)
        return Batches(loader, self._tokens, keys, steps, workers=workers)

    def eval_batches(self, *, workers: int = 0, host: int = 0, hosts: int = 1, start: int = 0) -> EvalIterator:
        """Iterates over every example exactly once, from short to long, at its own speed or that of the condition.

        No example is left out. A text that could not be normalised is its own reference. A text that could not be encoded
        has no tokens. `start` is the first batch. Other arguments and errors are those of `batches`.
        """
        loader = replace(self._audio_loader(self.eval_plan, (self._eval_speed,), host, hosts), condition=self.condition)
        steps = range(start, len(self.eval_plan))
        batches = Batches(loader, self._tokens, self._keys[:, None], steps, workers=workers)
        return EvalIterator(batches, self.ids, self.examples.texts, self.speakers)

    @property
    def _eval_speed(self) -> float:
        return 1.0 if self.condition is None else self.condition.speed

    def audio_loader(self, *, host: int = 0, hosts: int = 1) -> AudioLoader:
        """Returns the loader that decodes a step of training without prefetching."""
        return self._audio_loader(self.plan, self.examples.speeds, host, hosts)

    def read(self, example: int) -> bytes:
        """Returns the compressed audio of an example."""
        corpus = corpus_index(self._corpus_offsets, example)
        return self.sources[corpus].read(example - int(self._corpus_offsets[corpus]))

    def _audio_loader(
        self, plan: TrainingPlan | Epoch, speeds: tuple[float, ...], host: int, hosts: int
    ) -> AudioLoader:
        return AudioLoader(plan, self.sources, self._corpus_offsets, speeds, self.rate_hz, host, hosts)

    @cached_property
    def _corpus_offsets(self) -> Int64[np.ndarray, " corpora"]:
        """The index of each corpus's first example."""
        return np.cumsum([0, *(len(source) for source in self.sources[:-1])])

    @property
    def _tokens(self) -> RaggedTokens:
        tokens = self.examples.tokens
        if tokens is None:
            raise ValueError("a pipeline without Tokenize has no tokens")
        return tokens

    @cached_property
    def _keys(self) -> UInt32[np.ndarray, " examples"]:
        return joined([source.keys for source in self.sources])

    @cached_property
    def _filter_reasons(self) -> dict[int, FilterReason]:
        """The first reason to leave out each example that has one."""
        return dict(reversed(self.examples.filtered))

    @cached_property
    def _train_lengths(self) -> Lengths:
        pairs = zip(self.sources, self.weights, strict=True)
        weights = np.concatenate([np.full(len(source), weight, np.float64) for source, weight in pairs])
        weights[list(self._filter_reasons)] = 0.0
        return self._lengths(self.examples.speeds, weights)

    def _lengths(self, speeds: tuple[float, ...], weights: Float64[np.ndarray, " examples"]) -> Lengths:
        """Returns the lengths. Batches of transcripts alone have 0 samples, even if the corpus has audio."""
        samples = joined([source.samples for source in self.sources]) * self.shape_choice.audio
        rates_hz = joined([source.rates_hz for source in self.sources])
        columns = [samples_at_speed(samples, rates_hz, factor=factor, rate_hz=self.rate_hz) for factor in speeds]
        return Lengths(np.stack(columns, axis=1), self._tokens.lengths, self._keys, weights)

    @property
    def _train_items(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The samples, tokens and weight of every kept example at every speed."""
        lengths = self._train_lengths
        kept = lengths.weights > 0
        speeds = lengths.samples.shape[1]
        samples = lengths.samples[kept].reshape(-1)
        return samples, np.repeat(lengths.tokens[kept], speeds), np.repeat(lengths.weights[kept] / speeds, speeds)
