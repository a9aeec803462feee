"""Merging of the windows of a recording into one sequence of words, also where they overlap."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from jaxasr.records import Word

PAD_S = 0.06  # added on both sides of a word, because CTC often aligns a short word to a single position
SAME = 0.4  # intersection over union in time from which on two equal words are the same one


def merge_windows(before: Sequence[Word], after: Sequence[Word], start_s: float, end_s: float) -> tuple[int, int]:
    """Returns (i, j) such that two overlapping windows merge to `before[:i] + after[j:]`.

    The words that both windows contain, in the same order, with the same letters and at about the same time, are found as the
    common subsequence with the largest agreement in time. The second window takes over behind the common word nearest to the
    middle of the overlap, where both windows have the most context. Without a common word it takes over in the middle.

    Args:
        before: words of the earlier window, all times in seconds from the same origin.
        after: words of the later one.
        start_s: the beginning of the overlap.
        end_s: its end.
    """
    middle_s = (start_s + end_s) / 2
    first = next((i for i, word in enumerate(before) if word.end_s + PAD_S > start_s), len(before))
    last = next((j for j, word in enumerate(after) if word.start_s - PAD_S > end_s), len(after))
    both = [(first + i, j) for i, j in _common(before[first:], after[:last])]
    if not both:
        return (
            next((i for i in range(first, len(before)) if _middle_s(before[i]) >= middle_s), len(before)),
            next((j for j in range(last) if _middle_s(after[j]) >= middle_s), last),
        )
    i, j = min(both, key=lambda pair: abs(_middle_s(before[pair[0]]) + _middle_s(after[pair[1]]) - 2 * middle_s))
    return i + 1, j + 1


class OverlapMerger:
    """A merger of consecutive windows that returns words as they become final."""

    def __init__(self) -> None:
        self._held: list[Word] = []  # words of the last window, which the next one may replace

    def add(self, words: Sequence[Word], *, start_s: float, overlap_s: float) -> list[Word]:
        """Adds the next window and returns the words that are final by then.

        Args:
            words: its words, in seconds from the beginning of the recording.
            start_s: its beginning.
            overlap_s: the seconds at its beginning that the window before contains as well.
        """
        kept = len(self._held)
        first = 0
        if overlap_s:
            kept, first = merge_windows(self._held, words, start_s, start_s + overlap_s)
        final = self._held[:kept]
        self._held = list(words[first:])
        return final

    def end(self) -> list[Word]:
        """Returns the remaining words after the last window."""
        final = self._held
        self._held = []
        return final


def _common(before: Sequence[Word], after: Sequence[Word]) -> list[tuple[int, int]]:
    """Returns the index pairs of the common subsequence with the largest sum of agreement in time."""
    same = np.zeros((len(before) + 1, len(after) + 1))
    best = np.zeros_like(same)
    for i, j in product(range(len(before)), range(len(after))):
        same[i, j] = _agreement(before[i], after[j])
    for i, j in product(reversed(range(len(before))), reversed(range(len(after)))):
        best[i, j] = max(best[i + 1, j], best[i, j + 1], best[i + 1, j + 1] + same[i, j])
    pairs: list[tuple[int, int]] = []
    i = 0
    j = 0
    while best[i, j] > 0:
        if same[i, j] and best[i, j] == best[i + 1, j + 1] + same[i, j]:
            pairs.append((i, j))
            i += 1
            j += 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _agreement(one: Word, other: Word) -> float:
    """Returns intersection over union of two padded words in time; 0 for different letters or less than SAME."""
    if one.text != other.text:
        return 0.0
    shared = min(one.end_s, other.end_s) - max(one.start_s, other.start_s) + 2 * PAD_S
    covered = max(one.end_s, other.end_s) - min(one.start_s, other.start_s) + 2 * PAD_S
    return shared / covered if shared >= SAME * covered else 0.0


def _middle_s(word: Word) -> float:
    return (word.start_s + word.end_s) / 2
