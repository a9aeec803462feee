"""Tokens that come one by one to words: each as soon as it is sure, with the positions of its first and last token."""

import pytest

from jaxasr.text import Characters, train_sentencepiece
from jaxasr.transcription.detokenize import IncrementalDetokenizer, WordSpan

LETTERS = Characters(" ABC")


def written(tokenizer, text, positions=None):
    """What comes out at each token, and at the end."""
    writer, tokens = IncrementalDetokenizer(tokenizer), tokenizer.encode(text)
    out = [list(writer.write(token, place)) for token, place in zip(tokens, positions or range(50), strict=False)]
    return [*out, list(writer.finish())]


def test_a_word_is_sure_at_the_space_behind_it():
    assert written(LETTERS, "AB C", (3, 3, 5, 7)) == [[], [], [WordSpan("AB", 3, 3)], [], [WordSpan("C", 7, 7)]]


def test_its_bounds_are_those_of_its_letters():
    assert written(LETTERS, "ABC A", (1, 4, 6, 9, 9)) == [
        [],
        [],
        [],
        [WordSpan("ABC", 1, 6)],
        [],
        [WordSpan("A", 9, 9)],
    ]


def test_spaces_make_no_words():
    assert [each for each in written(LETTERS, "  A   B ") if each] == [[WordSpan("A", 2, 2)], [WordSpan("B", 6, 6)]]
    assert written(LETTERS, " ") == [[], []]
    assert written(LETTERS, "") == [[]]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    sentences = ["AB CAB BA", "CAB AB", "BA BA CAB", "C AB A"]
    return train_sentencepiece(sentences, tmp_path_factory.mktemp("pieces") / "m.model", pieces=10)


@pytest.mark.parametrize("text", ["AB CAB BA", "CC A AABB", "A"])
def test_with_pieces_a_word_is_sure_when_the_next_one_begins(pieces, text):
    out = written(pieces, text)
    assert [word.text for each in out for word in each] == text.split()
    assert len(out[-1]) == 1
    bounds = [bound for each in out for word in each for bound in (word.first, word.last)]
    assert bounds == sorted(bounds)
