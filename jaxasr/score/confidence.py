"""Word confidences: measures of their reliability, and the map that calibrates them to probabilities.

A confidence is a number in [0, 1] for each word of a hypothesis; the word is right if the alignment with the reference has it
as equal. An inserted word is wrong, a deleted one has no confidence and does not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from jaxasr.score.alignment import align_words
from jaxasr.score.logistic import fit_logistic

BINS = 10  # of equal width
LEAST_WRONG = 1e-6  # a confidence is taken as at most 1 less this, and at least this
_RIDGE = 1e-3  # of the slope, in words: what decides where every word is right, or the two kinds don't overlap


class Bin(NamedTuple):
    """A bin of words with similar confidence."""

    words: int
    confidence: float  # mean
    right: float  # fraction


@dataclass(frozen=True)
class Reliability:
    """The reliability of confidences on a set of words. A measure that is not defined on the set is NaN."""

    words: int
    right: float  # share of the words that are right
    calibration_error: float  # mean distance between confidence and share of right words, over BINS bins, by words
    cross_entropy: float  # normalised: 1 perfect, 0 as good as knowing only the share of right words, negative worse
    area: float  # under the ROC curve: probability that a right word has more confidence than a wrong one
    bins: tuple[Bin, ...]  # those that have words, by confidence


@dataclass(frozen=True)
class Platt:
    """A monotone map of log posteriors x to probabilities: sigmoid(slope * logit(e^x) + offset), slope >= 0.

    At slope 1 / T and offset 0 it is a temperature.

    Source: Platt 1999, Probabilistic outputs for support vector machines; Guo et al. 2017 (1706.04599), section 4.1.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, log_posteriors: Float[np.ndarray, " words"]) -> Float[np.ndarray, " words"]:
        """Confidences."""
        return 1 / (1 + np.exp(-(self.slope * logits(log_posteriors) + self.offset)))


def words_right(references: Sequence[str], hypotheses: Sequence[str]) -> list[Bool[np.ndarray, " words"]]:
    """Returns for each hypothesis which words are correct, by an alignment with the fewest errors."""
    alignments = align_words(references, hypotheses)
    return [np.array([e.kind == "equal" for e in edits if e.kind != "delete"], bool) for edits in alignments]


def logits(log_posteriors: Float[np.ndarray, " words"]) -> Float[np.ndarray, " words"]:
    """Returns log(p / (1 - p)) of p = e^x, limited by LEAST_WRONG."""
    x = np.clip(log_posteriors, np.log(LEAST_WRONG), np.log1p(-LEAST_WRONG))
    return x - np.log(-np.expm1(x))


def fit(log_posteriors: Float[np.ndarray, " words"], right: Bool[np.ndarray, " words"]) -> Platt:
    """Returns the map under which what was right is most probable, by Newton's method on two parameters.

    Targets are Platt's: (right + 1) / (right + 2) for right words, 1 / (wrong + 2) for wrong ones, so that a set without an
    error does not claim that there are none. A slope below 0 would turn the order round: then it is 0, and the confidence of
    all is the share of right words.

    Raises:
        ValueError: no words.
    """
    if not len(right):
        raise ValueError("no words to fit confidences on: the hypotheses are all empty")
    hits = int(right.sum())
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    x = logits(log_posteriors)
    slope, offset = _fit_line(x, targets)
    if slope < 0:
        slope = 0.0
        offset = _fit_line(np.zeros_like(x), targets)[1]
    return Platt(slope, offset)


def reliability(confidences: Float[np.ndarray, " words"], right: Bool[np.ndarray, " words"]) -> Reliability:
    """Measures confidences.

    Raises:
        ValueError: no words.

    Source: expected calibration error, Guo et al. 2017 (1706.04599), equation 3; normalised cross entropy, Siu et al. 1997,
    as in NIST's sclite.
    """
    if not len(right):
        raise ValueError("no words to measure confidences on: the hypotheses are all empty")
    bins = tuple(_bins(confidences, right))
    gaps = [bin_.words * abs(bin_.confidence - bin_.right) for bin_ in bins]
    return Reliability(
        words=len(right),
        right=float(right.mean()),
        calibration_error=sum(gaps) / len(right),
        cross_entropy=_normalised_cross_entropy(confidences, right),
        area=_area(confidences, right),
        bins=bins,
    )


def _fit_line(x: Float[np.ndarray, " words"], targets: Float[np.ndarray, " words"]) -> tuple[float, float]:
    """Returns slope and offset of the largest likelihood."""
    inputs = np.stack([x, np.ones_like(x)], axis=1)
    slope, offset = fit_logistic(
        inputs, targets, prior_k=np.array([1.0, 0.0]), ridge_k=np.array([_RIDGE, 1e-9])
    ).tolist()
    return slope, offset


def _bins(confidences: Float[np.ndarray, " words"], right: Bool[np.ndarray, " words"]) -> Iterable[Bin]:
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    for place in range(BINS):
        mine = places == place
        if mine.any():
            yield Bin(int(mine.sum()), float(confidences[mine].mean()), float(right[mine].mean()))


def _normalised_cross_entropy(confidences: Float[np.ndarray, " words"], right: Bool[np.ndarray, " words"]) -> float:
    p = np.clip(confidences, LEAST_WRONG, 1 - LEAST_WRONG)
    share = right.mean()
    if share in (0.0, 1.0):
        return float("nan")
    known = -len(right) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    return float((known + np.sum(np.where(right, np.log(p), np.log1p(-p)))) / known)


def _area(confidences: Float[np.ndarray, " words"], right: Bool[np.ndarray, " words"]) -> float:
    """Returns the area under the ROC curve by ranks (Mann and Whitney); equal confidences count half."""
    hits = int(right.sum())
    misses = int((~right).sum())
    if not hits or not misses:
        return float("nan")
    return float((rankdata(confidences)[right].sum() - hits * (hits + 1) / 2) / (hits * misses))
