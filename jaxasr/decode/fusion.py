"""Language models in the beam: shallow fusion, density ratio, LODR and subtraction of the internal language model.

All four are sums of weighted log probabilities:
    shallow fusion      Lm("target", 0.4)
    density ratio       Lm("target", 0.4), Lm("source", -0.3)        source: of the training transcripts
    LODR                Lm("target", 0.4), Lm("bigram", -0.2)        a low-order model in the source's place
    internal            Lm("target", 0.4), InternalLm(-0.3)          what the decoder has learnt of the source itself
The beam says only their names; `--lm target=PATH` says which they are (evaluation/language_models.py).
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxasr.decode.scorers import DecoderOutput, ScorerState, UpperBound, weighted
from jaxasr.decode.search import EncodedBatch, with_capacity
from jaxasr.records import END, Batch, LanguageModel, Start


@runtime_checkable
class WordLm(Protocol):
    """A language model whose score of the end holds more than the end: a model of words, that of the last word."""

    def without_eos(self) -> LanguageModel:
        """The same without what it says of the end alone."""
        ...


@dataclass(frozen=True)
class LmScorer:
    """A language model, by its name among those of the `Decodable`.

    A negative weight takes away what the model says. Then no hypothesis can be proven to be the best before the limit of
    tokens: search with stop="likely".

    Sources: Gulcehre et al. 2015 (1503.03535), section 4.1; McDermott et al. 2019 (2002.11268), equation 10 (density
    ratio); Zheng et al. 2022 (2203.16776), section 2.3 (LODR).
    """

    name: str
    weight: float
    score_eos: bool = True  # False: what it says of the end is left out, as the transcripts of a text end elsewhere

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`.

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

        def score(memory: Any, state: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            log_probs_bv, state = model.step(state, heard.tokens_b)
            scores_bv = weighted(self.weight, log_probs_bv.astype(jnp.float32))
            return (scores_bv if self.score_eos or pays_late else scores_bv.at[:, END].set(0.0)), state

        state = with_capacity(model.start(len(encoded.limits_b)), encoded.tokens)
        return ScorerState((), state, score, log_prob_upper_bound(self.weight))


@runtime_checkable
class SupportsNoAudio(Protocol):
    """A model that can be asked what it expects where nothing was heard."""

    def without_audio(self, batch: Batch) -> Start:
        """The batch as if each utterance were one encoder position of zeros."""
        ...


@dataclass(frozen=True)
class InternalLm:
    """What the decoder says with a context vector of zeros: the language model that it has learnt with its transcripts.

    Its weight is negative as a rule. Source: Meng et al. 2021 (2011.01991), section 3.2; Variani et al. 2020 (2003.07705).
    """

    weight: float
    name: str = "internal"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`.

        Raises:
            ValueError: the model cannot be silenced.
        """
        decodable = encoded.decodable
        if not isinstance(decodable, SupportsNoAudio):
            raise ValueError(f"{type(decodable).__name__} has no silent(), which InternalLm asks; leave InternalLm out")
        silent = decodable.without_audio(encoded.batch)

        def score(memory: Any, state: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            step = decodable.step(memory, state, heard.tokens_b)
            return weighted(self.weight, step.log_probs_bv.astype(jnp.float32)), step.state

        return ScorerState(silent.memory, with_capacity(silent.state, encoded.tokens), score, log_prob_upper_bound(self.weight))


def log_prob_upper_bound(weight: float) -> UpperBound:
    """A log probability times a weight never rises; times a negative one, it rises without bound."""
    bound = 0.0 if weight >= 0 else float("inf")

    def most(memory: Any, state: Any, left_b: Int[Array, " b"]) -> Array:
        return jnp.full(left_b.shape, bound)

    return most
