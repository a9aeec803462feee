"""Windows of a recording back into one sequence of words: laid end to end, or joined where they overlap."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from jaxasr.records import Word

PAD_S = 0.06  # on both sides of a word: CTC often puts a short one on a single position
SAME = 0.4  # of what two words cover together, they must share as much in time to be the same word heard twice


def merge_windows(before: Sequence[Word], after: Sequence[Word], start_s: float, end_s: float) -> tuple[int, int]:
    """Where two overlapping windows are joined: `before[:i] + after[j:]` for the returned (i, j).

    The words that both windows heard, in the same order, with the same letters and at about the same time, are found as the
    common subsequence that agrees best in time. Of these the one nearest to the middle of the overlap is where the second
    window takes over, for there both have heard most of what surrounds it. If they have none in common, the middle itself.

    Args:
        before: words of the earlier window, all times in seconds from the same origin.
        after: words of the later one.
        start_s: where the overlap begins.
        end_s: where it ends.
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
    """The words of a recording's windows as they become final."""

    def __init__(self) -> None:
        self._held: list[Word] = []  # of the last window: the next one may know better

    def add(self, words: Sequence[Word], *, start_s: float, overlap_s: float) -> list[Word]:
        """The words that are final now that the next window is there.

        Args:
            words: of that window, in seconds from the beginning of the recording.
            start_s: where it begins.
            overlap_s: seconds that the window before has as well.
        """
        kept, first = len(self._held), 0
        if overlap_s:
            kept, first = merge_windows(self._held, words, start_s, start_s + overlap_s)
        final, self._held = self._held[:kept], list(words[first:])
        return final

    def end(self) -> list[Word]:
        """The rest, when there are no more windows."""
        final, self._held = self._held, []
        return final


def _common(before: Sequence[Word], after: Sequence[Word]) -> list[tuple[int, int]]:
    """The common subsequence of the largest sum of agreement in time."""
    same = np.zeros((len(before) + 1, len(after) + 1))
    best = np.zeros_like(same)
    for i, j in product(range(len(before)), range(len(after))):
        same[i, j] = _agreement(before[i], after[j])
    for i, j in product(reversed(range(len(before))), reversed(range(len(after)))):
        best[i, j] = max(best[i + 1, j], best[i, j + 1], best[i + 1, j + 1] + same[i, j])
    pairs, i, j = [], 0, 0
    while best[i, j] > 0:
        if same[i, j] and best[i, j] == best[i + 1, j + 1] + same[i, j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _agreement(one: Word, other: Word) -> float:
    """Shared time over covered time, of padded words; 0 for other letters or less than SAME."""
    if one.text != other.text:
        return 0.0
    shared = min(one.end_s, other.end_s) - max(one.start_s, other.start_s) + 2 * PAD_S
    covered = max(one.end_s, other.end_s) - min(one.start_s, other.start_s) + 2 * PAD_S
    return shared / covered if shared >= SAME * covered else 0.0


def _middle_s(word: Word) -> float:
    return (word.start_s + word.end_s) / 2
