"""The sampler of an epoch's batches: a pure function of (lengths, seed, epoch, shapes), equal on every host.

The number of copies of each example (by its weight), their speeds and their order are hashes of (seed, epoch, example).
Every bucket is shuffled and cut into batches, and the batches are shuffled. The remainder of a bucket goes first into the
batches of the next larger bucket. The last remainder makes one batch that is partly padding. So no example that fits is
dropped, and an epoch has at most one batch that is not full.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt64

from jaxasr.data.batching.epoch import Epoch
from jaxasr.data.batching.hashing import integers_below, mix, uniform
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.shape import Shape, assign_buckets

_COPIES, _SPEED, _ORDER, _BATCHES = range(4)  # the purposes of a hash


@dataclass(frozen=True)
class EpochSampler:
    """A sampler of epochs for given examples and shapes."""

    lengths: Lengths
    shapes: tuple[Shape, ...]

    @cached_property
    def bucket_ids(self) -> Int64[np.ndarray, "examples speeds"]:
        """The bucket index of each example at each speed; -1 if no bucket holds it."""
        tokens = np.broadcast_to(self.lengths.tokens[:, None], self.lengths.samples.shape)
        return assign_buckets(self.shapes, self.lengths.samples, tokens)

    @cached_property
    def fitting_speeds(self) -> Int64[np.ndarray, " examples"]:
        """The number of speeds at which each example fits some shape."""
        return (self.bucket_ids >= 0).sum(axis=1)

    @cached_property
    def fixed_length_epochs(self) -> bool:
        """A flag that all epochs have the same number of batches: there is one speed and all weights are whole."""
        return self.lengths.samples.shape[1] == 1 and bool((self.lengths.weights % 1 == 0).all())

    def sample_epoch(self, seed: int, epoch: int) -> Epoch:
        """Returns the batches of a training epoch."""
        draw = self._draw(seed, epoch)
        order = np.argsort(mix(draw.draw_keys, seed, epoch, _ORDER), kind="stable")
        cuts = _cut_batches(order, draw.bucket_ids[order], self.shapes)
        shuffle = np.argsort(mix(np.arange(len(cuts.starts), dtype=np.uint64), seed, epoch, _BATCHES), kind="stable")
        return self._epoch(epoch, draw, cuts, shuffle)

    def eval_epoch(self) -> Epoch:
        """Returns an evaluation epoch: every example exactly once, from short to long, at the first speed.

        Raises:
          ValueError: an example fits no shape.
        """
        outside = np.flatnonzero(self.bucket_ids[:, 0] < 0)
        if len(outside):
            raise ValueError(f"examples {outside[:5].tolist()} ({len(outside)} in all) fit none of {self.shapes}")
        examples = np.arange(len(self.lengths.keys))
        draw = _EpochDraw(examples, np.zeros_like(examples), examples.astype(np.uint64), self.bucket_ids[:, 0])
        order = np.argsort(self.lengths.samples[:, 0], kind="stable")
        cuts = _cut_batches(order, draw.bucket_ids[order], self.shapes)
        return self._epoch(0, draw, cuts, np.arange(len(cuts.starts)))

    def count_batches(self, seed: int, epoch: int) -> int:
        """Returns the number of batches in an epoch, in a fraction of the time of `sample_epoch`."""
        counts = np.bincount(self._draw(seed, epoch).bucket_ids, minlength=len(self.shapes))
        return _count_batches(counts, self.shapes).batches

    def _draw(self, seed: int, epoch: int) -> "_EpochDraw":
        copies = self._copies(seed, epoch)
        examples = np.repeat(np.arange(len(copies)), copies)
        nth = np.arange(len(examples)) - np.repeat(np.cumsum(copies) - copies, copies)
        draw_keys = self.lengths.keys[examples].astype(np.uint64) | nth.astype(np.uint64) << np.uint64(32)
        if self.lengths.samples.shape[1] == 1:
            speeds = np.zeros(len(examples), np.int64)
        else:
            choices = integers_below(mix(draw_keys, seed, epoch, _SPEED), self.fitting_speeds[examples]).astype(
                np.int64
            )
            speeds = self._fitting_speeds_first[examples, choices]
        return _EpochDraw(examples, speeds, draw_keys, self.bucket_ids[examples, speeds])

    def _copies(self, seed: int, epoch: int) -> Int64[np.ndarray, " examples"]:
        """Returns the number of copies of each example.

        With weight 2.5 an example has two and three copies in turn; half of the examples begin with two. The copies of an
        example in all epochs so far are floor(weight * epochs + phase), so rounding errors do not add up.
        """
        weights = np.where(self.fitting_speeds > 0, self.lengths.weights, 0.0)
        if (weights % 1 == 0).all():
            return weights.astype(np.int64)
        phase = uniform(mix(self.lengths.keys, seed, _COPIES))
        return (np.floor(weights * (epoch + 1) + phase) - np.floor(weights * epoch + phase)).astype(np.int64)

    @cached_property
    def _fitting_speeds_first(self) -> Int64[np.ndarray, "examples speeds"]:
        """The speed indices of each example. Those at which it fits come first."""
        return np.argsort(self.bucket_ids < 0, axis=1, kind="stable")

    def _epoch(self, number: int, draw: "_EpochDraw", cuts: "_BatchCuts", shuffle: np.ndarray) -> Epoch:
        return Epoch(
            number=number,
            lengths=self.lengths,
            shapes=self.shapes,
            examples=draw.examples[cuts.order],
            speeds=draw.speeds[cuts.order],
            starts=cuts.starts[shuffle],
            stops=cuts.stops[shuffle],
            bucket_ids=cuts.bucket_ids[shuffle],
        )


@dataclass(frozen=True)
class _EpochDraw:
    """The unordered copies of the examples that an epoch contains."""

    examples: Int64[np.ndarray, " drawn"]
    speeds: Int64[np.ndarray, " drawn"]
    draw_keys: UInt64[np.ndarray, " drawn"]  # key of the example and number of the copy
    bucket_ids: Int64[np.ndarray, " drawn"]  # index of the shape


@dataclass(frozen=True)
class _BatchCuts:
    """A cut of an ordered epoch draw into batches."""

    order: Int64[np.ndarray, " drawn"]
    starts: Int64[np.ndarray, " batches"]
    stops: Int64[np.ndarray, " batches"]
    bucket_ids: Int64[np.ndarray, " batches"]


def _cut_batches(order: np.ndarray, bucket_ids: np.ndarray, shapes: tuple[Shape, ...]) -> _BatchCuts:
    """Cuts examples into batches. The remainder of a bucket opens the first batch of the next one that holds it."""
    order = order[np.argsort(bucket_ids.astype(np.int16), kind="stable")]
    counts = np.bincount(bucket_ids, minlength=len(shapes))
    flow = _count_batches(counts, shapes)
    arrived: list[list[np.ndarray]] = [[] for _ in shapes]
    pieces: list[np.ndarray] = []
    batch_buckets: list[int] = []
    sizes: list[int] = []
    for number, own in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        queue = np.concatenate([*arrived[number], own])
        cut = flow.full[number] * shapes[number].examples + flow.left[number]
        pieces.append(queue[:cut])
        if cut < len(queue):
            arrived[flow.into[number]].append(queue[cut:])
        own_sizes = [shapes[number].examples] * flow.full[number] + [flow.left[number]] * (flow.left[number] > 0)
        sizes += own_sizes
        batch_buckets += [number] * len(own_sizes)
    stops = np.cumsum(np.array(sizes, np.int64))
    starts = stops - np.array(sizes, np.int64)
    return _BatchCuts(np.concatenate(pieces), starts, stops, np.array(batch_buckets, np.int64))


@dataclass(frozen=True)
class _Flow:
    """The batches of each bucket, and where its remainder goes."""

    full: list[int]  # batches of all examples
    left: list[int]  # examples of the last batch, if no other bucket takes the remainder
    into: list[int]  # the bucket that takes the remainder; -1: none

    @property
    def batches(self) -> int:
        """The number of batches."""
        return sum(self.full) + sum(left > 0 for left in self.left)


def _count_batches(counts: Int64[np.ndarray, " shapes"], shapes: tuple[Shape, ...]) -> _Flow:
    """Counts the batches of each bucket. A remainder skips empty buckets, and buckets whose token limit is less."""
    flow = _Flow([0] * len(shapes), [0] * len(shapes), [-1] * len(shapes))
    arriving = [0] * len(shapes)
    for number, count in enumerate(counts.tolist()):
        if not count:
            continue
        flow.full[number], left = divmod(arriving[number] + count, shapes[number].examples)
        holding = [
            later
            for later in range(number + 1, len(shapes))
            if counts[later] and shapes[later].tokens >= shapes[number].tokens
        ]
        if left and holding:
            flow.into[number] = holding[0]
            arriving[holding[0]] += left
        else:
            flow.left[number] = left
    return flow
