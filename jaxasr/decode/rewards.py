"""Rewards that a beam adds to log probabilities: for length and for coverage of the utterance by the attention."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import END
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class LengthReward:
    """A reward of `weight` for every token except the end: log probabilities alone favour short transcripts."""

    weight: float
    name: str = "length"

    def __post_init__(self) -> None:
        check_numbers(self)

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            return jnp.full_like(output.log_probs_bv, self.weight).at[:, END].set(0.0), state

        def upper_bound(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
            return max(self.weight, 0.0) * left_b.astype(jnp.float32)

        return ScorerState((), (), score, upper_bound)


@dataclass(frozen=True)
class Coverage:
    """A reward of `weight` for every encoder position whose summed attention exceeds `threshold`, once per position.

    Repeated attention to a position earns nothing, a skipped position loses the reward. Attention is the mean over heads.

    Source: Chorowski and Jaitly 2017 (1612.02695), section 3.3.
    """

    weight: float
    threshold: float = 0.5
    name: str = "coverage"

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.weight < 0 or not self.threshold > 0:
            raise ValueError(f"{self}: a weight of 0 or more and a positive threshold are needed")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""
        valid_bs = valid_from_lengths(encoded.start.hidden_lengths_b, encoded.positions)

        def score(valid_bs: Any, had_bs: Any, output: DecoderOutput) -> tuple[Array, Any]:
            has_bs = had_bs + jnp.mean(output.weights_bhs, axis=1).astype(jnp.float32)
            new_bs = valid_bs & (has_bs > self.threshold) & (had_bs <= self.threshold)
            earned_b = self.weight * jnp.sum(new_bs, axis=1).astype(jnp.float32)
            return jnp.broadcast_to(earned_b[:, None], output.log_probs_bv.shape), has_bs

        def upper_bound(valid_bs: Any, had_bs: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
            return self.weight * jnp.sum(valid_bs & (had_bs <= self.threshold), axis=1).astype(jnp.float32)

        return ScorerState(valid_bs, jnp.zeros(valid_bs.shape), score, upper_bound)
