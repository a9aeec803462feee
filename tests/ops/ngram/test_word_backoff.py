"""Models of words over tokens that spell them: what a whole hypothesis gets is what the words of its text get."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.ngram.word_backoff import word_backoff
from jaxasr.records import END, LanguageModel
from jaxasr.text.kneser_ney import estimate
from jaxasr.text.ngram import BEGIN, STOP, UNKNOWN, NGram
from jaxasr.training import spelling_of
from tests.reference.back_off import as_dictionary, log10_prob

WORDS = ["A", "B", "AB", "BA", "C", "ABC"]
CHARACTERS = ["", " ", "A", "B", "C"]
PIECES = ["", " A", "A", " B", "B", " AB", "C", " C", " ", "."]  # the point is in no word of the model

stepped = jax.jit(lambda lm, state, tokens_b: lm.step(state, tokens_b))


def model(order, *, unknown=True):
    rng = np.random.default_rng(order)
    sentences = [list(rng.choice(WORDS, size=rng.integers(0, 6))) for _ in range(40)]
    return estimate(sentences, order, vocabulary=None if unknown else tuple(WORDS))


def bound(made, texts):
    return word_backoff(made, spelling_of(texts), np.asarray(spelling_of(list(made.words)).hash_v))


def log_prob(grams, order, words):
    """Of the words, the last of which may be </s>, in natural logarithms."""
    heard = (BEGIN, *((word if (word,) in grams else UNKNOWN) for word in words))
    found = [log10_prob(grams, heard[max(i - order + 1, 0) : i], heard[i]) for i in range(1, len(heard))]
    return np.log(10.0) * sum(found)


def added(lm, tokens_bu):
    """What the model says after END and after each of the tokens, b u v."""
    state, said = lm.start(len(tokens_bu)), []
    for tokens_b in np.concatenate([np.full((len(tokens_bu), 1), END), tokens_bu], axis=1).T:
        log_probs_bv, state = stepped(lm, state, jnp.asarray(tokens_b))
        said.append(log_probs_bv)
    return np.stack(said, axis=1)


@pytest.mark.parametrize(
    ("texts", "order", "unknown"),
    [(CHARACTERS, 1, True), (CHARACTERS, 3, False), (PIECES, 2, False), (PIECES, 4, True)],
)
def test_a_hypothesis_gets_what_its_words_get(rng, texts, order, unknown):
    made = model(order, unknown=unknown)
    grams, lm = as_dictionary(made), bound(made, texts)
    assert isinstance(lm, LanguageModel)
    assert lm.vocab == len(texts)
    tokens_bu = rng.integers(1, len(texts), (20, 8))
    said = added(lm, tokens_bu)
    unknowns = 0
    for tokens, rows_uv in zip(tokens_bu, said, strict=True):
        total = 0.0
        for i, row_v in enumerate(rows_uv):
            words = "".join(texts[token] for token in tokens[:i]).split()
            unknowns += sum(word not in WORDS for word in words)
            begins = "".join(texts[token] for token in tokens[:i]).rpartition(" ")[2] != ""
            whole = log_prob(grams, order, words)
            # all that was spelt so far is paid for by a token that begins a word
            for token, text in enumerate(texts):
                if token == END:
                    expected = log_prob(grams, order, [*words, STOP]) - total
                else:
                    expected = whole - total if begins and text.startswith(" ") else 0.0
                assert row_v[token] == pytest.approx(expected, rel=1e-5, abs=2e-4)
            total += row_v[tokens[i]] if i < len(tokens) else 0.0
    assert unknowns > 20


def test_a_word_is_known_however_it_is_cut():
    lm = bound(model(3), PIECES)
    whole, cut = added(lm, np.array([[5, 6, 3]]))[0], added(lm, np.array([[1, 4, 6, 3]]))[0]  # ABC B; A-B-C B
    np.testing.assert_allclose(whole[-1], cut[-1], rtol=1e-6)
    assert whole[2, 3] < 0
    assert whole[2, 3] == pytest.approx(cut[3, 3])
    assert not cut[1, 4]  # within a word


def test_without_the_end_of_the_sentence_the_last_word_is_still_paid_for():
    made = model(3)
    lm, tokens_bu = bound(made, CHARACTERS), np.array([[2, 3, 1, 4]])  # AB C
    grams, whole, endless = as_dictionary(made), added(lm, tokens_bu)[0], added(lm.without_eos(), tokens_bu)[0]
    np.testing.assert_array_equal(whole[:, 1:], endless[:, 1:])
    paid = endless[np.arange(4), tokens_bu[0]].sum() + endless[4, END]
    assert paid == pytest.approx(log_prob(grams, 3, ["AB", "C"]), rel=1e-5)
    assert whole[4, END] - endless[4, END] == pytest.approx(
        log_prob(grams, 3, ["AB", "C", STOP]) - log_prob(grams, 3, ["AB", "C"]), rel=1e-4
    )


def test_a_sentence_begins_wherever_the_end_is_read():
    lm = bound(model(3), CHARACTERS)
    once, twice = (added(lm, np.array([tokens])) for tokens in ([2, 1, 3], [3, 3, END, 2, 1, 3]))
    np.testing.assert_array_equal(twice[:, 3:], once)


def test_a_batch_says_what_its_rows_say_alone(rng):
    lm, tokens_bu = bound(model(3), PIECES), rng.integers(1, len(PIECES), (4, 6))
    together = added(lm, tokens_bu)
    for tokens_u, rows_uv in zip(tokens_bu, together, strict=True):
        np.testing.assert_array_equal(added(lm, tokens_u[None])[0], rows_uv)


def test_of_words_with_one_hash_the_likelier_stands_for_both():
    made = model(1)
    hashes = np.asarray(spelling_of(list(made.words)).hash_v).copy()
    a, b = made.ids["A"], made.ids["B"]
    hashes[b] = hashes[a]
    lm = word_backoff(made, spelling_of(CHARACTERS), hashes)
    said = added(lm, np.array([[2]]))[0, 1, 1]
    assert said == pytest.approx(np.log(10.0) * made.orders[0].log10_probs[[a, b]].max(), rel=1e-5)


def test_a_model_without_words_is_refused():
    made = estimate([[]], 2)
    with pytest.raises(ValueError, match="needs </s> and at least one word"):
        bound(made, CHARACTERS)
    lacking = NGram(tuple(word.replace(STOP, "q") for word in model(1).words), model(1).orders)
    with pytest.raises(ValueError, match="needs </s>"):
        bound(lacking, CHARACTERS)


def test_hashes_rise():
    lm = bound(model(2), CHARACTERS)
    assert all(low < high for low, high in pairwise(lm.hashes_k.tolist()))
    assert len(lm.hashes_k) == len(WORDS)
