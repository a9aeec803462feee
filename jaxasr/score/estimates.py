"""Every score of a set with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from jaxasr.score.jackknife import Blocks, Interval, Score, intervals
from jaxasr.score.metrics import Scores, UtteranceScores, bleu
from jaxasr.score.significance import rates


@dataclass(frozen=True)
class Estimate:
    """A score as a fraction, and where it lies."""

    value: float
    interval: Interval


def estimates(scores: Scores, *, blocks: Blocks | None = None, level: float = 0.95) -> dict[str, Estimate]:
    """Returns wer, cer, cer_no_spaces, mer, ser, bleu, rouge_1, rouge_2, rouge_l, and the parts of wer.

    These are substitutions, deletions and insertions, also over reference words.

    BLEU and ROUGE that do not apply (`Scores.applicable`) are left out.

    Args:
        blocks: the unit of each utterance, such as its speaker (`independent_units`); None: every utterance is one.
        level: of confidence.
    """
    table = np.stack([_row(utterance) for utterance in scores.utterances])
    applicable = {name: score for name, score in _SCORES.items() if name not in TEXT_SCORES - scores.applicable}
    found = intervals(list(table.T), applicable, blocks=blocks, level=level)
    return {name: Estimate(value, interval) for name, (value, interval) in found.items()}


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
        utterance.letters.errors,
        utterance.letters.references,
        utterance.units.errors,
        utterance.units.references,
        *utterance.ngrams,
    )
    return np.array(row, np.float64)


TEXT_SCORES = frozenset(("bleu", "rouge_1", "rouge_2", "rouge_l"))  # those that short references have not
Rows = Float64[np.ndarray, "sets columns"]


def _rate(*errors: int, over: int) -> Score:
    """Returns the score that is the sum of columns over another one."""
    return Score(_ratio(errors, over), "log", over)


def _share(part: int) -> Score:
    """Returns the score that is the mean of a column with values from 0 to 1 over utterances."""
    return Score(_ratio((part,), 7), "logit", 7)


def _ratio(above: Sequence[int], below: int) -> Callable[[Rows], Float64[np.ndarray, " sets"]]:
    return lambda rows: rates(np.stack([rows[:, list(above)].sum(axis=1), rows[:, below]], axis=1))


_SCORES: dict[str, Score] = {
    "wer": _rate(0, 1, 2, over=3),
    "substitutions": _rate(0, over=3),
    "deletions": _rate(1, over=3),
    "insertions": _rate(2, over=3),
    "cer": _rate(4, over=5),
    "cer_no_spaces": _rate(11, over=12),
    "mer": _rate(13, over=14),
    "ser": _share(6),
    "rouge_1": _share(8),
    "rouge_2": _share(9),
    "rouge_l": _share(10),
    "bleu": Score(lambda rows: np.array([bleu(row[15:]) for row in rows]), "logit", 3),
}
