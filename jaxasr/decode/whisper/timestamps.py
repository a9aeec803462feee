"""The rules of timestamp tokens, by which a decoder writes segments of text between times.

A transcript has the form `<|0.00|> text <|3.20|><|3.20|> text <|6.40|>`. Every segment begins and ends with a time.

Source: Radford et al. 2022 (2212.04356), sections 2.3 and 4.5, and the decoding of Whisper that goes with them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxasr.decode.constraints import SuppressTokens
from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.records import END
from jaxasr.tree import check_numbers


class _Written(NamedTuple):
    """The part of a hypothesis that the rules read."""

    suppressed: Any  # state of the suppressed tokens
    steps_b: Int[Array, " b"]
    was_time_b: Bool[Array, " b"]  # the last token is a time
    before_was_time_b: Bool[Array, " b"]  # the one before it is a time, or there is none
    last_b: Int[Array, " b"]  # the last time, as a number of steps; -1: none


@dataclass(frozen=True)
class TimestampRules:
    """A constraint under which a hypothesis is a sequence of segments, each between two times.

    1. The first token is a time of at most `first_most`.
    2. A time at the beginning of a segment is followed by text, and one behind text by a time or the end.
    3. Times do not fall, and a segment has a duration above 0.
    4. If all times together are more probable than the most probable other token, a time is written.

    The log probabilities of the allowed tokens are normalised, so those of a forced time sum to 1.
    """

    zero: int  # the token of 0 s; the times follow it in steps, up to the longest window
    times: int  # number of time tokens
    never: SuppressTokens = SuppressTokens()  # tokens that are forbidden besides
    first_most: int = 50  # steps: the latest first time, 1 s in Whisper
    name: str = "timestamps"

    def __post_init__(self) -> None:
        check_numbers(self, not_negative=("first_most",))
        if self.zero < 2 or self.times < 2:
            raise ValueError(
                f"TimestampRules has zero={self.zero} and times={self.times}; at least two time tokens behind the text are "
                "needed"
            )

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`).

        Raises:
            ValueError: a token is outside the vocabulary of the model.
        """
        vocab = encoded.decodable.vocab
        if self.zero + self.times > vocab:
            raise ValueError(
                f"TimestampRules has times from {self.zero} to {self.zero + self.times - 1}, and the model has {vocab} "
                "tokens"
            )
        never = self.never.init(encoded)
        no_b = jnp.zeros(encoded.limits_b.shape[0], bool)
        zeros_b = jnp.zeros(encoded.limits_b.shape[0], jnp.int32)

        def score(memory: Any, written: Any, output: DecoderOutput) -> tuple[Array, Any]:
            written = self._read(written, output.tokens_b)
            never_bv, suppressed = never.score(memory, written.suppressed, output)
            allowed_bv = (never_bv > -jnp.inf) & self._in_order(written, vocab)
            scores_bv = self._normalised(output.log_probs_bv, allowed_bv)
            return scores_bv, written._replace(suppressed=suppressed, steps_b=written.steps_b + 1)

        return ScorerState(never.memory, _Written(never.state, zeros_b, no_b, ~no_b, zeros_b - 1), score)

    def _read(self, written: _Written, tokens_b: Int[Array, " b"]) -> _Written:
        """Returns the state after one more token; the first one that a search reads is no part of the hypothesis."""
        there_b = written.steps_b > 0
        time_b = there_b & (tokens_b >= self.zero) & (tokens_b < self.zero + self.times)
        return written._replace(
            was_time_b=time_b,
            before_was_time_b=written.was_time_b | (written.steps_b <= 1),
            last_b=jnp.where(time_b, tokens_b - self.zero, written.last_b),
        )

    def _in_order(self, written: _Written, vocab: int) -> Bool[Array, "b v"]:
        """Returns True for the tokens that rules 1 to 3 allow."""
        step_v = np.arange(vocab) - self.zero
        time_v = jnp.asarray((step_v >= 0) & (step_v < self.times))[None]
        end_v = jnp.asarray(np.arange(vocab) == END)[None]
        first_b, was_b, before_b, last_b = (
            leaf[:, None]
            for leaf in (written.steps_b == 0, written.was_time_b, written.before_was_time_b, written.last_b)
        )
        least_b = last_b + ~(was_b & ~before_b)  # the next segment may begin where one has ended
        times_bv = time_v & (jnp.asarray(step_v)[None] >= least_b)
        times_bv &= jnp.where(first_b, jnp.asarray(step_v)[None] <= self.first_most, ~(was_b & before_b))
        others_bv = ~time_v & ~first_b & (end_v | ~(was_b & ~before_b))
        return times_bv | others_bv

    def _normalised(self, log_probs_bv: Float[Array, "b v"], allowed_bv: Bool[Array, "b v"]) -> Float[Array, "b v"]:
        """Returns the scores by which the log probabilities become those of the tokens that rule 4 leaves as well."""
        v = log_probs_bv.shape[1]
        time_v = jnp.asarray((np.arange(v) >= self.zero) & (np.arange(v) < self.zero + self.times))[None]
        kept_bv = jnp.where(allowed_bv, log_probs_bv, -jnp.inf)
        times_b = jax.nn.logsumexp(jnp.where(time_v, kept_bv, -jnp.inf), axis=1)
        other_b = jnp.max(jnp.where(time_v, -jnp.inf, kept_bv), axis=1)
        allowed_bv &= time_v | (times_b <= other_b)[:, None]
        # where nothing is allowed the end is: the hypothesis can not go on
        allowed_bv = allowed_bv.at[:, END].max(~jnp.any(allowed_bv, axis=1))
        total_b = jax.nn.logsumexp(jnp.where(allowed_bv, log_probs_bv, -jnp.inf), axis=1)
        shift_b = jnp.where(jnp.isfinite(total_b), -total_b, 0.0)
        return jnp.where(allowed_bv, shift_b[:, None], -jnp.inf)
