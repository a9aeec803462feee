"""The closed list of static shapes that batches have: everything compiles at most once a shape.

A shape is (samples, tokens, examples); an utterance goes into the smallest that holds its wave and its tokens. Shapes
are given by hand (`Buckets`) or chosen from the lengths so that the least is padded (`ChooseBuckets`). Of batches of
transcripts alone the shapes have no samples (token_buckets.py).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int, Int64

from jaxasr.data.batching.shape import Shape, assign_buckets

_MOST_EDGES = 2048  # candidates for a shape's length; above, they are taken coarser


@runtime_checkable
class ShapeChoice(Protocol):
    """A way to come to shapes. Both methods return them from short to long, each allowing as many tokens or more."""

    audio: ClassVar[bool]  # False: batches are of transcripts alone, for a language model; their waves have no sample

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """Shapes for training on utterances of these lengths; `weights` says how often each comes."""
        ...

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """Shapes of which each of these utterances fits one: an evaluation leaves nothing out."""
        ...


@dataclass(frozen=True)
class Buckets:
    """Shapes by hand.

    Raises:
      ValueError: no seconds, not increasing, tokens that decrease or are not one for each, or a batch that holds not
        even `examples_multiple` of the longest.
    """

    seconds: tuple[float, ...]  # longest utterance of each shape, increasing
    tokens: int | tuple[int, ...]  # longest transcript: of all shapes, or of each
    seconds_per_batch: float  # padded audio in a batch, at most
    examples_multiple: int = 1  # a batch can be split evenly over so many devices or hosts
    audio: ClassVar[bool] = True

    def __post_init__(self):
        if not self.seconds or self.seconds[0] <= 0 or np.any(np.diff(self.seconds) <= 0):
            raise ValueError(f"Buckets.seconds {self.seconds}: positive and increasing numbers are needed")
        if len(self._tokens) != len(self.seconds) or min(self._tokens) < 1 or np.any(np.diff(self._tokens) < 0):
            raise ValueError(
                f"Buckets.tokens {self.tokens}: one positive number, or one for each of the "
                f"{len(self.seconds)} seconds, never less for a longer shape"
            )
        _check_batch(self, self.seconds[-1])

    @property
    def _tokens(self) -> tuple[int, ...]:
        return self.tokens if isinstance(self.tokens, tuple) else (self.tokens,) * len(self.seconds)

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """These shapes, whatever the lengths."""
        return tuple(
            _shape(self, samples=round(longest * rate_hz), tokens=limit, rate_hz=rate_hz)
            for longest, limit in zip(self.seconds, self._tokens, strict=True)
        )

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """These shapes, and beyond them as many of doubled length as the longest utterances need."""
        shapes = self.shapes(samples, tokens, np.ones(len(samples)), rate_hz=rate_hz)
        outside = assign_buckets(shapes, samples, tokens) < 0
        if not outside.any():
            return shapes
        longest, limit, top = int(samples[outside].max()), int(tokens[outside].max()), shapes[-1].samples
        doublings = max(0, math.ceil(math.log2(longest / top)))
        lengths = [top * 2**i for i in range(1, doublings)] + [max(longest, top)]
        limit = max(limit, shapes[-1].tokens)
        return shapes + tuple(_shape(self, samples=length, tokens=limit, rate_hz=rate_hz) for length in lengths)


@dataclass(frozen=True)
class ChooseBuckets:
    """The `count` shapes with the least padded audio, found from the lengths by dynamic programming.

    Lengths are rounded up to `quantum_s`; for these the choice is exact. A shape's token limit is the most tokens
    among its utterances (and no less than that of a shorter shape).
    """

    count: int
    seconds_per_batch: float  # padded audio in a batch, at most
    examples_multiple: int = 1
    quantum_s: float = 0.1
    audio: ClassVar[bool] = True

    def __post_init__(self):
        if self.count < 1 or self.quantum_s <= 0:
            raise ValueError(f"ChooseBuckets: count {self.count} >= 1 and quantum_s {self.quantum_s} > 0 are needed")
        _check_batch(self, self.quantum_s)

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """The shapes of least padding for these lengths.

        Raises:
          ValueError: no utterances, or one too long for `seconds_per_batch`.
        """
        if not len(samples):
            raise ValueError("no utterances to choose shapes for")
        _check_batch(self, samples.max() / rate_hz)
        return self._chosen(samples, tokens, weights, rate_hz)

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """The shapes of least padding for these lengths; they hold them all, the longest if need be in a larger batch.

        Raises:
          ValueError: no utterances.
        """
        if not len(samples):
            raise ValueError("no utterances to choose shapes for")
        return self._chosen(samples, tokens, np.ones(len(samples)), rate_hz)

    def _chosen(self, samples: np.ndarray, tokens: np.ndarray, weights: np.ndarray, rate_hz: int) -> tuple[Shape, ...]:
        lengths = rounded_up(samples, quantum=max(1, round(self.quantum_s * rate_hz)))
        edges, places = np.unique(lengths, return_inverse=True)
        ends = best_edges(edges, np.bincount(places, weights), self.count)
        chosen = np.searchsorted(ends, places)
        limits = np.maximum.accumulate([tokens[chosen == k].max(initial=1) for k in range(len(ends))])
        return tuple(
            _shape(self, samples=int(edges[end]), tokens=int(limit), rate_hz=rate_hz)
            for end, limit in zip(ends, limits, strict=True)
        )


def best_edges(
    edges: Int64[np.ndarray, " edges"], weights: Float64[np.ndarray, " edges"], count: int
) -> Int64[np.ndarray, " chosen"]:
    """Places of the `count` (or fewer) edges that pad least when each utterance is padded to the next chosen edge.

    The last edge is always chosen. Exact: the cost of the first j lengths under k shapes is the least over i < j of
    the cost of the first i under k - 1 shapes, and the lengths i ... j - 1 padded to edge j - 1.
    """
    edges_count = len(edges)
    before = np.concatenate([[0.0], np.cumsum(weights)])
    group = (before[None, 1:] - before[:-1, None]) * edges[None, :]  # [i, j]: lengths i ... j in one shape of edge j
    group[np.tril_indices(edges_count, -1)] = np.inf
    cost, back = group[0], []
    for _ in range(1, min(count, edges_count)):
        total = np.concatenate([[np.inf], cost[:-1]])[:, None] + group
        back.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    ends = [edges_count - 1]
    for first in reversed(back):
        ends.append(first[ends[-1]] - 1)
    return np.array(ends[::-1], np.int64)


def rounded_up(lengths: Int[np.ndarray, " b"], *, quantum: int) -> Int64[np.ndarray, " b"]:
    """Lengths up to a multiple of the quantum, or of a multiple of it where there would be too many to choose from."""
    quantum *= max(1, math.ceil(int(lengths.max()) / (quantum * _MOST_EDGES)))
    return -(-lengths.astype(np.int64) // quantum) * quantum


def _check_batch(spec: Buckets | ChooseBuckets, longest_s: float) -> None:
    if spec.examples_multiple < 1:
        raise ValueError(f"examples_multiple {spec.examples_multiple}: at least 1 is needed")
    if spec.seconds_per_batch < longest_s * spec.examples_multiple:
        raise ValueError(
            f"seconds_per_batch {spec.seconds_per_batch:g} cannot hold examples_multiple = {spec.examples_multiple} "
            f"utterances of {longest_s:.4g} s: {longest_s * spec.examples_multiple:.4g} or more is needed, "
            f"or leave out the longest with KeepSeconds"
        )


def _shape(spec: Buckets | ChooseBuckets, *, samples: int, tokens: int, rate_hz: int) -> Shape:
    multiple = spec.examples_multiple
    fitting = int(spec.seconds_per_batch * rate_hz) // samples
    return Shape(samples=samples, tokens=tokens, examples=max(multiple, fitting // multiple * multiple))
