"""The batch plans of training and evaluation. The position in the data is one integer, the step.

`TrainingPlan.row(step)` names the shape, the examples and their speeds. It is a pure function of (lengths, shapes, seed,
step), so the batch of any host at any step follows from the lengths without reading earlier batches.
"""

import threading
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int64

from jaxasr.data.batching.epoch import Epoch, PlanRow
from jaxasr.data.batching.epoch_sampler import EpochSampler
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.shape import Shape

_EPOCHS_HELD = 3  # the prefetcher and the consumer may be in adjacent epochs


@dataclass
class _Cache:
    """A cache of computed epochs. It is not part of the plan's value."""

    lock: Any = field(default_factory=threading.RLock)
    first_steps: list[int] = field(default_factory=lambda: [0])
    epochs: dict[int, Epoch] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingPlan:
    """A plan of all batches of all training epochs.

    Raises:
      ValueError: no example has a weight and fits a shape, or the shapes are not ordered.
    """

    lengths: Lengths
    shapes: tuple[Shape, ...]
    seed: int
    _cache: _Cache = field(default_factory=_Cache, init=False, repr=False, compare=False)

    def __post_init__(self):
        _check_shapes(self.shapes)
        if not ((self._sampler.fitting_speeds > 0) & (self.lengths.weights > 0)).any():
            raise ValueError(f"of {len(self.lengths.keys)} examples none has a weight and fits a shape: no batch")

    def __reduce__(self):
        return TrainingPlan, (self.lengths, self.shapes, self.seed)

    def row(self, step: int) -> PlanRow:
        """Returns the batch that a step reads. Steps count from 0 through all epochs."""
        epoch = self.epoch_at(step)
        return self.epoch(epoch).row(step - self.first_step(epoch), step=step)

    def epoch_at(self, step: int) -> int:
        """Returns the epoch that a step belongs to."""
        if step < 0:
            raise ValueError(f"step {step}: steps count from 0")
        if self._sampler.fixed_length_epochs:
            return step // self._batches_per_epoch
        with self._cache.lock:
            while self._cache.first_steps[-1] <= step:
                self._count_one_more()
            return bisect_right(self._cache.first_steps, step) - 1

    def first_step(self, epoch: int) -> int:
        """Returns the first step of an epoch."""
        if self._sampler.fixed_length_epochs:
            return epoch * self._batches_per_epoch
        with self._cache.lock:
            while len(self._cache.first_steps) <= epoch:
                self._count_one_more()
            return self._cache.first_steps[epoch]

    def epoch(self, number: int) -> Epoch:
        """Returns the batches of an epoch."""
        with self._cache.lock:
            held = self._cache.epochs
            if number not in held:
                while len(held) >= _EPOCHS_HELD:
                    held.pop(next(iter(held)))
                held[number] = self._sampler.sample_epoch(self.seed, number)
            return held[number]

    @property
    def unbucketable(self) -> Int64[np.ndarray, " examples"]:
        """The examples with a weight that fit no shape at any speed and therefore never occur."""
        return np.flatnonzero((self.lengths.weights > 0) & (self._sampler.fitting_speeds == 0))

    @cached_property
    def _sampler(self) -> EpochSampler:
        return EpochSampler(self.lengths, self.shapes)

    @cached_property
    def _batches_per_epoch(self) -> int:
        return self._sampler.count_batches(self.seed, 0)

    def _count_one_more(self) -> None:
        firsts = self._cache.first_steps
        firsts.append(firsts[-1] + self._sampler.count_batches(self.seed, len(firsts) - 1))


def plan_evaluation(lengths: Lengths, shapes: tuple[Shape, ...]) -> Epoch:
    """Plans an evaluation: every example exactly once, from short to long, at the first speed.

    Raises:
      ValueError: an example fits no shape (`ShapeChoice.eval_buckets` returns shapes that hold all), or the shapes are not
        ordered.
    """
    _check_shapes(shapes)
    return EpochSampler(lengths, shapes).eval_epoch()


def _check_shapes(shapes: tuple[Shape, ...]) -> None:
    for shorter, longer in pairwise(shapes):
        sizes = [(shape.samples, shape.tokens) for shape in (shorter, longer)]
        if sizes != sorted(sizes) or longer.examples > shorter.examples:
            raise ValueError(
                f"shapes need an order from short to long, then from few to many tokens, and a later one at most as many "
                f"examples: {shorter}, {longer}"
            )
