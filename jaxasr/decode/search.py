"""The interface of searches, the limit of their length, and the encoded batch that they share.

A search is a frozen value that maps (model, batch) to hypotheses: pure, jittable, one compiled loop for all examples.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxasr.records import Batch, Decodable, Hypotheses, Start, Step
from jaxasr.tree import check_numbers


@runtime_checkable
class Search(Protocol):
    """A search: a function from a model and a batch to hypotheses."""

    def __call__(self, decodable: Decodable, batch: Batch) -> Hypotheses:
        """Returns the best transcripts of each example; padding rows come back empty and finished."""
        ...


@dataclass(frozen=True)
class MaxTokens:
    """The most tokens that a search may write for one example: floor(per_position * encoder positions) + extra.

    A hypothesis that has not ended by then is cut (`finished` is False). An example without any encoder position gets no
    token, every other example at least one. The limit depends on the example's own length, so padding does not change it.
    """

    per_position: float = 1.5  # tokens per encoder position; a character takes about 65 ms of English speech
    extra: int = 4

    def __post_init__(self) -> None:
        check_numbers(self)
        if not self.per_position >= 0 or self.extra < 0 or self.per_position + self.extra <= 0:
            raise ValueError(
                f"{self} lets a search write nothing: per_position and extra must be >= 0, one of them > 0"
            )

    def table(self, positions: int) -> Int[np.ndarray, " lengths"]:
        """Returns the limit of every length from 0 to `positions`; the last one is the static size of the token axis."""
        # in integers of a millionth, because floor(0.1 * 30) must be 3 on every host and device
        millionths = np.arange(positions + 1, dtype=np.int64) * round(self.per_position * 1_000_000)
        limits = np.maximum(millionths // 1_000_000 + self.extra, 1).astype(np.int32)
        limits[0] = 0
        return limits

    def of(self, batch: Batch, start: Start, positions: int) -> Int[Array, " b"]:
        """Returns the limit of each example of an encoded batch, 0 for the rows that are padding."""
        limits_b = jnp.asarray(self.table(positions))[jnp.clip(start.hidden_lengths_b, 0, positions)]
        return jnp.where(batch.valid_b, limits_b, 0)


def step_shapes(decodable: Decodable, start: Start) -> Step:
    """Returns the shapes of the results of one decoder step, without running it."""
    tokens_b = jax.ShapeDtypeStruct(start.hidden_lengths_b.shape, jnp.int32)
    return jax.eval_shape(decodable.step, start.memory, start.state, tokens_b)


@runtime_checkable
class GrowableState(Protocol):
    """A decoder state that stores something for every token it reads, in arrays of a static size."""

    def with_capacity(self, tokens: int) -> Any:
        """Returns the state with room for exactly `tokens` tokens."""
        ...


def with_capacity(state: Any, tokens: int) -> Any:
    """Returns the state with room for `tokens` steps; a state that does not grow is returned unchanged."""
    return state.with_capacity(tokens) if isinstance(state, GrowableState) else state


@dataclass(frozen=True)
class EncodedBatch:
    """An encoded batch, and the limits of a search over it."""

    decodable: Decodable
    batch: Batch
    start: Start  # with room for `tokens`
    shapes: Step  # of one step, without values
    limits_b: Int[Array, " b"]  # tokens that each example may get
    tokens: int  # the largest limit of its shape: static

    @property
    def positions(self) -> int:
        """The number of encoder positions, padding included."""
        return self.shapes.weights_bhs.shape[-1]


def encode_batch(decodable: Decodable, batch: Batch, max_tokens: MaxTokens) -> EncodedBatch:
    """Encodes a batch and sizes the decoder state for a search."""
    start = decodable.start(batch)
    shapes = step_shapes(decodable, start)
    positions = shapes.weights_bhs.shape[-1]
    tokens = int(max_tokens.table(positions)[-1])
    limits_b = max_tokens.of(batch, start, positions)
    return EncodedBatch(
        decodable, batch, replace(start, state=with_capacity(start.state, tokens)), shapes, limits_b, tokens
    )
