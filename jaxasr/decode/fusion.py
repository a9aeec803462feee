"""Language models in the beam: shallow fusion, density ratio, LODR and subtraction of the internal language model.

All four are sums of weighted log probabilities:
    shallow fusion   LmScorer("target", 0.4)
    density ratio    LmScorer("target", 0.4), LmScorer("source", -0.3)   source: a model of the training transcripts
    LODR             LmScorer("target", 0.4), LmScorer("bigram", -0.2)   a low-order model in the source's place
    internal         LmScorer("target", 0.4), InternalLm(-0.3)           the language model inside the decoder
An experiment holds only the names; `--lm target=PATH` gives the models (evaluation/language_models.py).
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxasr.decode.scorers import DecoderOutput, ScorerState, UpperBound, weighted
from jaxasr.decode.search import EncodedBatch, with_capacity
from jaxasr.records import END, Batch, LanguageModel, Start
from jaxasr.tree import check_numbers


@runtime_checkable
class WordLm(Protocol):
    """A language model of words over tokens: its score of the end includes the score of the last word."""

    def without_eos(self) -> LanguageModel:
        """Returns the model without the score of the end symbol itself."""
        ...


@dataclass(frozen=True)
class LmScorer:
    """A language model as a scorer, found by its name among those of the `Decodable`.

    A negative weight subtracts the model's log probability. No hypothesis can then be proven to be the best before the limit
    of tokens, so search with stop="likely".

    Sources: Gulcehre et al. 2015 (1503.03535), section 4.1; McDermott et al. 2019 (2002.11268), equation 10 (density
    ratio); Zheng et al. 2022 (2203.16776), section 2.3 (LODR).
    """

    name: str
    weight: float
    score_eos: bool = True  # False: the end symbol gets 0, for text whose sentences end elsewhere than the utterances

    def __post_init__(self) -> None:
        check_numbers(self)

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`).

        Raises:
            ValueError: there is no such language model, or it has another vocabulary.
        """
        decodable = encoded.decodable
        if self.name not in decodable.lms:
            there = ", ".join(decodable.lms) or "none was given"
            raise ValueError(
                f"the search fuses a language model {self.name!r}; there is: {there}. Give it: --lm {self.name}=PATH"
            )
        model = decodable.lms[self.name]
        pays_late = isinstance(model, WordLm)
        if pays_late and not self.score_eos:
            model = model.without_eos()
        if model.vocab != decodable.vocab:
            raise ValueError(
                f"language model {self.name!r} has {model.vocab} tokens and the recogniser {decodable.vocab}: train it "
                "with the recogniser's tokenizer"
            )

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            log_probs_bv, state = model.step(state, output.tokens_b)
            scores_bv = weighted(self.weight, log_probs_bv.astype(jnp.float32))
            return (scores_bv if self.score_eos or pays_late else scores_bv.at[:, END].set(0.0)), state

        state = with_capacity(model.start(encoded.limits_b.shape[0]), encoded.tokens)
        return ScorerState((), state, score, log_prob_upper_bound(self.weight))


@runtime_checkable
class SupportsNoAudio(Protocol):
    """A model that can be run on a context of zeros."""

    def without_audio(self, batch: Batch) -> Start:
        """Returns the start of a search in which each utterance is one encoder position of zeros."""
        ...


@dataclass(frozen=True)
class InternalLm:
    """The internal language model: the decoder with a context vector of zeros.

    Its weight is usually negative.

    Source: Meng et al. 2021 (2011.01991), section 3.2; Variani et al. 2020 (2003.07705).
    """

    weight: float
    name: str = "internal"

    def __post_init__(self) -> None:
        check_numbers(self)

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`).

        Raises:
            ValueError: the model cannot be silenced.
        """
        decodable = encoded.decodable
        if not isinstance(decodable, SupportsNoAudio):
            raise ValueError(
                f"{type(decodable).__name__} has no without_audio(), which InternalLm needs; leave InternalLm out"
            )
        silent = decodable.without_audio(encoded.batch)

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            step = decodable.step(memory, state, output.tokens_b)
            return weighted(self.weight, step.log_probs_bv.astype(jnp.float32)), step.state

        return ScorerState(
            silent.memory, with_capacity(silent.state, encoded.tokens), score, log_prob_upper_bound(self.weight)
        )


def log_prob_upper_bound(weight: float) -> UpperBound:
    """Returns the upper bound of a weighted log probability: 0, or infinity for a negative weight."""
    bound = 0.0 if weight >= 0 else float("inf")

    def upper_bound(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Array:
        return jnp.full(left_b.shape, bound)

    return upper_bound
