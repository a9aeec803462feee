"""Tests of the difference between two systems on the same utterances, each with its source.

The test set is drawn from all that could be spoken; the systems are fixed. For systems trained several times see `seeds`.
"""

import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtri
from scipy.stats import binomtest

from jaxasr.score.alignment import Edit
from jaxasr.score.significance import Column

BUFFER = 2  # words that both systems recognise between two segments
PERMUTATIONS = 10_000


def mapsswe_segments(a: Sequence[Edit], b: Sequence[Edit], *, buffer: int = BUFFER) -> list[tuple[int, int]]:
    """Returns the errors of both systems in each segment of one utterance that has errors.

    A segment ends where both systems recognise `buffer` words in a row, with nothing inserted between them, or where the
    utterance ends.

    Args:
        a: the alignment of one system with the reference.
        b: the alignment of the other with the same reference.

    Raises:
        ValueError: the alignments have different references.

    Source: Gillick and Cox 1989, ICASSP, section 4; Pallett, Fisher and Fiscus 1990, ICASSP, for the buffer of two words.
    """
    errors_a = _errors_by_slot(a)
    errors_b = _errors_by_slot(b)
    if len(errors_a) != len(errors_b):
        raise ValueError(
            f"the alignments have {len(errors_a) // 2} and {len(errors_b) // 2} words of reference; both need the same"
        )
    segments: list[tuple[int, int]] = []
    current = (0, 0)
    correct = 0  # words in a row since the last error
    for slot, (in_a, in_b) in enumerate(zip(errors_a, errors_b, strict=True)):
        if in_a or in_b:
            if correct >= buffer and any(current):
                segments.append(current)
                current = (0, 0)
            current = (current[0] + in_a, current[1] + in_b)
            correct = 0
        else:
            correct += slot % 2
    return [*segments, current] if any(current) else segments


def mcnemar(wrong_a: Sequence[bool], wrong_b: Sequence[bool]) -> float:
    """Returns the two-sided p-value of McNemar's exact test on utterances that are right or wrong; 1 if none differs.

    Source: Gillick and Cox 1989, section 3.
    """
    only_a = sum(a and not b for a, b in zip(wrong_a, wrong_b, strict=True))
    only_b = sum(b and not a for a, b in zip(wrong_a, wrong_b, strict=True))
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def approximate_randomisation(
    differences: Column, *, permutations: int = PERMUTATIONS, seed: int = 0, most_exact: int = 13
) -> float:
    """Returns the two-sided p-value of the sum of differences, when the two systems may be exchanged in every block.

    Up to `most_exact` blocks with a difference all exchanges are counted; beyond it, `permutations` random ones.

    Args:
        differences: of errors, one number a block of utterances that are exchanged together (an utterance, a speaker).

    Source: Noreen 1989, Computer-intensive methods for testing hypotheses; Riezler and Maxwell 2005, ACL workshop, section 4.
    """
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    observed = abs(float(values.sum())) * (1 - 1e-12)  # sums in another order are as large
    if len(values) <= most_exact:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= observed))
    signs = np.random.default_rng(seed).integers(2, size=(permutations, len(values))) * 2 - 1
    return (float(np.sum(np.abs(signs @ values) >= observed)) + 1) / (permutations + 1)


def detectable_difference(differences: Column, words: Column, *, level: float = 0.95, power: float = 0.8) -> float:
    """Returns the smallest difference of error rates that this test set shows with a probability of `power`.

    It is (z_(1 + level)/2 + z_power) standard errors of the difference, taken from the blocks.

    Args:
        differences: of errors, one number a block.
        words: of the reference, one number a block.

    Raises:
        ValueError: fewer than two blocks: their spread is unknown.
    """
    return float(ndtri((1 + level) / 2) + ndtri(power)) * standard_error(differences, words)


def standard_error(differences: Column, words: Column) -> float:
    """Returns the standard error of sum(differences) / sum(words) over blocks, linearised.

    Raises:
        ValueError: fewer than two blocks, or no words.

    Source: Cochran 1977, Sampling techniques, section 6.4 (the ratio of two means), with the factor n / (n - 1).
    """
    above: Float64[np.ndarray, " blocks"] = np.asarray(differences, np.float64)
    below: Float64[np.ndarray, " blocks"] = np.asarray(words, np.float64)
    if len(above) < 2 or not below.sum():
        raise ValueError(
            f"{len(above)} blocks with {below.sum():g} words of reference; two blocks with words are needed"
        )
    residuals = above - above.sum() / below.sum() * below
    return math.sqrt(len(above) / (len(above) - 1) * float(np.sum(residuals**2))) / float(below.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number: at most a share alpha of such families has one below alpha by chance.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def block_sums(values: Column, blocks: Sequence[Hashable]) -> Float64[np.ndarray, " blocks"]:
    """Returns the sums of each block, in the order in which the blocks first occur."""
    numbers = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    return np.bincount([numbers[block] for block in blocks], weights=np.asarray(values, np.float64))


def _errors_by_slot(edits: Sequence[Edit]) -> list[int]:
    """Returns the errors before the first word, in it, between it and the second, and so on: 2 n + 1 numbers."""
    slots = [0]
    for edit in edits:
        if edit.kind == "insert":
            slots[-1] += 1
        else:
            slots += [int(edit.kind != "equal"), 0]
    return slots
