import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.ops import ctc
from tests.reference import ctc as reference


def test_alignable_counts_the_blanks_between_repeats():
    tokens_bu = jnp.array([[8, 5, 12, 12, 15]] * 2 + [[7, 7, 7, 0, 0]] * 2 + [[7, 7, 7, 0, 0], [0] * 5, [0] * 5])
    token_lengths_b = jnp.array([5, 5, 3, 3, 1, 0, 0])
    lengths_b = jnp.array([6, 5, 5, 4, 1, 0, 3])
    found_b = ctc.ctc_alignable(lengths_b, tokens_bu, token_lengths_b)
    np.testing.assert_array_equal(found_b, [True, False, True, False, True, True, True])


def test_alignable_is_what_the_enumeration_finds(rng):
    log_probs_sv = reference.log_softmax(rng.normal(size=(4, 3)))
    tokens_bu = rng.integers(1, 3, size=(12, 4))
    token_lengths_b = rng.integers(0, 5, size=12)
    found_b = ctc.ctc_alignable(jnp.full(12, 4), jnp.asarray(tokens_bu), jnp.asarray(token_lengths_b))
    for row in range(12):
        loss = reference.loss_by_enumeration(log_probs_sv, tokens_bu[row, : token_lengths_b[row]])
        assert bool(found_b[row]) == np.isfinite(loss)


def test_greedy_collapse_against_loops_and_under_padding(rng):
    collapse = jax.jit(ctc.greedy_collapse)
    log_probs_bsv = rng.normal(size=(6, 9, 3)).astype(np.float32)
    lengths_b = np.array([9, 0, 1, 5, 9, 8])
    tokens_bu, token_lengths_b = collapse(jnp.asarray(log_probs_bsv), jnp.asarray(lengths_b))
    for row, length in enumerate(lengths_b):
        expected = reference.collapse(log_probs_bsv[row, :length].argmax(axis=-1).tolist())
        assert tokens_bu[row].tolist() == expected + [0] * (9 - len(expected))
        assert token_lengths_b[row] == len(expected)
    longer = np.concatenate([log_probs_bsv, rng.normal(size=(6, 4, 3))], axis=1).astype(np.float32)
    long_bu, long_lengths_b = collapse(jnp.asarray(longer), jnp.asarray(lengths_b))
    np.testing.assert_array_equal(long_bu[:, :9], tokens_bu)
    np.testing.assert_array_equal(long_lengths_b, token_lengths_b)
