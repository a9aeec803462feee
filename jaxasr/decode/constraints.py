"""Constraints on hypotheses: no endless repetition, no attention that stalls or runs back, no suppressed tokens.

A constraint is a scorer with scores 0 or -inf. It does not forbid the end (only SuppressTokens can, at the first step), so a
hypothesis that breaks it ends there. The number of tokens of an utterance is limited by `MaxTokens`.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.records import END
from jaxasr.shapes import Size
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class NoRepeatNgram:
    """A constraint that forbids a phrase of up to `longest` tokens for the `times`-th time in a row.

    The token that would complete the last copy is forbidden. Fewer repetitions are speech: "two two two", "www".
    """

    longest: int = 16
    times: int = 5
    name: str = "loops"

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.longest < 1 or self.times < 2:
            raise ValueError(f"{self}: phrases of at least 1 token and at least 2 times are needed")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""

        def score(memory: Any, last_bm: Any, output: DecoderOutput) -> tuple[Array, Any]:
            last_bm = self.read(last_bm, output.tokens_b)
            return _rule(self.forbidden(last_bm, vocab=output.log_probs_bv.shape[1])), last_bm

        return ScorerState((), self.history(encoded.limits_b.shape[0]), score)

    def history(self, examples: Size) -> Int[Array, "b m"]:
        """Returns the tokens that the rule reads, before the first one: the newest token is last, -1 means no token."""
        return jnp.full((examples, self.longest * self.times - 1), -1, jnp.int32)

    def read(self, last_bm: Int[Array, "b m"], tokens_b: Int[Array, " b"]) -> Int[Array, "b m"]:
        """Returns the history after one more token; END, which starts a search, equals no written token."""
        return jnp.concatenate([last_bm[:, 1:], jnp.where(tokens_b == END, -1, tokens_b)[:, None]], axis=1)

    def forbidden(self, last_bm: Int[Array, "b m"], *, vocab: int) -> Bool[Array, "b v"]:
        """Returns True for the tokens that would complete the last copy of a phrase."""
        kept = last_bm.shape[1]
        periods_p = np.arange(1, self.longest + 1)
        begins_p = kept - (self.times * periods_p - 1)  # of the copies, the last of which lacks its last token
        places_pm = np.arange(kept)[None] + periods_p[:, None]
        outside_pm = (np.arange(kept)[None] < begins_p[:, None]) | (places_pm >= kept)
        same_bpm = last_bm[:, None] == last_bm[:, np.minimum(places_pm, kept - 1)]
        again_bp = jnp.all(same_bpm | outside_pm[None], axis=2) & (last_bm[:, begins_p] >= 0)
        rows_b1 = jnp.arange(last_bm.shape[0])[:, None]
        forbidden_bv = (
            jnp.zeros((last_bm.shape[0], vocab), bool).at[rows_b1, last_bm[:, kept - periods_p]].max(again_bp)
        )
        return forbidden_bv.at[:, END].set(False)


@dataclass(frozen=True)
class SuppressTokens:
    """A constraint that forbids tokens, some of them at the first step alone.

    It can forbid the end: with END in `first` no hypothesis is empty. The other tokens keep their log probabilities.

    Source: Radford et al. 2022 (2212.04356): Whisper's decoding suppresses symbols that nobody speaks, such as brackets.
    """

    tokens: tuple[int, ...] = ()  # at every step
    first: tuple[int, ...] = ()  # at the first step
    name: str = "suppressed"

    def __post_init__(self) -> None:
        check_numbers(self, not_negative=("tokens", "first"))
        if END in self.tokens:
            raise ValueError(f"SuppressTokens.tokens has the end, {END}: no hypothesis could end; leave it out")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`).

        Raises:
            ValueError: a token is outside the vocabulary of the model.
        """
        vocab = encoded.decodable.vocab
        if outside := [token for token in (*self.tokens, *self.first) if token >= vocab]:
            raise ValueError(
                f"SuppressTokens has the tokens {outside[:5]}, and the model has {vocab}; take those it has"
            )
        always_v, first_v = (
            np.isin(np.arange(vocab), np.array(tokens, np.int64)) for tokens in (self.tokens, self.first)
        )

        def score(memory: Any, steps_b: Any, output: DecoderOutput) -> tuple[Array, Any]:
            forbidden_bv = jnp.asarray(always_v)[None] | ((steps_b == 0)[:, None] & jnp.asarray(first_v)[None])
            return jnp.where(forbidden_bv, -jnp.inf, 0.0), steps_b + 1

        return ScorerState((), jnp.zeros(encoded.limits_b.shape[0], jnp.int32), score)


@dataclass(frozen=True)
class AttentionStallRule:
    """A constraint that ends a hypothesis whose attention stalls for `stall` tokens or is `back` positions behind the front.

    The front is the furthest peak of the heads' mean so far. A step whose weights are all zero counts as a stall.
    """

    stall: int | None = 20  # tokens without a new front
    back: int | None = None  # encoder positions
    name: str = "progress"

    def __post_init__(self) -> None:
        check_numbers(self)
        if min(limit for limit in (self.stall, self.back, 1) if limit is not None) < 1:
            raise ValueError(f"{self}: limits of at least 1 are needed, or None for no such rule")

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            front_b, stood_b = state
            mean_bs = jnp.mean(output.weights_bhs, axis=1)
            peak_b = jnp.where(jnp.max(mean_bs, axis=1) > 0, jnp.argmax(mean_bs, axis=1), front_b)
            stood_b = jnp.where(peak_b > front_b, 0, stood_b + 1)
            front_b = jnp.maximum(front_b, peak_b)
            broken_b = jnp.zeros(front_b.shape, bool)
            if self.stall is not None:
                broken_b |= stood_b > self.stall
            if self.back is not None:
                broken_b |= front_b - peak_b > self.back
            return _rule(jnp.broadcast_to(broken_b[:, None], output.log_probs_bv.shape)), (front_b, stood_b)

        zeros_b = jnp.zeros(encoded.limits_b.shape[0], jnp.int32)
        return ScorerState((), (zeros_b - 1, zeros_b), score)


def _rule(forbidden_bv: Bool[Array, "b v"]) -> Array:
    return jnp.where(forbidden_bv.at[:, END].set(False), -jnp.inf, 0.0)
