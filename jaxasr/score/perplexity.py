"""Perplexity of texts under a language model: per token and per word, and bits per character.

The end of a text is predicted too. It counts as one token, as one word (</s> of SRILM and KenLM) and as one character (the
end of a line), so the three measures differ only in the divisor of the log probability. Perplexities per token are comparable
between models of one vocabulary only, the other two between all models of the same texts.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from jaxasr.records import Batch
from jaxasr.report import Progress
from jaxasr.score.estimates import Estimate
from jaxasr.score.evaluate import LabelledBatch
from jaxasr.score.significance import RESAMPLES, percentiles, totals


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

    def estimates(self, draw: Literal["utterances", "speakers"] = "utterances") -> dict[str, Estimate]:
        """Returns perplexity, word_perplexity and bits_per_character with their bootstrap intervals."""
        blocks = [text.speaker for text in self.texts] if draw == "speakers" else None
        columns = [
            [-text.log_prob for text in self.texts],
            [text.tokens for text in self.texts],
            [text.words for text in self.texts],
            [text.characters for text in self.texts],
        ]
        drawn = totals(columns, blocks=blocks, resamples=RESAMPLES)
        whole = np.sum(columns, axis=1)
        return {
            name: Estimate(score(*whole), percentiles([score(*row) for row in drawn], 0.95))
            for name, score in _SCORES.items()
        }


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


def _perplexity(nats: float, count: float) -> float:
    return math.exp(min(nats / count, 700.0))  # beyond it a float is infinite, which no file could hold


_SCORES: dict[str, Callable[[float, float, float, float], float]] = {
    "perplexity": lambda nats, tokens, words, characters: _perplexity(nats, tokens),
    "word_perplexity": lambda nats, tokens, words, characters: _perplexity(nats, words),
    "bits_per_character": lambda nats, tokens, words, characters: nats / characters / math.log(2.0),
}
