"""Bucketing of transcripts without audio, for the training of language models. The shapes have 0 samples."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int

from jaxasr.data.batching.buckets import best_edges, check_examples, rounded_up, with_examples
from jaxasr.data.batching.shape import Shape
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class ChooseTokenBuckets:
    """A choice of the `count` shapes with the least padded tokens, found from the lengths by dynamic programming.

    It works for every prepared corpus. The audio of a corpus is not read.
    """

    count: int
    tokens_per_batch: int  # upper bound on the padded positions in a batch, ends included
    examples_multiple: int = 1  # a batch can be split evenly over this many devices or hosts
    examples: tuple[int, ...] = ()  # of each training shape; empty: as many as tokens_per_batch holds
    audio: ClassVar[bool] = False

    def __post_init__(self):
        check_numbers(self)
        if self.count < 1 or self.examples_multiple < 1:
            raise ValueError(f"{self}: count and examples_multiple of 1 or more are needed")
        check_examples(self)
        self._check_batch(1)

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """Returns the shapes of least padding for these transcripts.

        Raises:
          ValueError: there are no transcripts, or one is too long for `tokens_per_batch`.
        """
        del samples, rate_hz
        if not len(tokens):
            raise ValueError("no transcripts to choose shapes for")
        self._check_batch(int(tokens.max()))
        return with_examples(self, self._chosen(tokens, weights))

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """Returns the shapes of least padding that hold all transcripts.

        A batch of the longest transcripts may exceed `tokens_per_batch`.

        Raises:
          ValueError: there are no transcripts.
        """
        del samples, rate_hz
        if not len(tokens):
            raise ValueError("no transcripts to choose shapes for")
        return self._chosen(tokens, np.ones(len(tokens)))

    def _chosen(self, tokens: np.ndarray, weights: np.ndarray) -> tuple[Shape, ...]:
        edges, edge_ids = np.unique(rounded_up(np.maximum(tokens, 1), quantum=1), return_inverse=True)
        ends = best_edges(edges, np.bincount(edge_ids, weights), self.count)
        return tuple(self._shape(int(edge)) for edge in edges[ends])

    def _shape(self, tokens: int) -> Shape:
        multiple = self.examples_multiple
        fitting = self.tokens_per_batch // (tokens + 1) // multiple * multiple
        return Shape(samples=0, tokens=tokens, examples=max(multiple, fitting))

    def _check_batch(self, tokens: int) -> None:
        needed = (tokens + 1) * self.examples_multiple
        if self.tokens_per_batch < needed:
            raise ValueError(
                f"tokens_per_batch {self.tokens_per_batch} cannot hold examples_multiple = {self.examples_multiple} "
                f"transcripts of {tokens} tokens and the end: {needed} or more is needed, or leave out the longest with "
                "KeepTokens"
            )
