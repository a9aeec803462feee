"""Estimated models: comparison with the formulas, sums of probabilities, and a corpus computed by hand."""

import itertools
import math

import numpy as np
import pytest

from jaxasr.text.kneser_ney import estimate
from jaxasr.text.ngram import BEGIN, STOP, UNKNOWN, NGram, score
from tests.reference.back_off import as_dictionary, log10_prob
from tests.reference.kneser_ney import KneserNey


def corpus(rng, *, sentences=60, words="abcdefgh", longest=7):
    """Samples sentences of words with very unequal frequencies, so that all counts occur, and an empty sentence."""
    shares = 0.6 ** np.arange(len(words))
    return [
        list(rng.choice(list(words), size=rng.integers(0, longest + 1), p=shares / shares.sum()))
        for _ in range(sentences)
    ]


def histories(sentences, order, words):
    """Returns all histories that occur, sentence begins included, and some that do not."""
    seen = set()
    for sentence in sentences:
        padded = (BEGIN, *sentence)
        for end in range(1, len(padded) + 1):
            for n in range(order):
                seen.add(padded[max(end - n, 0) : end])
    return seen | set(itertools.product(words[-3:], repeat=order - 1))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("prune", [(), (0, 1), (0, 0, 2)])
def test_probabilities_are_those_of_the_formulas(rng, order, prune):
    sentences = corpus(rng, words="abcdefghijkl")
    model = estimate(sentences, order, prune=prune)
    predicted = [word for word in model.words if word != BEGIN]
    reference = KneserNey(sentences, order, predicted, prune=prune)
    grams = as_dictionary(model)
    wanted = sorted(histories(sentences, order, "abcdefghijkl"))
    for history in wanted[:: max(len(wanted) // 40, 1)]:
        for word in predicted:
            found = log10_prob(grams, history, word)
            assert found == pytest.approx(math.log10(reference.prob(history, word)), abs=1e-9)


def test_the_discounts_of_this_corpus_are_estimated(rng):
    """Otherwise the test above would compare fallbacks only."""
    reference = KneserNey(corpus(rng, words="abcdefghijkl"), 3, [])
    assert sum(discounts != reference.fallback for discounts in reference.discounts) >= 2


@pytest.mark.parametrize(("order", "prune"), [(1, ()), (2, ()), (3, ()), (5, ()), (4, (0, 1)), (3, (0, 0, 3))])
def test_probabilities_sum_to_one_after_every_history(rng, order, prune):
    sentences = corpus(rng)
    for vocabulary in (None, tuple("abcdefghxyz")):
        model = estimate(sentences, order, prune=prune, vocabulary=vocabulary)
        grams = as_dictionary(model)
        for history in histories(sentences, order, "fghz"):
            total = sum(10 ** log10_prob(grams, history, word) for word in model.words if word != BEGIN)
            assert total == pytest.approx(1.0, abs=1e-12)


def test_two_sentences_by_hand():
    """a b / a: discounts of 0.5 (fallback), 4 words that can follow (a, b, the end, <unk>).

    Words seen before: of a {<s>}, of b {a}, of the end {a, b}: 1, 1, 2 of 4; discounts 0.5, 0.5, 1; back-off 2 / 4.
    p(a) = 0.5 / 4 + 0.5 / 4 = 0.25 = p(b), p(end) = 1 / 4 + 0.5 / 4 = 0.375, p(unk) = 0.125.
    After <s>: a twice: p(a | <s>) = (2 - 1) / 2 + 1 / 2 * 0.25 = 0.625.
    After a: b and the end once each: p(b | a) = 0.5 / 2 + 0.5 * 0.25 = 0.375, p(end | a) = 0.25 + 0.5 * 0.375 = 0.4375.
    After b: the end once: p(end | b) = 0.5 + 0.5 * 0.375 = 0.6875.
    """
    model = estimate([["a", "b"], ["a"]], 2)
    assert model.counts == (5, 4)
    assert model.words == (UNKNOWN, BEGIN, STOP, "a", "b")
    np.testing.assert_allclose(10 ** model.orders[0].log10_probs, [0.125, 1e-99, 0.375, 0.25, 0.25])
    scores = score(model, [["a", "b"], ["a", "q"]])
    expected = [0.625, 0.375, 0.6875, 0.625, 0.5 * 0.125, 0.375]
    np.testing.assert_allclose(10**scores.log10_probs, expected)
    np.testing.assert_array_equal(scores.known, [True, True, True, True, False, True])
    assert scores.sentences == 2
    assert scores.perplexity() == pytest.approx(np.prod(expected) ** (-1 / 6))
    assert scores.perplexity(3) == pytest.approx(np.prod(expected) ** (-1 / 3))


@pytest.mark.parametrize("order", [1, 2, 5])
def test_scores_are_those_of_the_recursion(rng, order):
    sentences = corpus(rng)
    others = corpus(np.random.default_rng(5), words="abcdefghxy", sentences=30)
    model = estimate(sentences, order, prune=(0, 1))
    grams = as_dictionary(model)
    expected = []
    for sentence in others:
        heard = (BEGIN, *(word if word in "abcdefgh" else UNKNOWN for word in sentence), STOP)
        expected += [log10_prob(grams, heard[max(i - order + 1, 0) : i], heard[i]) for i in range(1, len(heard))]
    scores = score(model, others)
    np.testing.assert_allclose(scores.log10_probs, expected, atol=1e-12)
    assert scores.total == pytest.approx(sum(expected))
    assert (~scores.known).sum() == sum(word in "xy" for sentence in others for word in sentence) > 0


def test_a_vocabulary_has_no_unknown_word_and_all_its_words_have_a_share():
    model = estimate([["a", "a"]], 3, vocabulary=("b", "a"))
    assert model.words == (BEGIN, STOP, "b", "a")
    assert model.unknown == -1
    assert 0.0 < 10 ** model.orders[0].log10_probs[2] < 10 ** model.orders[0].log10_probs[3]
    assert score(model, [["q"]]).log10_probs[0] < -100


def test_a_begin_that_the_model_lacks_is_no_unknown_word():
    """A sentence then begins without a context."""
    model = estimate([["a", "a"], ["b"]], 2)
    lacking = NGram(tuple(word.replace(BEGIN, "q") for word in model.words), model.orders)
    assert score(lacking, [["a"]]).log10_probs[0] == model.orders[0].log10_probs[model.ids["a"]]


def test_an_order_that_no_sentence_fills_is_empty():
    model = estimate([["a"], []], 5)
    assert model.counts == (4, 3, 1, 0, 0)
    assert score(model, [["a"], []]).perplexity() < 4


def test_pruning_leaves_out_what_is_rare(rng):
    sentences = corpus(rng)
    whole, pruned = (estimate(sentences, 3, prune=prune) for prune in ((), (0, 1, 2)))
    assert pruned.counts[0] == whole.counts[0]
    assert all(0 < few < many for few, many in zip(pruned.counts[1:], whole.counts[1:], strict=True))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: estimate([], 2), "no sentence"),
        (lambda: estimate([["a"]], 0), "order 0"),
        (lambda: estimate([["a"]], 2, prune=(1,)), r"prune \(1, 1\): .* the first 0"),
        (lambda: estimate([["a"]], 3, prune=(0, 2, 1)), "none smaller"),
        (lambda: estimate([["a"]], 2, fallback=(0.5, 2.5, 1.0)), "discounts of 1, 2 and 3"),
        (lambda: estimate([["a", "</s>"]], 2), "which it may not"),
        (lambda: estimate([["a"]], 2, vocabulary=("b",)), "'a' is not in the vocabulary"),
        (lambda: estimate([["a"]], 2, vocabulary=("a", "a")), "a word twice"),
        (lambda: estimate([["a"]], 2, vocabulary=("a", "<s>")), "a word twice, or one of <s>"),
    ],
)
def test_what_cannot_be_estimated(act, message):
    with pytest.raises(ValueError, match=message):
        act()
