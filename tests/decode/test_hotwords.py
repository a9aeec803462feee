"""Hotwords against a count of the letters of whole phrases, and in a beam."""

import itertools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import text
from jaxasr.decode import Beam, Hotwords, MaxTokens
from jaxasr.decode.hotwords import automaton
from tests.decode.toy_model import batch_of, search, toy

LETTERS = text.Characters(" AB")
WRITTEN = tuple(text.piece_texts(LETTERS))


def paid(phrases: tuple[str, ...], said: str, written=WRITTEN) -> list[float]:
    """What the automaton has paid after each letter of a text, and after the end."""
    table, node, sums = automaton(written, phrases), automaton(written, phrases).start, [0.0]
    for token in [*LETTERS.encode(said), 0]:
        sums.append(sums[-1] + table.earns_nv[node, token])
        node = table.goes_nv[node, token]
    return sums[1:]


def test_letters_are_paid_at_once_and_paid_back():
    assert paid(("AAB",), "AAB") == [1, 2, 3, 3]
    assert paid(("AAB",), "AA") == [1, 2, 0]
    assert paid(("AAB",), "AAA") == [1, 2, 0, 0]
    assert paid(("AAB",), "AABA") == [1, 2, 3, 0, 0]  # it goes on: another word
    assert paid(("AAB",), "BAAB") == [0, 0, 0, 0, 0]  # it begins inside a word
    assert paid(("AAB",), "AAB AAB") == [1, 2, 3, 3, 4, 5, 6, 6]
    assert paid(("A", "A B"), "A B") == [1, 1, 2, 2]
    assert paid(("A B",), "A B") == [1, 1, 2, 2]  # a space is no letter
    assert paid(("A B A", "B"), "A B B") == [1, 1, 2, 2, 2, 2]  # B stays, as it is one; the A before it was left


@pytest.mark.parametrize(
    "phrases", [("AB",), ("A", "AB"), ("A", "A B"), ("B A", "AA"), ("A B", "B"), ("A B A", "B"), ("B A AB", "A", "A A")]
)
def test_in_the_end_whole_phrases_alone_were_paid(phrases):
    """Phrases that share no word, or of which one stands in the other: every text of up to five letters."""
    for n in range(6):
        for letters in itertools.product(" AB", repeat=n):
            said = "".join(letters)
            total, rest = 0, f" {said} "
            i = 0
            while i < len(rest) - 1:
                longest = max((p for p in phrases if rest.startswith(f" {p} ", i)), key=len, default="")
                total += len(longest.replace(" ", ""))
                i += len(longest) + 1 if longest else 1
            assert paid(phrases, said)[-1] == total, said


def test_pieces_of_any_cut_are_paid_alike():
    pieces = ("", " AB", "A", "B", " A", "AB", "ABB")
    table = automaton(pieces, ("ABB A",))
    for cut in ([1, 3, 4], [4, 3, 3, 4], [4, 3, 3, 4, 0]):
        node, total = table.start, 0.0
        for token in cut if cut[-1] == 0 else [*cut, 0]:
            # the first piece of a transcript writes its space once more than was said: the start is that space
            total += table.earns_nv[node, token]
            node = table.goes_nv[node, token]
        assert total == 4


def test_a_beam_writes_what_it_is_paid_for(rng):
    batch = batch_of(rng, 6)
    model = replace(toy(4, seed=3), readout_bias_v=jnp.zeros(4))
    limit = MaxTokens(0.0, 7)
    bare = search(Beam(8, max_tokens=limit), model, batch)
    paid_for = search(Beam(8, max_tokens=limit, scorers=(Hotwords(LETTERS, ("AB BA",), bonus=4.0),)), model, batch)
    assert LETTERS.decode(paid_for.tokens_bwu[0, 0, :5].tolist()) == "AB BA"
    assert paid_for.scores_by_scorer_bwk is not None
    np.testing.assert_allclose(paid_for.scores_by_scorer_bwk[0, 0, 1], 4 * 4.0)
    assert LETTERS.decode(bare.tokens_bwu[0, 0, : bare.token_lengths_bw[0, 0]].tolist()) != "AB BA"


def test_bad_phrases_are_refused():
    for phrases, message in (((), "no phrases"), ((" ",), "needs a letter"), (("AC",), "'C' in 'AC'")):
        with pytest.raises(ValueError, match=message):
            Hotwords(LETTERS, phrases)
