"""Perplexity of texts under a language model: per token and per word, and bits per character.

The end of a text is predicted too. It counts as one token, as one word (</s> of SRILM and KenLM) and as one character (the
end of a line), so the three measures differ only in the divisor of the log probability. Perplexities per token are comparable
between models of one vocabulary only, the other two between all models of the same texts.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Array, Float

from jaxasr.records import Batch
from jaxasr.report import Progress
from jaxasr.score.estimates import Estimate
from jaxasr.score.evaluate import LabelledBatch
from jaxasr.score.jackknife import IndependentUnits, Interval, Over, Score, independent_units, intervals
from jaxasr.score.significance import rates


@dataclass(frozen=True)
class TextScore:
    """A text and its log probability. All counts include the end."""

    id: str
    speaker: str
    text: str
    tokens: int
    log_prob: float  # natural logarithm

    @property
    def words(self) -> int:
        """The words of the text, and the end."""
        return len(self.text.split()) + 1

    @property
    def characters(self) -> int:
        """The characters of the text, blanks included, and the end."""
        return len(self.text) + 1


@dataclass(frozen=True)
class PerplexityResult:
    """A set of texts that a model has read, in the order they came."""

    texts: tuple[TextScore, ...]
    out_of_vocabulary: tuple[str, ...]  # ids of texts that the vocabulary has no tokens for; they count nowhere

    @cached_property
    def units(self) -> IndependentUnits:
        """The independent units: speakers if there are enough of them, else texts."""
        return independent_units([text.speaker for text in self.texts])

    def estimates(self, over: Over = "auto") -> dict[str, Estimate]:
        """Returns perplexity, word_perplexity and bits_per_character with their intervals.

        Args:
            over: the independent units: speakers, utterances, or "auto": speakers if there are enough of them.
        """
        columns = [
            [-text.log_prob for text in self.texts],
            [text.tokens for text in self.texts],
            [text.words for text in self.texts],
            [text.characters for text in self.texts],
        ]
        speakers = {"auto": self.units.blocks, "speakers": [text.speaker for text in self.texts], "utterances": None}
        found = intervals(columns, _NATS, blocks=speakers[over])
        return {name: _estimate(name, value, interval) for name, (value, interval) in found.items()}


def score_texts(
    log_probs: Callable[[Batch], Float[Array | np.ndarray, " b"]],
    batches: Iterable[LabelledBatch],
    *,
    progress: Progress | None = None,
) -> PerplexityResult:
    """Asks a model for the log probability of every text.

    Args:
        log_probs: of each example's text, its end included; compiled.
        batches: as `data.BoundPipeline.eval_batches` gives them.
        progress: an entered bar, advanced by texts.

    Raises:
        ValueError: no text came that the vocabulary can write.
        FloatingPointError: the log probability of a text is NaN.
    """
    texts: list[TextScore] = []
    unwritable: list[str] = []
    for labelled in batches:
        log_probs_b = np.asarray(log_probs(labelled.batch), np.float64)
        for row, (id, speaker, text) in enumerate(zip(labelled.ids, labelled.speakers, labelled.texts, strict=True)):
            tokens = int(labelled.batch.token_lengths_b[row])
            if text and not tokens:
                unwritable.append(id)
                continue
            if np.isnan(log_probs_b[row]):
                raise FloatingPointError(f"the log probability of {id} is NaN; the parameters are probably not finite")
            texts.append(TextScore(id, speaker, text, tokens + 1, float(log_probs_b[row])))
        if progress is not None:
            progress.advance(len(labelled.ids))
    if not texts:
        raise ValueError(f"no text to read; the vocabulary has no tokens for {len(unwritable)} that came")
    return PerplexityResult(tuple(texts), tuple(unwritable))


def _estimate(name: str, nats: float, interval: Interval) -> Estimate:
    """Returns the score of nats per unit, and its interval."""
    of = _FROM_NATS[name]
    return Estimate(of(nats), Interval(of(interval.low), of(interval.high), interval.level))


def _perplexity(nats: float) -> float:
    return math.exp(min(nats, 700.0))  # beyond it a float is infinite, which no file could hold


def _nats_per(column: int) -> Score:
    return Score(lambda rows: rates(rows[:, [0, column]]), "identity", column)


# the mean of log probabilities is what is nearly normal; the scores are functions of it
_NATS = {"perplexity": _nats_per(1), "word_perplexity": _nats_per(2), "bits_per_character": _nats_per(3)}
_FROM_NATS: dict[str, Callable[[float], float]] = {
    "perplexity": _perplexity,
    "word_perplexity": _perplexity,
    "bits_per_character": lambda nats: nats / math.log(2.0),
}
