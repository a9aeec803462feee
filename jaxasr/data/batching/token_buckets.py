"""Shapes for transcripts alone: what a language model is trained on. No sample of a wave has room in them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int

from jaxasr.data.batching.buckets import best_edges, rounded_up
from jaxasr.data.batching.shape import Shape


@dataclass(frozen=True)
class ChooseTokenBuckets:
    """The `count` shapes with the least padded tokens, found from the lengths by dynamic programming.

    Any prepared corpus will do: of one with audio the transcripts are read and nothing else.
    """

    count: int
    tokens_per_batch: int  # padded positions in a batch, the ends included, at most
    examples_multiple: int = 1  # a batch can be split evenly over so many devices or hosts
    audio: ClassVar[bool] = False

    def __post_init__(self):
        if self.count < 1 or self.examples_multiple < 1:
            raise ValueError(f"{self}: count and examples_multiple of 1 or more are needed")
        self._check_batch(1)

    def shapes(
        self,
        samples: Int[np.ndarray, " b"],
        tokens: Int[np.ndarray, " b"],
        weights: Float64[np.ndarray, " b"],
        *,
        rate_hz: int,
    ) -> tuple[Shape, ...]:
        """The shapes of least padding for these transcripts.

        Raises:
          ValueError: no transcripts, or one too long for `tokens_per_batch`.
        """
        del samples, rate_hz
        if not len(tokens):
            raise ValueError("no transcripts to choose shapes for")
        self._check_batch(int(tokens.max()))
        return self._chosen(tokens, weights)

    def eval_buckets(
        self, samples: Int[np.ndarray, " b"], tokens: Int[np.ndarray, " b"], *, rate_hz: int
    ) -> tuple[Shape, ...]:
        """The shapes of least padding; they hold every transcript, the longest if need be in a larger batch.

        Raises:
          ValueError: no transcripts.
        """
        del samples, rate_hz
        if not len(tokens):
            raise ValueError("no transcripts to choose shapes for")
        return self._chosen(tokens, np.ones(len(tokens)))

    def _chosen(self, tokens: np.ndarray, weights: np.ndarray) -> tuple[Shape, ...]:
        edges, places = np.unique(rounded_up(np.maximum(tokens, 1), quantum=1), return_inverse=True)
        ends = best_edges(edges, np.bincount(places, weights), self.count)
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
