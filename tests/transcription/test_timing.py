"""Words of tokens: who writes them, when they are, how probable they are."""

import numpy as np
import pytest

from jaxasr import nn, text
from jaxasr.transcription.timing import (
    FrameClock,
    alignment_spans,
    attention_spans,
    frame_clock,
    log_posteriors,
    on_monotonic_path,
    tokens_to_words,
    uniform_spans,
)
from tests import tiny_experiments as tiny

LETTERS = text.Characters(" AB")


def tokens(said: str) -> np.ndarray:
    return np.array(LETTERS.encode(said), np.int32)


def test_words_own_their_letters_and_the_space_behind_them():
    found = tokens_to_words(tokens("AB  A BB "), LETTERS)
    assert [word.text for word in found] == ["AB", "A", "BB"]
    assert [word.own for word in found] == [[0, 1], [4], [6, 7]]
    assert [word.all for word in found] == [[0, 1, 2, 3], [4, 5], [6, 7, 8]]


def test_a_space_before_the_first_word_belongs_to_it():
    (word,) = tokens_to_words(tokens("  A"), LETTERS)
    assert (word.own, word.all) == ([2], [0, 1, 2])


@pytest.mark.parametrize("said", ["", " ", "   "])
def test_nothing_but_spaces_is_no_word(said):
    assert tokens_to_words(tokens(said), LETTERS) == []


def test_pieces_that_begin_with_their_space(tmp_path):
    pieces = text.train_sentencepiece(["ABBA BABA ABBA", "BABA AB"] * 5, tmp_path / "p.model", pieces=7)
    found = tokens_to_words(np.array(pieces.encode("BABA ABBA AB")), pieces)
    assert [word.text for word in found] == ["BABA", "ABBA", "AB"]
    assert [k for word in found for k in word.all] == list(range(len(pieces.encode("BABA ABBA AB"))))


def test_aligned_words_go_from_their_first_to_their_last_token():
    found = alignment_spans(tokens_to_words(tokens("AB A"), LETTERS), np.array([2, 5, 6, 9]), np.array([3, 5, 8, 9]))
    assert found == [(2.0, 5.0), (9.0, 9.0)]


def test_attended_words_have_all_but_a_twentieth_of_their_attention_on_both_sides():
    weights_us = np.zeros((3, 9))
    weights_us[0, 2:4], weights_us[0, 0], weights_us[2, 5:7] = 0.98, 0.04, 1.0
    assert attention_spans(tokens_to_words(tokens("A B"), LETTERS), weights_us) == [(2.0, 3.0), (5.0, 6.0)]
    assert attention_spans(tokens_to_words(tokens("A"), LETTERS), np.zeros((1, 3))) == [
        (0.0, 0.0)
    ]  # a head that looks nowhere


def test_attention_to_far_positions_does_not_count():
    """The path of the largest sum is found among all; the first token attends to the end as well, as some heads do."""
    rng = np.random.default_rng(4)
    weights_us = rng.random((3, 6))
    cuts = [(a, b) for a in range(1, 5) for b in range(a + 1, 6)]
    sums = [weights_us[0, :a].sum() + weights_us[1, a:b].sum() + weights_us[2, b:].sum() for a, b in cuts]
    a, b = cuts[int(np.argmax(sums))]
    expected = np.zeros((3, 6))
    for token, part in enumerate((np.s_[:a], np.s_[a:b], np.s_[b:])):
        expected[token, part] = weights_us[token, part]
    np.testing.assert_array_equal(on_monotonic_path(weights_us), expected)
    weights_us = np.zeros((2, 8))
    weights_us[0, 1:3], weights_us[0, 7], weights_us[1, 4:6] = 0.3, 0.4, 0.5
    spans = attention_spans(tokens_to_words(tokens("AB"), LETTERS), on_monotonic_path(weights_us))
    assert spans == [(1.0, 5.0)]


@pytest.mark.parametrize("shape", [(3, 2), (0, 4), (1, 1)])
def test_without_room_for_a_path_all_attention_counts(shape):
    weights_us = np.ones(shape)
    np.testing.assert_array_equal(on_monotonic_path(weights_us), weights_us)


def test_words_that_nothing_aligns_are_spread_evenly():
    words = tokens_to_words(tokens("AB A"), LETTERS)
    clock = FrameClock(0.1, 0.0)
    spans = [clock.span_s(*span) for span in uniform_spans(words, 4, 8.0)]
    np.testing.assert_allclose(spans, [(0.0, 0.4), (0.6, 0.8)])


def test_a_word_is_as_probable_as_its_least_probable_token():
    log_probs = np.log([0.5, 0.8, 0.9, 0.4])
    np.testing.assert_allclose(np.exp(log_posteriors(tokens_to_words(tokens("AB A"), LETTERS), log_probs)), [0.5, 0.4])


def test_positions_lie_under_the_middles_of_their_windows():
    """Windows of 40 ms every 20 ms, two of them a position: position 3 has frames 6 and 7, middles at 140 and 160 ms."""
    clock = frame_clock(tiny.experiment().model)
    np.testing.assert_allclose(clock.span_s(3.0, 3.0), (0.13, 0.17))
    plain = nn.Seq2Seq(nn.LogMel(), nn.Listener(8, (4, 1)), tiny.experiment().model.decoder)
    np.testing.assert_allclose(frame_clock(plain).span_s(0.0, 1.0), (0.0075, 0.0875))
