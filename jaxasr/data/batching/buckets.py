"""Bucketing: a closed list of static shapes for batches, so that every function compiles at most once for each shape.

A shape is (samples, tokens, examples). An utterance goes into the smallest shape that holds its wave and its tokens. Shapes
are given by hand (`Buckets`) or chosen from the lengths so that padding is least (`ChooseBuckets`). Shapes for transcripts
alone have no samples (token_buckets.py).
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int, Int64

from jaxasr.data.batching.grid_buckets import best_grid
from jaxasr.data.batching.joint_buckets import PaddedWork, best_chain
from jaxasr.data.batching.shape import Shape, assign_buckets
from jaxasr.tree import check_numbers

_JOINT = 0.75  # of the padded work of shapes chosen by length, below which those chosen by length and tokens are taken
_MAX_EDGES = 2048  # candidates for a shape's length; if there are more, lengths are rounded more coarsely


@runtime_checkable
class ShapeChoice(Protocol):
    """A method to choose shapes.

    Both methods return shapes from short to long, and those of one length from few to many tokens.
    """

    audio: ClassVar[bool]  # False: batches of transcripts alone, for a language model, with waves of 0 samples

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """Returns shapes for training on utterances of these lengths. `weights` are their mean copies in an epoch."""
        ...

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """Returns shapes for evaluation: every utterance fits one of them, because an evaluation leaves none out."""
        ...


@runtime_checkable
class HasExamples(Protocol):
    """A choice of shapes whose numbers of examples can be given."""

    @property
    def examples_multiple(self) -> int:
        """The number that divides the examples of every shape."""
        ...

    @property
    def examples(self) -> tuple[int, ...]:
        """The examples of each training shape, or nothing."""
        ...


@dataclass(frozen=True)
class Buckets:
    """A list of shapes given by hand.

    Raises:
      ValueError: `seconds` is empty or does not increase, `tokens` decreases or has another length, or a batch holds fewer
        than `examples_multiple` of the longest utterances.
    """

    seconds: tuple[float, ...]  # longest utterance of each shape, increasing
    tokens: int | tuple[int, ...]  # longest transcript, for all shapes or for each shape
    seconds_per_batch: float  # upper bound on the padded audio in a batch
    examples_multiple: int = 1  # a batch can be split evenly over this many devices or hosts
    examples: tuple[int, ...] = ()  # of each training shape; empty: as many as seconds_per_batch holds
    audio: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers(self)
        if not self.seconds or self.seconds[0] <= 0 or np.any(np.diff(self.seconds) <= 0):
            raise ValueError(f"Buckets.seconds {self.seconds}: positive and increasing numbers are needed")
        if len(self._tokens) != len(self.seconds) or min(self._tokens) < 1 or np.any(np.diff(self._tokens) < 0):
            raise ValueError(
                f"Buckets.tokens {self.tokens}: one positive number, or one for each of the "
                f"{len(self.seconds)} seconds, never less for a longer shape"
            )
        check_examples(self)
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
        """Returns the given shapes. The lengths do not matter."""
        return with_examples(self, self._shapes(rate_hz))

    def _shapes(self, rate_hz: int) -> tuple[Shape, ...]:
        return tuple(
            _shape(self, samples=round(longest * rate_hz), tokens=limit, rate_hz=rate_hz)
            for longest, limit in zip(self.seconds, self._tokens, strict=True)
        )

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """Returns the given shapes and appends shapes of doubled length until the longest utterance fits."""
        shapes = self._shapes(rate_hz)
        outside = assign_buckets(shapes, samples, tokens) < 0
        if not outside.any():
            return shapes
        longest = int(samples[outside].max())
        top = shapes[-1].samples
        doublings = max(0, math.ceil(math.log2(longest / top)))
        lengths = [top * 2**i for i in range(1, doublings)] + [max(longest, top)]
        limit = max(int(tokens[outside].max()), shapes[-1].tokens)
        return shapes + tuple(_shape(self, samples=length, tokens=limit, rate_hz=rate_hz) for length in lengths)


@dataclass(frozen=True)
class ChooseBuckets:
    """A choice of the `count` shapes with the least padded audio, found from the lengths by dynamic programming.

    Lengths are rounded up to `quantum_s`; for these lengths the choice is exact. A shape's token limit is the largest
    number of tokens among its utterances, and at least that of the next shorter shape. So one long transcript can pad the
    tokens of all others. If lengths and limits that are chosen together (`joint_buckets`) save a quarter of the padded work,
    these are taken.

    With token_limits=2 utterances of one length with few tokens have a shape of their own, and the sum of padded audio and
    padded tokens is the least, each in units of its mean (`grid_buckets`).
    """

    count: int
    seconds_per_batch: float  # upper bound on the padded audio in a batch
    examples_multiple: int = 1
    quantum_s: float = 0.1
    examples: tuple[int, ...] = ()  # of each training shape; empty: as many as seconds_per_batch holds
    token_limits: int = 1  # 1 or 2 for each length, so that there are at most count * token_limits shapes
    audio: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers(self)
        if self.token_limits not in (1, 2):
            raise ValueError(f"ChooseBuckets.token_limits is {self.token_limits}; it must be 1 or 2")
        if self.count < 1 or self.quantum_s <= 0:
            raise ValueError(f"ChooseBuckets: count {self.count} >= 1 and quantum_s {self.quantum_s} > 0 are needed")
        check_examples(self)
        _check_batch(self, self.quantum_s)

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """Returns the shapes of least padding for these lengths.

        Raises:
          ValueError: there are no utterances, one is too long for `seconds_per_batch`, or `examples` are given for another
            number of shapes.
        """
        if not len(samples):
            raise ValueError("no utterances to choose shapes for")
        _check_batch(self, samples.max() / rate_hz)
        return with_examples(self, self._chosen(samples, tokens, weights, rate_hz))

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """Returns the shapes of least padding that hold all utterances.

        A batch of the longest utterances may exceed `seconds_per_batch`.

        Raises:
          ValueError: there are no utterances.
        """
        if not len(samples):
            raise ValueError("no utterances to choose shapes for")
        return self._chosen(samples, tokens, np.ones(len(samples)), rate_hz)

    def _chosen(self, samples: np.ndarray, tokens: np.ndarray, weights: np.ndarray, rate_hz: int) -> tuple[Shape, ...]:
        lengths = rounded_up(samples, quantum=max(1, round(self.quantum_s * rate_hz)))
        work = PaddedWork.of(samples, tokens, weights)
        if self.token_limits == 2:
            grid = best_grid(lengths, np.maximum(tokens, 1).astype(np.int64), weights, self.count, work)
            return tuple(_shape(self, samples=length, tokens=limit, rate_hz=rate_hz) for length, limit in grid)
        edges, edge_ids = np.unique(lengths, return_inverse=True)
        ends = best_edges(edges, np.bincount(edge_ids, weights), self.count)
        chosen = np.searchsorted(ends, edge_ids)
        limits = np.maximum.accumulate([tokens[chosen == k].max(initial=1) for k in range(len(ends))])
        pairs = [(int(edges[end]), int(limit)) for end, limit in zip(ends, limits, strict=True)]
        joint = best_chain(
            lengths, np.maximum(tokens, 1).astype(np.int64), weights.astype(np.float64), self.count, work
        )
        if _work(joint, lengths, tokens, weights, work) < _JOINT * _work(pairs, lengths, tokens, weights, work):
            pairs = joint
        return tuple(_shape(self, samples=length, tokens=limit, rate_hz=rate_hz) for length, limit in pairs)


def _work(
    pairs: list[tuple[int, int]], lengths: np.ndarray, tokens: np.ndarray, weights: np.ndarray, work: PaddedWork
) -> float:
    """Returns the padded work of utterances in shapes of these lengths and token limits."""
    shapes = tuple(Shape(length, limit, 1) for length, limit in pairs)
    sizes = np.array(pairs)[assign_buckets(shapes, lengths, tokens)]
    return float((weights * work.per_utterance(sizes[:, 0], sizes[:, 1])).sum())


def best_edges(
    edges: Int64[np.ndarray, " edges"], weights: Float64[np.ndarray, " edges"], count: int
) -> Int64[np.ndarray, " chosen"]:
    """Returns the indices of at most `count` edges with the least padding if each utterance is padded to the next of them.

    The last edge is always chosen. The result is exact: the cost of the first j lengths with k shapes is the minimum over
    i < j of the cost of the first i lengths with k - 1 shapes plus the cost of padding lengths i ... j - 1 to edge j - 1.
    """
    edges_count = len(edges)
    before = np.concatenate([[0.0], np.cumsum(weights)])
    group = (before[None, 1:] - before[:-1, None]) * edges[None, :]  # [i, j]: lengths i ... j in one shape of edge j
    group[np.tril_indices(edges_count, -1)] = np.inf
    cost = group[0]
    back = []
    for _ in range(1, min(count, edges_count)):
        total = np.concatenate([[np.inf], cost[:-1]])[:, None] + group
        back.append(total.argmin(axis=0))
        cost = total.min(axis=0)
    ends = [edges_count - 1]
    for first in reversed(back):
        ends.append(first[ends[-1]] - 1)
    return np.array(ends[::-1], np.int64)


def rounded_up(lengths: Int[np.ndarray, " b"], *, quantum: int) -> Int64[np.ndarray, " b"]:
    """Rounds lengths up to a multiple of the quantum.

    If this leaves more than `_MAX_EDGES` candidates, the quantum is multiplied by a whole number first.
    """
    quantum *= max(1, math.ceil(int(lengths.max()) / (quantum * _MAX_EDGES)))
    return -(-lengths.astype(np.int64) // quantum) * quantum


def with_examples(spec: HasExamples, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Returns the shapes with the `examples` of the choice, if there are any."""
    if not spec.examples:
        return shapes
    if len(spec.examples) != len(shapes):
        raise ValueError(
            f"train_data.shapes.examples has {len(spec.examples)} numbers, and the lengths give {len(shapes)} shapes; give "
            "one number for each shape, as `jaxasr plan --fit` prints them, or none"
        )
    return tuple(replace(shape, examples=count) for shape, count in zip(shapes, spec.examples, strict=True))


def check_examples(spec: HasExamples) -> None:
    """Raises ValueError for `examples` that are no positive multiples of `examples_multiple`."""
    wrong = [count for count in spec.examples if count < 1 or count % max(spec.examples_multiple, 1)]
    if wrong:
        raise ValueError(
            f"train_data.shapes.examples {spec.examples}: {wrong[0]} is no positive multiple of examples_multiple = "
            f"{spec.examples_multiple}"
        )


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
