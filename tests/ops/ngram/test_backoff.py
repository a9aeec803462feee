"""The look-up on the device against the recursion over a dictionary, on models of every order and layout."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.ngram.backoff import Backoff, backoff
from jaxasr.records import END, LanguageModel
from jaxasr.text.kneser_ney import estimate
from jaxasr.text.ngram import BEGIN, STOP, UNKNOWN, Grams, NGram
from tests.reference.back_off import as_dictionary, log10_prob

LETTERS = "abcdef"
ROWS = {"rows": 2**26, "some rows": 600, "one row": 0}


def sentences(seed, *, count=40, letters=LETTERS):
    rng = np.random.default_rng(seed)
    shares = 0.6 ** np.arange(len(letters))
    return [list(rng.choice(list(letters), size=rng.integers(0, 12), p=shares / shares.sum())) for _ in range(count)]


@cache
def model(order, kind):
    """open: with <unk>, which is also a word of the text; ragged: as SRILM may leave it, with n-grams and <s> missing."""
    if kind == "closed":
        return estimate(sentences(order), order, vocabulary=tuple(LETTERS))
    made = estimate([[*"xx"], *sentences(order, letters=LETTERS[:-1] + "x")], order)
    made = replace(made, words=tuple({UNKNOWN: "never", "x": UNKNOWN}.get(word, word) for word in made.words))
    return made if kind == "open" else ragged(made)


def ragged(made):
    """Half of the longest n-grams are gone, and of the shorter ones a third of those that are no context."""
    rng, orders, kept = np.random.default_rng(1), [], np.ones(len(made.orders[0]), bool)
    for grams, longer in zip(made.orders, [*made.orders[1:], None], strict=True):
        if longer is None:
            contexts = np.zeros(len(grams), bool)
        places = np.cumsum(kept) - 1 if orders else np.zeros(1, int)
        here = kept[grams.contexts] if orders else np.ones(len(grams), bool)
        contexts = np.zeros(len(grams), bool)
        if longer is not None:
            contexts[longer.contexts] = True
        if orders:
            here &= contexts | (rng.random(len(grams)) < 0.6)
        orders.append(
            Grams(
                places[grams.contexts[here]].astype(np.int32),
                grams.words[here],
                grams.log10_probs[here],
                grams.log10_back_offs[here] * (rng.random(here.sum()) < 0.8),
            )
        )
        kept = here
    return NGram(made.words, tuple(orders))


def expected(made, tokens, words):
    """Natural log probabilities of all tokens after the begin and these tokens."""
    known = {token: word if word in made.ids else UNKNOWN for token, word in enumerate(words)}
    history = (BEGIN, *(known[token] for token in tokens))[-(made.order - 1) :] if made.order > 1 else ()
    grams = as_dictionary(made)
    return np.log(10.0) * np.array([log10_prob(grams, history, known[token]) for token in range(len(words))])


stepped = jax.jit(lambda lm, state, tokens_b: lm.step(state, tokens_b))


def read(lm, tokens_bu):
    """What the model says after END and after each of the tokens, b u v."""
    state, said = lm.start(len(tokens_bu)), []
    for tokens_b in np.concatenate([np.full((len(tokens_bu), 1), END), tokens_bu], axis=1).T:
        log_probs_bv, state = stepped(lm, state, jnp.asarray(tokens_b))
        said.append(log_probs_bv)
    return np.stack(said, axis=1)


CASES = [(4, kind, rows) for kind in ("closed", "open", "ragged") for rows in ROWS]
CASES += [(1, "open", "one row"), (2, "ragged", "one row"), (3, "ragged", "some rows"), (5, "open", "one row")]


@pytest.mark.parametrize(("order", "kind", "rows"), CASES)
def test_what_follows_is_what_the_recursion_says(rng, order, kind, rows):
    made, words = model(order, kind), [STOP, *LETTERS[::-1], "y", "z"]  # y and z are not known
    lm = backoff(made, words, row_bytes=ROWS[rows])
    assert isinstance(lm, LanguageModel)
    assert lm.vocab == len(words)
    tokens_bu = rng.integers(1, len(words), (6, 7))
    said = read(lm, tokens_bu)
    for tokens, rows_uv in zip(tokens_bu, said, strict=True):
        for i, row_v in enumerate(rows_uv):
            np.testing.assert_allclose(row_v, expected(made, tokens[:i], words), rtol=2e-6, atol=2e-6)


def test_the_layouts_of_these_tests_differ():
    made, words = model(5, "open"), [STOP, *LETTERS]
    lengths = [len(backoff(made, words, row_bytes=bytes).longer) for bytes in ROWS.values()]
    assert lengths == [0, 3, 4]


def test_orders_that_are_empty_cost_nothing():
    made, words = estimate([["a"], []], 5), [STOP, "a"]
    lm = backoff(made, words, row_bytes=0)
    assert len(lm.longer) == 2  # of the 4 lengths that an order of 5 has
    np.testing.assert_allclose(read(lm, np.array([[1]]))[0, 1], expected(made, [1], words), rtol=2e-6)


def test_a_sentence_begins_wherever_the_end_is_read():
    lm = backoff(model(3, "closed"), [STOP, *LETTERS], row_bytes=600)
    once = read(lm, np.array([[2, 1]]))
    twice = read(lm, np.array([[3, 4, END, 2, 1]]))
    np.testing.assert_array_equal(twice[:, 3:], once)


@pytest.mark.parametrize("rows", ["some rows"])
def test_a_batch_says_what_its_rows_say_alone(rng, rows):
    lm = backoff(model(4, "closed"), [STOP, *LETTERS], row_bytes=ROWS[rows])
    tokens_bu = rng.integers(1, 7, (5, 6))
    together = read(lm, tokens_bu)
    for tokens_u, rows_uv in zip(tokens_bu, together, strict=True):
        np.testing.assert_array_equal(read(lm, tokens_u[None]), rows_uv[None])


@pytest.mark.parametrize("rows", ["rows", "some rows"])
def test_one_token_looked_up_is_that_of_the_row(rng, rows):
    made = model(4, "ragged")
    lm = backoff(made, [STOP, *LETTERS, "z"], row_bytes=ROWS[rows])
    contexts_b = jnp.asarray(rng.integers(0, lm.log_probs_kv.shape[0] + sum(len(a.shorter) for a in lm.longer), 50))
    tokens_b = jnp.asarray(rng.integers(1, lm.vocab, 50))
    found = jax.jit(Backoff.look_up)(lm, contexts_b, tokens_b)
    after_bv, states_b = stepped(lm, contexts_b, tokens_b)
    np.testing.assert_array_equal(found.contexts_b, states_b)
    again_b = jax.jit(Backoff.look_up)(lm, found.contexts_b, tokens_b).log_probs_b
    np.testing.assert_array_equal(
        again_b, np.take_along_axis(np.asarray(after_bv), np.asarray(tokens_b)[:, None], 1)[:, 0]
    )


def test_it_can_be_mapped_over_a_beam(rng):
    lm = backoff(model(4, "closed"), [STOP, *LETTERS], row_bytes=600)
    tokens_bw = jnp.asarray(rng.integers(0, 7, (3, 4)))
    state_bw = jnp.asarray(rng.integers(0, 30, (3, 4)))
    said_bwv, next_bw = jax.jit(jax.vmap(lm.step, in_axes=1, out_axes=1))(state_bw, tokens_bw)
    flat_bv, flat_b = stepped(lm, state_bw.reshape(-1), tokens_bw.reshape(-1))
    np.testing.assert_array_equal(said_bwv.reshape(12, -1), flat_bv)
    np.testing.assert_array_equal(next_bw.reshape(-1), flat_b)


def test_what_follows_sums_to_one(rng):
    lm = backoff(model(5, "closed"), [STOP, *LETTERS], row_bytes=600)
    sums = np.exp(read(lm, rng.integers(1, 7, (8, 9))).astype(np.float64)).sum(axis=-1)
    np.testing.assert_allclose(sums, 1.0, atol=1e-5)


@pytest.mark.parametrize("words", [["a", STOP], [STOP, "a"]], ids=["elsewhere", "nowhere"])
def test_the_end_is_needed(words):
    made = model(2, "closed")
    lacking = replace(made, words=tuple(word if word != STOP else "q" for word in made.words))
    with pytest.raises(ValueError, match="token 0 ends a sentence, so </s> is needed"):
        backoff(made if words[0] == "a" else lacking, words)
