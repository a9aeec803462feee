"""Every score of a set with its bootstrap interval, from one set of draws."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from jaxasr.score.metrics import Scores, UtteranceScores, bleu
from jaxasr.score.significance import RESAMPLES, Interval, percentiles, totals


@dataclass(frozen=True)
class Estimate:
    """A score as a fraction, and where it lies."""

    value: float
    interval: Interval


def estimates(
    scores: Scores,
    *,
    blocks: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Returns wer, cer, ser, bleu, rouge_1, rouge_2, rouge_l, and substitutions, deletions, insertions per reference word.

    Args:
        blocks: who speaks in each utterance; whole speakers are drawn then. None: utterances are drawn.
        level: of confidence.
    """
    table = np.stack([_row(utterance) for utterance in scores.utterances])
    drawn = totals(list(table.T), blocks=blocks, resamples=resamples, seed=seed)
    whole = table.sum(axis=0)
    return {
        name: Estimate(score(whole), percentiles([score(row) for row in drawn], level))
        for name, score in _SCORES.items()
    }


def _row(utterance: UtteranceScores) -> Float64[np.ndarray, " columns"]:
    words = utterance.words
    characters = utterance.characters
    row = (
        words.substitutions,
        words.deletions,
        words.insertions,
        words.references,
        characters.errors,
        characters.references,
        words.errors > 0,
        1,
        utterance.rouge_1,
        utterance.rouge_2,
        utterance.rouge_l,
        *utterance.ngrams,
    )
    return np.array(row, np.float64)


def _ratio(*errors: int, over: int) -> Callable[[np.ndarray], float]:
    """Returns the sum of columns over another; 0 over 0 is 0, and anything else over 0 infinite."""

    def ratio(row: np.ndarray) -> float:
        above = float(row[list(errors)].sum())
        below = float(row[over])
        return above / below if below else (float("inf") if above else 0.0)

    return ratio


_SCORES: dict[str, Callable[[np.ndarray], float]] = {
    "wer": _ratio(0, 1, 2, over=3),
    "substitutions": _ratio(0, over=3),
    "deletions": _ratio(1, over=3),
    "insertions": _ratio(2, over=3),
    "cer": _ratio(4, over=5),
    "ser": _ratio(6, over=7),
    "rouge_1": _ratio(8, over=7),
    "rouge_2": _ratio(9, over=7),
    "rouge_l": _ratio(10, over=7),
    "bleu": lambda row: bleu(row[11:]),
}
