"""The no-speech decision: the probability that a window of audio holds no speech, from the scores of its hypothesis.

A recogniser writes words for any audio. Two scores of a hypothesis tell speech from other sounds at any level: the mean
posterior of its tokens under the decoder, and under CTC where they are aligned with the audio. CTC has no memory of the
tokens before, so a phrase that the decoder only completes by habit has a low posterior there. Means of posteriors are used
and not of their logarithms, because one wrong letter in a right word has a very low logarithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from jaxasr.score.logistic import fit_logistic

LOSS = 20.0  # a right word of speech that is withheld costs as much as so many words that are written for other sounds
_RIDGE = 0.01  # precision of the prior of each weight


class SpeechEvidence(NamedTuple):
    """The scores of a window's hypothesis by which speech is told from other sounds."""

    decoder: float  # mean posterior of a token under the decoder, the end included; in [0, 1]
    ctc: float | None  # mean posterior of a token under CTC, where it is aligned; None: no CTC head


@dataclass(frozen=True)
class NoSpeechMap:
    """A map of the evidence of a window to the probability that it holds no speech.

    The probability is sigmoid(-(decoder_weight * decoder + ctc_weight * ctc + offset)) with weights >= 0, so it never rises
    with a score.
    """

    decoder_weight: float
    ctc_weight: float
    offset: float

    @classmethod
    def default(cls, *, ctc: bool) -> "NoSpeechMap":
        """Returns the map for a run that was not calibrated; `ctc` is True for a model with a CTC head.

        The weights suit the quickstart's run (1 % WER) and a short run on AN4 (11 % WER) alike: at 0.5, 2 % and 4 % of the
        words on 21 kinds of made sounds are left, and no error is added on speech as it is, 30 dB quieter, and with noise at
        20 and 10 dB. Without a CTC head the two differ much, so the default withholds little, about a fifth.
        """
        return cls(10.0, 10.0, -11.0) if ctc else cls(20.0, 0.0, -9.0)

    def __post_init__(self) -> None:
        values = (self.decoder_weight, self.ctc_weight, self.offset)
        if not np.isfinite(values).all() or min(values[:2]) < 0:
            raise ValueError(f"{self}: finite numbers are needed, and weights of at least 0")

    def __call__(self, evidence: SpeechEvidence) -> float:
        """Returns the probability of no speech, in [0, 1].

        Raises:
            ValueError: the map weights the posteriors of CTC, and the evidence has none.
        """
        if self.ctc_weight and evidence.ctc is None:
            raise ValueError("the map of the no-speech decision reads a CTC head, and the model has none")
        score = self.decoder_weight * evidence.decoder + self.ctc_weight * (evidence.ctc or 0.0) + self.offset
        return float(expit(-score))


def fit_no_speech(
    evidence: Sequence[SpeechEvidence], speech: Bool[np.ndarray, " n"], weights_n: Float[np.ndarray, " n"]
) -> NoSpeechMap:
    """Returns the map under which the windows of both kinds are most probable, where speech weighs LOSS times as much.

    Targets are Platt's, as in `confidence.fit`, so that kinds which do not overlap still give a map of finite weights. A
    score whose weight would be negative is left out.

    Args:
        evidence: of all windows; all or none of them have posteriors of CTC.
        speech: True for windows of speech.
        weights_n: importance of each window, such as its number of words.

    Raises:
        ValueError: one of the two kinds is missing, or has no weight.
    """
    totals = [float(weights_n[kind].sum()) for kind in (speech, ~speech)]
    if min(totals) <= 0:
        raise ValueError(
            f"the words of {int(speech.sum())} windows of speech weigh {totals[0]:g}, those of {int((~speech).sum())} "
            f"windows of other sounds {totals[1]:g}: both are needed for a no-speech decision"
        )
    balanced_n = weights_n * np.where(speech, LOSS / totals[0], 1 / totals[1]) * len(speech) / (LOSS + 1)
    counts = int(speech.sum()), int((~speech).sum())
    targets_n = np.where(speech, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))
    scores_n2 = np.array([[score or 0.0 for score in scores] for scores in evidence], np.float64)
    used = scores_n2.any(axis=0)
    while True:
        inputs = np.concatenate([scores_n2[:, used], np.ones((len(speech), 1))], axis=1)
        zeros_k = np.zeros(inputs.shape[1])
        *found, offset = fit_logistic(
            inputs, targets_n, prior_k=zeros_k, ridge_k=zeros_k + _RIDGE, weights_n=balanced_n
        ).tolist()
        weights = np.zeros(2)
        weights[used] = found
        if (weights >= 0).all():
            return NoSpeechMap(float(weights[0]), float(weights[1]), offset)
        used &= weights >= 0
