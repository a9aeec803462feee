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
        full, left = _count_full_batches(counts, self.shapes)
        return sum(full) + (left > 0)

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
    """Cuts examples, sorted by bucket, into batches. The remainder of a bucket opens the first batch of the next bucket."""
    order = order[np.argsort(bucket_ids.astype(np.int16), kind="stable")]
    full, left = _count_full_batches(np.bincount(bucket_ids, minlength=len(shapes)), shapes)
    batch_buckets = np.repeat(np.arange(len(shapes)), full)
    sizes = np.array([shape.examples for shape in shapes], np.int64)[batch_buckets]
    if left:
        batch_buckets = np.append(batch_buckets, bucket_ids.max())
        sizes = np.append(sizes, left)
    stops = np.cumsum(sizes)
    return _BatchCuts(order, stops - sizes, stops, batch_buckets)


def _count_full_batches(counts: Int64[np.ndarray, " shapes"], shapes: tuple[Shape, ...]) -> tuple[list[int], int]:
    """Counts the full batches of each shape and the examples left over at the end. A remainder skips empty buckets."""
    full: list[int] = []
    left = 0
    for shape, count in zip(shapes, counts.tolist(), strict=True):
        batches, left = divmod(left + count, shape.examples) if count else (0, left)
        full.append(batches)
    return full, left
