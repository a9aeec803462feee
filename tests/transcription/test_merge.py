"""Windows joined: any cut of a known word sequence gives it back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.records import Word
from jaxasr.transcription.merge import OverlapMerger, merge_windows

JITTER_S = 0.03
LONGEST_S = 0.8  # of a word


def a_recording(rng: np.random.Generator, count: int, vocabulary: int) -> list[Word]:
    """Words of 0.2 to 0.8 s with gaps of 0.05 to 0.6 s; few different ones, so that many stand beside their likes."""
    lengths_s, gaps_s = rng.uniform(0.2, LONGEST_S, count), rng.uniform(0.05, 0.6, count)
    starts_s = np.cumsum(lengths_s + gaps_s) - lengths_s
    texts = [f"W{number}" for number in rng.integers(0, vocabulary, count)]
    return [Word(text, start, start + length) for text, start, length in zip(texts, starts_s, lengths_s, strict=True)]


def heard(rng: np.random.Generator, words: list[Word], start_s: float, end_s: float) -> list[Word]:
    """The words that are whole in a window, at times that are a little off."""
    inside = [word for word in words if word.start_s >= start_s and word.end_s <= end_s]
    off_s = rng.uniform(-JITTER_S, JITTER_S, (len(inside), 2))
    return [Word(w.text, w.start_s + a, w.end_s + b) for w, (a, b) in zip(inside, off_s, strict=True)]


def joined(windows: list[tuple[list[Word], float, float]]) -> list[str]:
    joiner = OverlapMerger()
    final = [
        word
        for words, start_s, overlap_s in windows
        for word in joiner.add(words, start_s=start_s, overlap_s=overlap_s)
    ]
    return [word.text for word in final + joiner.end()]


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_any_cut_into_overlapping_windows_gives_the_words_back(seed, count, vocabulary):
    rng = np.random.default_rng(seed)
    words = a_recording(rng, count, vocabulary)
    windows, start_s, overlap_s = [], 0.0, 0.0
    while True:
        end_s = start_s + rng.uniform(4.0, 8.0)
        windows.append((heard(rng, words, start_s, end_s), start_s, overlap_s))
        if end_s > words[-1].end_s:
            break
        overlap_s = rng.uniform(LONGEST_S + 4 * JITTER_S, 2.0)
        start_s = end_s - overlap_s
    assert joined(windows) == [word.text for word in words]


def test_what_the_edge_has_torn_is_left_to_the_other_window():
    before = [Word("ONE", 0.0, 0.4), Word("TWO", 3.0, 3.4), Word("THREE", 3.6, 4.0), Word("FO", 4.7, 4.9)]
    after = [Word("OH", 3.0, 3.2), Word("THREE", 3.58, 4.02), Word("FOUR", 4.7, 5.1), Word("FIVE", 6.0, 6.4)]
    assert merge_windows(before, after, 3.1, 4.9) == (3, 2)
    assert joined([(before, 0.0, 0.0), (after, 3.1, 1.8)]) == ["ONE", "TWO", "THREE", "FOUR", "FIVE"]


def test_where_nothing_agrees_the_middle_of_the_overlap_is_the_seam():
    before = [Word("A", 0.0, 0.5), Word("B", 4.2, 4.6), Word("X", 5.4, 5.8)]
    after = [Word("Y", 4.2, 4.4), Word("C", 5.3, 5.6), Word("D", 7.0, 7.5)]
    assert merge_windows(before, after, 4.0, 6.0) == (2, 1)


@pytest.mark.parametrize("empty", ["before", "after", "both"])
def test_a_window_without_words_takes_none_away(empty):
    before = [] if empty != "after" else [Word("A", 0.0, 0.4), Word("B", 3.2, 3.6)]
    after = [] if empty != "before" else [Word("B", 3.9, 4.2), Word("C", 6.0, 6.4)]
    assert joined([(before, 0.0, 0.0), (after, 3.0, 1.0)]) == [word.text for word in (*before, *after)]


def test_windows_that_were_cut_in_a_pause_are_laid_end_to_end():
    """The same word on both sides of a pause was said twice."""
    one, two = [Word("A", 0.0, 0.9)], [Word("A", 1.0, 1.4), Word("A", 1.5, 1.9)]
    joiner = OverlapMerger()
    assert joiner.add(one, start_s=0.0, overlap_s=0.0) == []
    assert joiner.add(two, start_s=0.95, overlap_s=0.0) == one
    assert joiner.end() == two
    assert joiner.end() == []
