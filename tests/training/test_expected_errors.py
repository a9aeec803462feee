"""Expected errors over the n best: by hand, and their gradient where the list holds every hypothesis there is."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, MaxTokens
from jaxasr.records import Batch, NBest, Outputs, Start, Step
from jaxasr.training import ExpectedErrors, Objective, log_probs_of, spelling_of
from tests.reference.edit_distance import distance

VOCAB, LONGEST = 3, 2
EVERY = [tokens for length in range(LONGEST + 1) for tokens in itertools.product((1, 2), repeat=length)]  # 7 of them
REFERENCES = [(1, 2), (2,), ()]


def padded(rows, width):
    return jnp.array([[*row, *[0] * (width - len(row))] for row in rows], jnp.int32)


def batch_of(references, valid):
    b = len(references)
    return Batch(
        wave_bn=np.zeros((b, 4), np.int16),
        sample_lengths_b=np.full(b, 4, np.int32),
        tokens_bu=padded(references, LONGEST),
        token_lengths_b=jnp.array([len(row) for row in references]),
        ids_b=np.arange(b, dtype=np.uint32),
        valid_b=np.array(valid),
    )


BATCH = batch_of(REFERENCES, [True, True, False])


class Bigrams:
    """Decodable: the next token depends on the last one, by a table of logits of its own for each example."""

    vocab = VOCAB
    lms: ClassVar = {}

    def __init__(self, table_bvv):
        self.table_bvv = table_bvv

    def start(self, batch):
        b = len(batch.valid_b)
        return Start(self.table_bvv, jnp.zeros((b, 1)), jnp.full(b, LONGEST), None)

    def step(self, memory, state, tokens_b):
        logits_bv = memory[jnp.arange(len(tokens_b)), tokens_b]
        return Step(jax.nn.log_softmax(logits_bv), jnp.ones((len(tokens_b), 1, 1)), state)


def forced(table_bvv, tokens_bwu):
    """Teacher-forced logits, as a model's `spell` gives them."""
    b, w, u = tokens_bwu.shape
    inputs_xk = jnp.pad(tokens_bwu.reshape(b * w, u), ((0, 0), (1, 0)))
    return jnp.repeat(table_bvv, w, axis=0)[jnp.arange(b * w)[:, None], inputs_xk]


def outputs_of(table_bvv, n_best):
    logits_buv = forced(table_bvv, BATCH.tokens_bu[:, None])
    return Outputs(logits_buv, None, jnp.full(3, LONGEST), jnp.zeros((3, LONGEST + 1, 1, 1)), n_best=n_best)


SEARCH = Beam(16, nbest=7, max_tokens=MaxTokens(per_position=0.0, extra=LONGEST))


def loss(table_bvv, *, share=0.0):
    found = SEARCH(Bigrams(jax.lax.stop_gradient(table_bvv)), BATCH)
    log_probs_bw = log_probs_of(forced(table_bvv, found.tokens_bwu), found.tokens_bwu, found.token_lengths_bw)
    n_best = NBest(found.tokens_bwu, found.token_lengths_bw, log_probs_bw, found.scores_bw > -jnp.inf)
    objective = Objective(base_weight=share, auxiliary=(ExpectedErrors(SEARCH, unit="token"),))
    sums = objective(outputs_of(table_bvv, n_best), BATCH)
    return sums["loss"].value, (sums, found)


def exact(table_bvv):
    """Over every hypothesis that can be written, in the same renormalised form."""
    total = 0.0
    for row, reference in enumerate(REFERENCES[:2]):
        log_probs = []
        for tokens in EVERY:
            chain = [0, *tokens, 0]
            log_p = jax.nn.log_softmax(table_bvv[row])
            log_probs.append(sum(log_p[a, b] for a, b in itertools.pairwise(chain)))
        errors = np.array([distance(reference, tokens) for tokens in EVERY], np.float32)
        total += jnp.sum(jax.nn.softmax(jnp.stack(log_probs)) * (errors - errors.mean()))
    return total


