"""Scorers of a beam: the model's log probability, the CTC prefix score, and the interface of all others.

A scorer is a value of an experiment, as in `Beam(8, scorers=(LmScorer("words", 0.4), LengthReward(0.3)))`. Initialised on an
encoded batch, it is a step function beside the decoder's: from the decoder's output to a number for every token. The beam
adds these numbers and keeps the sum of each scorer along each hypothesis, so the n best come with one score per scorer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.decode import ctc_prefix
from jaxasr.decode.search import EncodedBatch
from jaxasr.records import END, Decodable, pytree


@dataclass(frozen=True)
class DecoderOutput:
    """The output of one decoder step, which every scorer receives."""

    tokens_b: Int[Array, " b"]  # the previous token, END at first
    log_probs_bv: Float[Array, "b v"]  # the model's own, float32
    weights_bhs: Float[Array, "b h s"]


ScoreFn = Callable[[Any, Any, DecoderOutput], tuple[Float[Array, "b v"], Any]]
UpperBound = Callable[[Any, Any, Int[Array, " b"]], Float[Array, " b"]]


def _never_rises(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
    return jnp.zeros(left_b.shape)


@dataclass(frozen=True)
class ScorerState:
    """A scorer that is initialised for a batch. The leaves of `memory` and `state` have the leading axis b."""

    memory: Any
    state: Any
    score: ScoreFn  # (memory, state, output) -> the score of each token (-inf: forbidden), and the next state
    upper_bound: UpperBound = (
        _never_rises  # (memory, state, tokens left) -> an upper bound on the sum of all scores that follow
    )


@runtime_checkable
class Scorer(Protocol):
    """A scorer: a weighted function of the decoder's output that a beam adds to the log probability of each token."""

    @property
    def name(self) -> str:
        """The name of its scores in the results."""
        ...

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch.

        Raises:
            ValueError: the model lacks what the scorer reads.
        """
        ...


@dataclass(frozen=True)
class DecoderScorer:
    """The log probability of the decoder itself, the first scorer of every beam."""

    weight: float = 1.0
    name: str = "attention"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""
        return ScorerState((), (), lambda memory, state, output: (weighted(self.weight, output.log_probs_bv), state))


@dataclass(frozen=True)
class CtcPrefixScorer:
    """The exact CTC prefix score.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture", equations 46 to 49.
    """

    weight: float
    name: str = "ctc"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""
        start = encoded.start
        if start.ctc_log_probs_bsv is None:
            raise ValueError(
                f"ctc_weight is {self.weight}, but the model has no CTC head: give it one, or set ctc_weight=0.0"
            )

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            scores_bv, state = ctc_prefix.step(memory, state, output.tokens_b)
            return weighted(self.weight, scores_bv), state

        return ScorerState(*ctc_prefix.begin(start.ctc_log_probs_bsv, start.hidden_lengths_b), score)


def weighted(weight: float, log_probs_bv: Float[Array, "b v"]) -> Float[Array, "b v"]:
    """Returns the product, where -inf stays -inf for a positive weight; a weight of 0 or less forbids no token."""
    return jnp.where(log_probs_bv == -jnp.inf, -jnp.inf if weight > 0 else 0.0, weight * log_probs_bv)


@pytree
@dataclass(frozen=True)
class ScoredStep:
    """The scores of all k scorers for every next token."""

    scores_bkv: Float[Array, "b k v"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


@dataclass(frozen=True)
class CombinedScorer:
    """A step function of the decoder and all scorers together."""

    decodable: Decodable
    scorers: tuple[ScorerState, ...]
    memory: Any
    state: Any
    end_threshold: float | None

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> ScoredStep:
        """Returns the scores of every next token after the previous one has been read."""
        step = self.decodable.step(memory[0], state[0], tokens_b)
        output = DecoderOutput(tokens_b, step.log_probs_bv.astype(jnp.float32), step.weights_bhs)
        scores = []
        states = []
        for scorer, scorer_memory, scorer_state in zip(self.scorers, memory[1], state[1], strict=True):
            scores_bv, next_state = scorer.score(scorer_memory, scorer_state, output)
            scores.append(scores_bv)
            states.append(next_state)
        scores_bkv = _hold_end(jnp.stack(scores, axis=1), output.log_probs_bv, self.end_threshold)
        return ScoredStep(scores_bkv, step.weights_bhs, (step.state, tuple(states)))

    def upper_bound(self, memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
        """Returns the most that may still be added to a hypothesis by `left_b` more tokens, the end included."""
        parts = zip(self.scorers, memory[1], state[1], strict=True)
        return sum((scorer.upper_bound(m, s, left_b) for scorer, m, s in parts), jnp.zeros(left_b.shape))


def combine_scorers(
    encoded: EncodedBatch, scorers: tuple[Scorer, ...], *, end_threshold: float | None
) -> CombinedScorer:
    """Initialises all scorers for a batch and combines them with the decoder.

    Raises:
        ValueError: the model lacks what one of them reads.
    """
    states = tuple(scorer.init(encoded) for scorer in scorers)
    memory = (encoded.start.memory, tuple(state.memory for state in states))
    state = (encoded.start.state, tuple(state.state for state in states))
    return CombinedScorer(encoded.decodable, states, memory, state, end_threshold)


def _hold_end(
    scores_bkv: Float[Array, "b k v"], model_bv: Float[Array, "b v"], threshold: float | None
) -> Float[Array, "b k v"]:
    """Forbids the end where log p(end) <= threshold * log p(best other token) under the model.

    The end stays where no other token can follow.

    Source: Hannun et al. 2019, arXiv:1904.02619, section 3.2.
    """
    if threshold is None:
        return scores_bkv
    others_bv = model_bv.at[:, END].set(-jnp.inf)
    meant_b = model_bv[:, END] > threshold * jnp.max(others_bv, axis=-1)
    alone_b = jnp.all(jnp.sum(scores_bkv, axis=1).at[:, END].set(-jnp.inf) == -jnp.inf, axis=-1)
    ends_bk = jnp.where((meant_b | alone_b)[:, None], scores_bkv[:, :, END], -jnp.inf)
    return scores_bkv.at[:, :, END].set(ends_bk)
