"""What a beam may be paid for besides probability: length, and having attended to the whole utterance."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import END


@dataclass(frozen=True)
class LengthReward:
    """So much for every token, the end not counted: against the short transcripts that a sum of log probabilities likes."""

    weight: float
    name: str = "length"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`."""

        def score(memory: Any, state: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            return jnp.full_like(heard.log_probs_bv, self.weight).at[:, END].set(0.0), state

        def most(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
            return max(self.weight, 0.0) * left_b.astype(jnp.float32)

        return ScorerState((), (), score, most)


@dataclass(frozen=True)
class Coverage:
    """So much for every encoder position that has had more than `threshold` of attention: the first time, and only once.

    Looping over the same positions earns nothing, skipping loses. The heads' mean is what counts.

    Source: Chorowski and Jaitly 2017 (1612.02695), section 3.3.
    """

    weight: float
    threshold: float = 0.5
    name: str = "coverage"

    def __post_init__(self) -> None:
        if self.weight < 0 or not self.threshold > 0:
            raise ValueError(f"{self}: a weight of 0 or more and a positive threshold are needed")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`."""
        valid_bs = valid_from_lengths(encoded.start.hidden_lengths_b, encoded.positions)

        def score(valid_bs: Any, had_bs: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            has_bs = had_bs + jnp.mean(heard.weights_bhs, axis=1).astype(jnp.float32)
            new_bs = valid_bs & (has_bs > self.threshold) & (had_bs <= self.threshold)
            earned_b = self.weight * jnp.sum(new_bs, axis=1).astype(jnp.float32)
            return jnp.broadcast_to(earned_b[:, None], heard.log_probs_bv.shape), has_bs

        def most(valid_bs: Any, had_bs: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
            return self.weight * jnp.sum(valid_bs & (had_bs <= self.threshold), axis=1).astype(jnp.float32)

        return ScorerState(valid_bs, jnp.zeros(valid_bs.shape), score, most)
