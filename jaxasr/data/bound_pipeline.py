"""A pipeline on the data of this machine: texts and lengths read, shapes chosen, batches planned, each when asked for."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, reduce

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
from jaxasr.data.prepared.corpus import PreparedCorpus, example_key
from jaxasr.data.transforms import ExampleTable, FilterReason, Transform, find_tokenizer

_NO_LIMIT = 1 << 62  # steps


@dataclass(frozen=True)
class SkippedExample:
    """An example that training leaves out."""

    corpus: str
    id: str
    reason: str  # the same words for all of a kind
    detail: str


@dataclass(frozen=True)
class BoundPipeline:
    """What `Pipeline.open` gives. All examples have one numbering: those of the first corpus, of the second, ..."""

    sources: tuple[PreparedCorpus, ...]
    weights: tuple[float | int, ...]  # one a source
    transforms: tuple[Transform, ...]
    shape_choice: ShapeChoice
    shuffle_seed: int
    rate_hz: int

    @property
    def tokenizer(self) -> text.Tokenizer:
        """Of the one Tokenize."""
        return find_tokenizer(self.transforms)

    @property
    def hash(self) -> str:
        """12 hex digits of the examples in all corpora; of one corpus, its own."""
        hashes = [source.manifest_hash for source in self.sources]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]

    @cached_property
    def examples(self) -> ExampleTable:
        """Texts, tokens and faults of all examples, after all transforms."""
        seconds = np.concatenate([source.samples / source.rates_hz for source in self.sources])
        start = ExampleTable(seconds, [each for source in self.sources for each in source.texts])
        return reduce(lambda draft, transform: transform.apply(draft), self.transforms, start)

    @cached_property
    def plan(self) -> TrainingPlan:
        """The batches of training.

        Raises:
          ValueError: no example is left, or none fits a shape.
        """
        return TrainingPlan(self._train_lengths, self.shapes, self.shuffle_seed)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The static shapes of training's batches.

        Raises:
          ValueError: no example is left to train on.
        """
        if not (self._train_lengths.weights > 0).any():
            reasons = Counter(fault.reason for fault in self._filter_reasons.values()).most_common()
            told = ", ".join(f"{count} ({reason})" for reason, count in reasons) or "the corpora are empty"
            raise ValueError(f"no example is left to train on; left out: {told}")
        return self.shape_choice.shapes(*self._train_items, rate_hz=self.rate_hz)

    @cached_property
    def eval_plan(self) -> Epoch:
        """The batches of an evaluation."""
        lengths = self._lengths((1.0,), np.ones(len(self._keys)))
        shapes = self.shape_choice.eval_buckets(lengths.samples[:, 0], lengths.tokens, rate_hz=self.rate_hz)
        return plan_evaluation(lengths, shapes)

    @cached_property
    def skipped(self) -> tuple[SkippedExample, ...]:
        """What training leaves out, and why. (An evaluation leaves nothing out.)"""
        faults = dict(self._filter_reasons)
        for i in self.plan.unbucketable.tolist():
            detail = f"{self.examples.seconds[i]:.3f} s, {self._tokens.lengths[i]} tokens"
            faults[i] = FilterReason("fits no shape at any speed", detail)
        return tuple(
            SkippedExample(
                self.sources[corpus_index(self._corpus_offsets, i)].name, self.ids[i], fault.reason, fault.detail
            )
            for i, fault in sorted(faults.items())
        )

    @property
    def skipped_counts(self) -> dict[str, int]:
        """How many examples training leaves out, by reason."""
        return dict(Counter(each.reason for each in self.skipped).most_common())

    @cached_property
    def ids(self) -> list[str]:
        """Of all examples, in the order of the corpora."""
        return [id for source in self.sources for id in source.ids]

    @cached_property
    def speakers(self) -> list[str]:
        """Of all examples, in the order of the corpora."""
        return [speaker for source in self.sources for speaker in source.speakers]

    def describe(self) -> str:
        """The shapes of training, how much of them is padding, and what is left out: for people."""
        table = describe_shapes(self.shapes, *self._train_items, rate_hz=self.rate_hz)
        epoch = self.plan.epoch(0)
        useful = epoch.padding.real
        amount = f"{useful / self.rate_hz / 3600:.2f} h" if self.shape_choice.audio else f"{useful:,} tokens and ends"
        lines = [f"epoch 0: {len(epoch)} batches, {amount}, {epoch.padding.share:.2%} padding, unused rows included"]
        lines += [f"left out: {count} ({reason})" for reason, count in self.skipped_counts.items()]
        return "\n".join([table, *lines])

    def batches(
        self, start_step: int, *, workers: int = 0, host: int = 0, hosts: int = 1, stop_step: int | None = None
    ) -> Batches:
        """The batches of training from `start_step`, this host's rows of each.

        The order and the content are those of `plan`, whatever the workers and wherever it starts.

        Args:
          start_step: the first step, counted through all epochs.
          workers: processes that decode; 0 is threads of this one.
          host: which of the `hosts`.
          hosts: the examples of every shape are split evenly over them, in order.
          stop_step: the first step that is not given; None goes on for ever.

        Raises:
          ValueError: a shape's examples cannot be split over the hosts.
        """
        if start_step < 0:
            raise ValueError(f"start_step {start_step}: steps count from 0")
        loader = self.audio_loader(host=host, hosts=hosts)
        steps = range(start_step, _NO_LIMIT if stop_step is None else stop_step)
        keys = np.stack([keys_at_speed(self._keys, factor) for factor in self.examples.speeds], axis=1)
        return Batches(loader, self._tokens, keys, steps, workers=workers)

    def eval_batches(self, *, workers: int = 0, host: int = 0, hosts: int = 1) -> EvalIterator:
        """Every example exactly once, from short to long, not one left out, at its own speed.

        Where a text could not be normalised the reference is the text as written; what could not be encoded has no
        tokens. Arguments and errors are those of `batches`.
        """
        loader = self._audio_loader(self.eval_plan, (1.0,), host, hosts)
        steps = range(len(self.eval_plan))
        batches = Batches(loader, self._tokens, self._keys[:, None], steps, workers=workers)
        return EvalIterator(batches, self.ids, self.examples.texts, self.speakers)

    def audio_loader(self, *, host: int = 0, hosts: int = 1) -> AudioLoader:
        """What decodes a step of training, without reading ahead."""
        return self._audio_loader(self.plan, self.examples.speeds, host, hosts)

    def read(self, example: int) -> bytes:
        """The compressed audio of an example."""
        corpus = corpus_index(self._corpus_offsets, example)
        return self.sources[corpus].read(example - int(self._corpus_offsets[corpus]))

    def _audio_loader(
        self, rows: TrainingPlan | Epoch, speeds: tuple[float, ...], host: int, hosts: int
    ) -> AudioLoader:
        return AudioLoader(rows, self.sources, self._corpus_offsets, speeds, self.rate_hz, host, hosts)

    @cached_property
    def _corpus_offsets(self) -> Int64[np.ndarray, " corpora"]:
        """The number of each corpus's first example."""
        return np.cumsum([0, *(len(source) for source in self.sources[:-1])])

    @property
    def _tokens(self) -> RaggedTokens:
        tokens = self.examples.tokens
        if tokens is None:
            raise ValueError("a pipeline without Tokenize has no tokens")
        return tokens

    @cached_property
    def _keys(self) -> UInt32[np.ndarray, " examples"]:
        keys = [example_key(source.name, id) for source in self.sources for id in source.ids]
        return np.array(keys, np.uint32)

    @cached_property
    def _filter_reasons(self) -> dict[int, FilterReason]:
        """The first fault of each example that has one."""
        return dict(reversed(self.examples.filtered))

    @cached_property
    def _train_lengths(self) -> Lengths:
        pairs = zip(self.sources, self.weights, strict=True)
        weights = np.concatenate([np.full(len(source), weight, np.float64) for source, weight in pairs])
        weights[list(self._filter_reasons)] = 0.0
        return self._lengths(self.examples.speeds, weights)

    def _lengths(self, speeds: tuple[float, ...], weights: Float64[np.ndarray, " examples"]) -> Lengths:
        """Where batches are of transcripts alone no example has a sample, whatever its corpus has."""
        samples = np.concatenate([source.samples for source in self.sources]) * self.shape_choice.audio
        rates_hz = np.concatenate([source.rates_hz for source in self.sources])
        columns = [samples_at_speed(samples, rates_hz, factor=each, rate_hz=self.rate_hz) for each in speeds]
        return Lengths(np.stack(columns, axis=1), self._tokens.lengths, self._keys, weights)

    @property
    def _train_items(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, tokens and weight of every kept example at every speed."""
        lengths = self._train_lengths
        kept = lengths.weights > 0
        speeds = lengths.samples.shape[1]
        samples = lengths.samples[kept].reshape(-1)
        return samples, np.repeat(lengths.tokens[kept], speeds), np.repeat(lengths.weights[kept] / speeds, speeds)