def test_the_gradient_is_that_of_the_expectation_over_all_there_is(rng):
    table_bvv = jnp.asarray(rng.normal(size=(3, VOCAB, VOCAB)), jnp.float32)
    (found, (sums, hypotheses)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(table_bvv)
    written, lengths = np.asarray(hypotheses.tokens_bwu[0]), np.asarray(hypotheses.token_lengths_bw[0])
    assert {tuple(tokens[:length]) for tokens, length in zip(written, lengths, strict=True)} == set(EVERY)
    expected, expected_gradient = jax.jit(jax.value_and_grad(exact))(table_bvv)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)
    assert np.abs(expected_gradient[:2]).max() > 0.01
    assert not np.any(gradient[2])
    assert sums["expected_error_rate"].weight == 3


def test_by_hand_with_words_missing_hypotheses_and_the_anchor(rng):
    spelling = spelling_of(["", " ", "A"])
    tokens = [[(2, 2), (2, 1, 2), (1,)], [(), (2,), (2, 2)], [(2,), (2,), (2,)]]  # of A A A, and of A
    references = batch_of([(2, 1), (2,), (1,)], [True, True, False])
    log_probs = rng.normal(size=(3, 3)).astype(np.float32)
    valid = np.array([[True, True, True], [True, True, False], [True, True, True]])
    n_best = NBest(
        jnp.stack([padded(rows, 3) for rows in tokens]),
        jnp.array([[len(row) for row in rows] for rows in tokens]),
        jnp.asarray(log_probs),
        jnp.asarray(valid),
    )
    term = ExpectedErrors(SEARCH, 0.5, spelling=spelling)
    outputs = outputs_of(jnp.asarray(rng.normal(size=(3, VOCAB, VOCAB)), jnp.float32), n_best)
    sums = jax.jit(Objective(base_weight=0.01, auxiliary=(term,)).__call__)(outputs, references)
    value = expected = 0.0
    for row, errors in enumerate(([1, 1, 1], [1, 0])):
        kept = np.array(errors, float)
        shares = np.exp(log_probs[row, : len(kept)]) / np.exp(log_probs[row, : len(kept)]).sum()
        value += np.sum(shares * (kept - kept.mean()))
        expected += np.sum(shares * kept)
    np.testing.assert_allclose(sums["expected_errors"].value, value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums["expected_error_rate"].mean, expected / 2, rtol=1e-5)
    np.testing.assert_allclose(
        sums["loss"].value, 0.5 * value + 0.01 * sums["cross_entropy"].value, rtol=1e-5, atol=1e-6
    )


def test_log_probs_are_sums_over_tokens_and_the_end_and_means_over_samples(rng):
    tokens_bwu = jnp.array([[[1, 2], [2, 0]]])
    logits = rng.normal(size=(4, 3, VOCAB)).astype(np.float32)  # two samples a hypothesis
    log_p = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    found = log_probs_of(jnp.asarray(logits), tokens_bwu, jnp.array([[2, 1]]))
    first = np.mean([log_p[x, 0, 1] + log_p[x, 1, 2] + log_p[x, 2, 0] for x in (0, 1)])
    second = np.mean([log_p[x, 0, 2] + log_p[x, 1, 0] for x in (2, 3)])
    np.testing.assert_allclose(found[0], [first, second], rtol=1e-5)


def test_without_its_parts_it_says_where_they_come_from(rng):
    outputs = outputs_of(jnp.zeros((3, VOCAB, VOCAB)), None)
    with pytest.raises(ValueError, match="needs the n best of the model and the spelling of its tokens"):
        Objective(auxiliary=(ExpectedErrors(SEARCH),))(outputs, BATCH)
    with pytest.raises(ValueError, match=r"ExpectedErrors\.weight is -1\.0"):
        ExpectedErrors(SEARCH, -1.0)
