"""Errors counted on the device against rapidfuzz and jiwer, on words however they were cut into tokens."""

import jax
import jax.numpy as jnp
import jiwer
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from jaxasr.ops.edit_distance import Sequences, edit_distance, words_of
from jaxasr.training import spelling_of

counted = jax.jit(edit_distance)
split = jax.jit(words_of)


def padded(sequences, width):
    ids = np.zeros((len(sequences), width), np.int32)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return Sequences(jnp.asarray(ids), jnp.array([len(sequence) for sequence in sequences]))


def drawn(rng, rows, longest, vocab):
    return [rng.integers(1, vocab, rng.integers(0, longest + 1)).tolist() for _ in range(rows)]


def test_distances_are_those_of_rapidfuzz_whatever_the_padding(rng):
    references, hypotheses = drawn(rng, 200, 9, 4), drawn(rng, 200, 12, 4)
    expected = [Levenshtein.distance(*pair) for pair in zip(references, hypotheses, strict=True)]
    assert {0, 5} < set(expected)
    np.testing.assert_array_equal(counted(padded(references, 9), padded(hypotheses, 12)), expected)
    np.testing.assert_array_equal(counted(padded(hypotheses, 14), padded(references, 11)), expected)


CHARACTERS = ["", " ", "A", "B", "C"]
PIECES = ["", " A", "A", " B", "B", " AB", "C", " "]


@pytest.mark.parametrize("texts", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_word_errors_are_those_of_jiwer(rng, texts):
    references, hypotheses = drawn(rng, 300, 10, len(texts)), drawn(rng, 300, 14, len(texts))
    spelling = spelling_of(texts)
    sides = [split(*padded(tokens, width), spelling) for tokens, width in ((references, 10), (hypotheses, 14))]
    found = counted(*sides)
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        said, heard = ("".join(texts[token] for token in tokens).split() for tokens in (reference, hypothesis))
        assert sides[0].lengths_b[row] == len(said)
        assert sides[1].lengths_b[row] == len(heard)
        errors = len(heard)
        if said:
            counts = jiwer.process_words(" ".join(said), " ".join(heard))
            errors = counts.substitutions + counts.deletions + counts.insertions
        assert found[row] == errors


def test_a_word_is_the_same_however_it_was_cut():
    spelling = spelling_of(PIECES)
    whole, cut, apart = ([5], [1, 4], [7, 2, 4])  # " AB"; " A" "B"; " " "A" "B"
    found = split(*padded([whole, cut, apart], 4), spelling)
    assert len(set(found.ids_bu[:, 0].tolist())) == 1
    np.testing.assert_array_equal(found.lengths_b, 1)
    assert not np.any(found.ids_bu[:, 1:])


def test_a_token_of_two_words_is_refused():
    with pytest.raises(ValueError, match=r"parts of two words: \[' OF THE'\]; count errors with unit='token'"):
        spelling_of(["", " OF THE"])
