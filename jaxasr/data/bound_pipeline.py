"""A pipeline on the data of this machine: texts and lengths read, shapes chosen, batches planned, each when asked for."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from jaxtyping import Float64, Int64, UInt32

from jaxasr import text
from jaxasr.data.audio_loader import Waves, corpus_of
from jaxasr.data.batches import Batches, Evaluation
from jaxasr.data.batching.buckets import ShapeChoice
from jaxasr.data.batching.epoch import Epoch
from jaxasr.data.batching.lengths import Lengths, Ragged, keys_at_speed, samples_at_speed
from jaxasr.data.batching.plan import Plan, plan_once
from jaxasr.data.batching.shape import Shape, describe
from jaxasr.data.prepared.corpus import Prepared, example_key
from jaxasr.data.transforms import Draft, Fault, Transform, the_tokenizer

_FOR_EVER = 1 << 62  # steps


@dataclass(frozen=True)
class Skipped:
    """An example that training leaves out."""

    corpus: str
    id: str
    reason: str  # the same words for all of a kind
    detail: str


@dataclass(frozen=True)
class OpenPipeline:
    """What `Pipeline.open` gives. All examples have one numbering: those of the first corpus, of the second, ..."""

    sources: tuple[Prepared, ...]
    weights: tuple[float | int, ...]  # one a source
    transforms: tuple[Transform, ...]
    shape_choice: ShapeChoice
    shuffle_seed: int
    rate_hz: int

    @property
    def tokenizer(self) -> text.Tokenizer:
        """Of the one Tokenize."""
        return the_tokenizer(self.transforms)

    @property
    def hash(self) -> str:
        """12 hex digits of the examples in all corpora; of one corpus, its own."""
        hashes = [source.manifest_hash for source in self.sources]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]

    @cached_property
    def draft(self) -> Draft:
        """Texts, tokens and faults of all examples, after all transforms."""
        seconds = np.concatenate([source.samples / source.rates_hz for source in self.sources])
        start = Draft(seconds, [each for source in self.sources for each in source.texts])
        return reduce(lambda draft, transform: transform.plan(draft), self.transforms, start)

    @cached_property
    def plan(self) -> Plan:
        """The batches of training.

        Raises:
          ValueError: no example is left, or none fits a shape.
        """
        return Plan(self._train_lengths, self.shapes, self.shuffle_seed)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The static shapes of training's batches.

        Raises:
          ValueError: no example is left to train on.
        """
        if not (self._train_lengths.weights > 0).any():
            reasons = Counter(fault.reason for fault in self._faults.values()).most_common()
            told = ", ".join(f"{count} ({reason})" for reason, count in reasons) or "the corpora are empty"
            raise ValueError(f"no example is left to train on; left out: {told}")
        return self.shape_choice.shapes(*self._train_items, rate_hz=self.rate_hz)

    @cached_property
    def once_plan(self) -> Epoch:
        """The batches of an evaluation."""
        lengths = self._lengths((1.0,), np.ones(len(self._keys)))
        shapes = self.shape_choice.covering(lengths.samples[:, 0], lengths.tokens, rate_hz=self.rate_hz)
        return plan_once(lengths, shapes)

    @cached_property
    def skipped(self) -> tuple[Skipped, ...]:
        """What training leaves out, and why. (An evaluation leaves nothing out.)"""
        faults = dict(self._faults)
        for i in self.plan.unshaped.tolist():
            detail = f"{self.draft.seconds[i]:.3f} s, {self._tokens.lengths[i]} tokens"
            faults[i] = Fault("fits no shape at any speed", detail)
        return tuple(
            Skipped(self.sources[corpus_of(self._firsts, i)].name, self.ids[i], fault.reason, fault.detail)
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
        table = describe(self.shapes, *self._train_items, rate_hz=self.rate_hz)
        epoch = self.plan.epoch(0)
        useful = epoch.padding.useful
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
        waves = self.waves(host=host, hosts=hosts)
        steps = range(start_step, _FOR_EVER if stop_step is None else stop_step)
        keys = np.stack([keys_at_speed(self._keys, factor) for factor in self.draft.speeds], axis=1)
        return Batches(waves, self._tokens, keys, steps, workers=workers)

    def once(self, *, workers: int = 0, host: int = 0, hosts: int = 1) -> Evaluation:
        """Every example exactly once, from short to long, not one left out, at its own speed.

        Where a text could not be normalised the reference is the text as written; what could not be encoded has no
        tokens. Arguments and errors are those of `batches`.
        """
        waves = self._waves(self.once_plan, (1.0,), host, hosts)
        steps = range(len(self.once_plan))
        batches = Batches(waves, self._tokens, self._keys[:, None], steps, workers=workers)
        return Evaluation(batches, self.ids, self.draft.texts, self.speakers)

    def waves(self, *, host: int = 0, hosts: int = 1) -> Waves:
        """What decodes a step of training, without reading ahead."""
        return self._waves(self.plan, self.draft.speeds, host, hosts)

    def read(self, example: int) -> bytes:
        """The compressed audio of an example."""
        corpus = corpus_of(self._firsts, example)
        return self.sources[corpus].read(example - int(self._firsts[corpus]))

    def _waves(self, rows: Plan | Epoch, speeds: tuple[float, ...], host: int, hosts: int) -> Waves:
        return Waves(rows, self.sources, self._firsts, speeds, self.rate_hz, host, hosts)

    @cached_property
    def _firsts(self) -> Int64[np.ndarray, " corpora"]:
        """The number of each corpus's first example."""
        return np.cumsum([0, *(len(source) for source in self.sources[:-1])])

    @property
    def _tokens(self) -> Ragged:
        tokens = self.draft.tokens
        if tokens is None:
            raise ValueError("a pipeline without Tokenize has no tokens")
        return tokens

    @cached_property
    def _keys(self) -> UInt32[np.ndarray, " examples"]:
        keys = [example_key(source.name, id) for source in self.sources for id in source.ids]
        return np.array(keys, np.uint32)

    @cached_property
    def _faults(self) -> dict[int, Fault]:
        """The first fault of each example that has one."""
        return dict(reversed(self.draft.faults))

    @cached_property
    def _train_lengths(self) -> Lengths:
        pairs = zip(self.sources, self.weights, strict=True)
        weights = np.concatenate([np.full(len(source), weight, np.float64) for source, weight in pairs])
        weights[list(self._faults)] = 0.0
        return self._lengths(self.draft.speeds, weights)

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
