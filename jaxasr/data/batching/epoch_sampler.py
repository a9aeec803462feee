"""One epoch of batches: a pure function of (lengths, seed, epoch, shapes), the same on every host.

How often each example comes (its weight), at which speed, and in what order are hashes of (seed, epoch, example).
Every bucket is shuffled and cut into batches, and the batches are shuffled. What is left over in a bucket goes first
into the batches of the next larger one; what is left over at the end makes one batch that is partly padding. So no
example that fits is ever dropped, and an epoch has at most one batch that is not full.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt64

from jaxasr.data.batching.epoch import Epoch
from jaxasr.data.batching.hashing import integers_below, mix, uniform
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.shape import Shape, assign_buckets

_COPIES, _SPEED, _ORDER, _BATCHES = range(4)  # what a hash is drawn for


@dataclass(frozen=True)
class EpochSampler:
    """Examples and shapes, before a seed and an epoch."""

    lengths: Lengths
    shapes: tuple[Shape, ...]

    @cached_property
    def bucket_ids(self) -> Int64[np.ndarray, "examples speeds"]:
        """The bucket of each example at each speed; -1 where none holds it."""
        tokens = np.broadcast_to(self.lengths.tokens[:, None], self.lengths.samples.shape)
        return assign_buckets(self.shapes, self.lengths.samples, tokens)

    @cached_property
    def fitting_speeds(self) -> Int64[np.ndarray, " examples"]:
        """The number of speeds at which an example fits some shape."""
        return (self.bucket_ids >= 0).sum(axis=1)

    @cached_property
    def fixed_length_epochs(self) -> bool:
        """True if all epochs have equally many batches: one speed, and whole weights."""
        return self.lengths.samples.shape[1] == 1 and bool((self.lengths.weights % 1 == 0).all())

    def sample_epoch(self, seed: int, epoch: int) -> Epoch:
        """The batches of an epoch of training."""
        hand = self._draw(seed, epoch)
        order = np.argsort(mix(hand.draw_keys, seed, epoch, _ORDER), kind="stable")
        cut = _cut_batches(order, hand.bucket_ids[order], self.shapes)
        shuffle = np.argsort(mix(np.arange(len(cut.starts), dtype=np.uint64), seed, epoch, _BATCHES), kind="stable")
        return self._epoch(epoch, hand, cut, shuffle)

    def eval_epoch(self) -> Epoch:
        """Every example exactly once, from short to long, at the first speed: for evaluation.

        Raises:
          ValueError: an example fits no shape.
        """
        outside = np.flatnonzero(self.bucket_ids[:, 0] < 0)
        if len(outside):
            raise ValueError(f"examples {outside[:5].tolist()} ({len(outside)} in all) fit none of {self.shapes}")
        count_batches = len(self.lengths.keys)
        every, first = np.arange(count_batches), np.zeros(count_batches, np.int64)
        hand = _EpochDraw(every, first, every.astype(np.uint64), self.bucket_ids[:, 0])
        order = np.argsort(self.lengths.samples[:, 0], kind="stable")
        cut = _cut_batches(order, hand.bucket_ids[order], self.shapes)
        return self._epoch(0, hand, cut, np.arange(len(cut.starts)))

    def count(self, seed: int, epoch: int) -> int:
        """The number of batches that `deal` makes, in a fraction of its time."""
        counts = np.bincount(self._draw(seed, epoch).bucket_ids, minlength=len(self.shapes))
        full, left = _full_batches(counts, self.shapes)
        return sum(full) + (left > 0)

    def _draw(self, seed: int, epoch: int) -> "_EpochDraw":
        copies = self._copies(seed, epoch)
        examples = np.repeat(np.arange(len(copies)), copies)
        nth = np.arange(len(examples)) - np.repeat(np.cumsum(copies) - copies, copies)
        names = self.lengths.keys[examples].astype(np.uint64) | nth.astype(np.uint64) << np.uint64(32)
        if self.lengths.samples.shape[1] == 1:
            speeds = np.zeros(len(examples), np.int64)
        else:
            choices = integers_below(mix(names, seed, epoch, _SPEED), self.fitting_speeds[examples]).astype(np.int64)
            speeds = self._fitting_speeds_first[examples, choices]
        return _EpochDraw(examples, speeds, names, self.bucket_ids[examples, speeds])

    def _copies(self, seed: int, epoch: int) -> Int64[np.ndarray, " examples"]:
        """How often each example comes: with weight 2.5 two and three times in turn, half of the examples first two.

        floor(weight * epochs + phase) is how often an example came in all the epochs so far; so no rounding adds up.
        """
        weights = np.where(self.fitting_speeds > 0, self.lengths.weights, 0.0)
        if (weights % 1 == 0).all():
            return weights.astype(np.int64)
        phase = uniform(mix(self.lengths.keys, seed, _COPIES))
        return (np.floor(weights * (epoch + 1) + phase) - np.floor(weights * epoch + phase)).astype(np.int64)

    @cached_property
    def _fitting_speeds_first(self) -> Int64[np.ndarray, "examples speeds"]:
        """The speeds of each example, those at which it fits first."""
        return np.argsort(self.bucket_ids < 0, axis=1, kind="stable")

    def _epoch(self, number: int, hand: "_EpochDraw", cut: "_BatchCuts", shuffle: np.ndarray) -> Epoch:
        return Epoch(
            number=number,
            lengths=self.lengths,
            shapes=self.shapes,
            examples=hand.examples[cut.order],
            speeds=hand.speeds[cut.order],
            starts=cut.starts[shuffle],
            stops=cut.stops[shuffle],
            bucket_ids=cut.bucket_ids[shuffle],
        )


@dataclass(frozen=True)
class _EpochDraw:
    """What comes in an epoch, in no order yet."""

    examples: Int64[np.ndarray, " drawn"]
    speeds: Int64[np.ndarray, " drawn"]
    draw_keys: UInt64[np.ndarray, " drawn"]  # key and number of the copy
    bucket_ids: Int64[np.ndarray, " drawn"]  # of the shape


@dataclass(frozen=True)
class _BatchCuts:
    """A hand cut into batches."""

    order: Int64[np.ndarray, " drawn"]
    starts: Int64[np.ndarray, " batches"]
    stops: Int64[np.ndarray, " batches"]
    bucket_ids: Int64[np.ndarray, " batches"]


def _cut_batches(order: np.ndarray, places: np.ndarray, shapes: tuple[Shape, ...]) -> _BatchCuts:
    """Batches of consecutive examples: sorted by bucket, what is left over in one is what the next begins with."""
    order = order[np.argsort(places.astype(np.int16), kind="stable")]
    full, left = _full_batches(np.bincount(places, minlength=len(shapes)), shapes)
    batch_places = np.repeat(np.arange(len(shapes)), full)
    sizes = np.array([shape.examples for shape in shapes], np.int64)[batch_places]
    if left:
        batch_places, sizes = np.append(batch_places, places.max()), np.append(sizes, left)
    stops = np.cumsum(sizes)
    return _BatchCuts(order, stops - sizes, stops, batch_places)


def _full_batches(counts: Int64[np.ndarray, " shapes"], shapes: tuple[Shape, ...]) -> tuple[list[int], int]:
    """Full batches of each shape, and the examples left over at the end; empty buckets are no halt on the way."""
    full, left = [], 0
    for shape, count in zip(shapes, counts.tolist(), strict=True):
        batches, left = divmod(left + count, shape.examples) if count else (0, left)
        full.append(batches)
    return full, left
