"""What a beam adds up per token: the model's log probability, the CTC prefix score, and every scorer it was given.

A scorer is a value of an experiment (Beam(8, scorers=(Lm("words", 0.4), LengthReward(0.3)))). Opened on an encoded batch it
is a step function beside the decoder's: from what was heard to a number for every token. The beam adds the numbers up and
keeps the sum of each scorer along each hypothesis, so that the n best tell what each of them had to say.
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
    """One step of the decoder, as every scorer sees it."""

    tokens_b: Int[Array, " b"]  # the previous token, END at first
    log_probs_bv: Float[Array, "b v"]  # the model's own, float32
    weights_bhs: Float[Array, "b h s"]


ScoreFn = Callable[[Any, Any, DecoderOutput], tuple[Float[Array, "b v"], Any]]
UpperBound = Callable[[Any, Any, Int[Array, " b"]], Float[Array, " b"]]


def _never_rises(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
    return jnp.zeros(left_b.shape)


@dataclass(frozen=True)
class ScorerState:
    """A scorer that is ready for a batch. The leaves of `memory` and `state` have the leading axis b."""

    memory: Any
    state: Any
    score: ScoreFn  # (memory, state, heard) -> what each token adds (-inf: it may not come), and the state after it
    upper_bound: UpperBound = (
        _never_rises  # (memory, state, tokens left) -> the most that all of them may still add: what proofs need
    )


@runtime_checkable
class Scorer(Protocol):
    """Something that a beam weighs in."""

    @property
    def name(self) -> str:
        """What its share is called."""
        ...

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Ready for a batch.

        Raises:
            ValueError: the model lacks what the scorer reads.
        """
        ...


@dataclass(frozen=True)
class DecoderScorer:
    """The model's own log probability: what every beam begins with."""

    weight: float = 1.0
    name: str = "attention"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`."""
        return ScorerState((), (), lambda memory, state, heard: (weighted(self.weight, heard.log_probs_bv), state))


@dataclass(frozen=True)
class CtcPrefixScorer:
    """The exact CTC prefix score. Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture", equations 46 to 49."""

    weight: float
    name: str = "ctc"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`."""
        start = encoded.start
        if start.ctc_log_probs_bsv is None:
            raise ValueError(
                f"ctc_weight is {self.weight}, but the model has no CTC head: give it one, or set ctc_weight=0.0"
            )

        def score(memory: Any, state: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            scores_bv, state = ctc_prefix.step(memory, state, heard.tokens_b)
            return weighted(self.weight, scores_bv), state

        return ScorerState(*ctc_prefix.begin(start.ctc_log_probs_bsv, start.hidden_lengths_b), score)


def weighted(weight: float, log_probs_bv: Float[Array, "b v"]) -> Float[Array, "b v"]:
    """The product, in which what is impossible stays so; but nothing is forbidden by a weight of 0, or less."""
    return jnp.where(log_probs_bv == -jnp.inf, -jnp.inf if weight > 0 else 0.0, weight * log_probs_bv)


@pytree
@dataclass(frozen=True)
class ScoredStep:
    """What all scorers say together about the next token, k scores for each."""

    scores_bkv: Float[Array, "b k v"]
    weights_bhs: Float[Array, "b h s"]
    state: Any


@dataclass(frozen=True)
class CombinedScorer:
    """The decoder and all scorers as one step function."""

    decodable: Decodable
    opened: tuple[ScorerState, ...]
    memory: Any
    state: Any
    end_threshold: float | None

    def step(self, memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> ScoredStep:
        """Reads the previous token and says what may follow."""
        step = self.decodable.step(memory[0], state[0], tokens_b)
        heard = DecoderOutput(tokens_b, step.log_probs_bv.astype(jnp.float32), step.weights_bhs)
        scores, states = [], []
        for each, its_memory, its_state in zip(self.opened, memory[1], state[1], strict=True):
            scores_bv, its_state = each.score(its_memory, its_state, heard)
            scores.append(scores_bv)
            states.append(its_state)
        scores_bkv = _hold_end(jnp.stack(scores, axis=1), heard.log_probs_bv, self.end_threshold)
        return ScoredStep(scores_bkv, step.weights_bhs, (step.state, tuple(states)))

    def upper_bound(self, memory: Any, state: Any, left_b: Int[Array, " b"]) -> Float[Array, " b"]:
        """The most that may still be added to a hypothesis that so many tokens, the end included, may follow."""
        parts = zip(self.opened, memory[1], state[1], strict=True)
        return sum((each.upper_bound(m, s, left_b) for each, m, s in parts), jnp.zeros(left_b.shape))


def combine_scorers(encoded: EncodedBatch, scorers: tuple[Scorer, ...], *, end_threshold: float | None) -> CombinedScorer:
    """All scorers, opened.

    Raises:
        ValueError: the model lacks what one of them reads.
    """
    opened = tuple(each.init(encoded) for each in scorers)
    memory = (encoded.start.memory, tuple(each.memory for each in opened))
    state = (encoded.start.state, tuple(each.state for each in opened))
    return CombinedScorer(encoded.decodable, opened, memory, state, end_threshold)


def _hold_end(
    scores_bkv: Float[Array, "b k v"], model_bv: Float[Array, "b v"], threshold: float | None
) -> Float[Array, "b k v"]:
    """Forbids the end where the model does not mean it: log p(end) <= threshold * log p(best other).

    Where nothing else can follow, the end stays. Source: Hannun et al. 2019, arXiv:1904.02619, section 3.2.
    """
    if threshold is None:
        return scores_bkv
    others_bv = model_bv.at[:, END].set(-jnp.inf)
    meant_b = model_bv[:, END] > threshold * jnp.max(others_bv, axis=-1)
    alone_b = jnp.all(jnp.sum(scores_bkv, axis=1).at[:, END].set(-jnp.inf) == -jnp.inf, axis=-1)
    ends_bk = jnp.where((meant_b | alone_b)[:, None], scores_bkv[:, :, END], -jnp.inf)
    return scores_bkv.at[:, :, END].set(ends_bk)
