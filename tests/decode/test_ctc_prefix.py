"""CTC prefix scores against the listing of all paths and the recursion of the paper."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.decode import ctc_prefix
from tests.reference import ctc_prefix as slow

begin, step = jax.jit(ctc_prefix.begin), jax.jit(ctc_prefix.step)


def random_probs(rng, *shape: int, sharpness: float = 1.0) -> np.ndarray:
    logits = sharpness * rng.normal(size=shape)
    probs = np.exp(logits)
    return probs / probs.sum(axis=-1, keepdims=True)


def walk(probs_bsv: np.ndarray, lengths: list[int], prefix: tuple[int, ...]):
    """Sums of the increments along a prefix, the same for every example, and what follows it."""
    with np.errstate(divide="ignore"):
        memory, state = begin(jnp.asarray(np.log(probs_bsv), jnp.float32), jnp.asarray(lengths, jnp.int32))
    follows_bv, state = step(memory, state, jnp.zeros(len(lengths), jnp.int32))
    total_b = np.zeros(len(lengths))
    for token in prefix:
        total_b += np.asarray(follows_bv)[:, token]
        follows_bv, state = step(memory, state, jnp.full(len(lengths), token, jnp.int32))
    return total_b, np.asarray(follows_bv)


def test_the_two_twins_agree(rng):
    probs_sv = random_probs(rng, 4, 3)
    for length in range(4):
        for prefix in itertools.product((1, 2), repeat=length):
            np.testing.assert_allclose(slow.recursive(probs_sv, prefix), slow.listed(probs_sv, prefix), atol=1e-15)


def test_every_prefix_has_the_probability_of_its_paths(rng):
    """All prefixes of up to three tokens, repeats too, at five frames and fewer; some are impossible."""
    probs_bsv = random_probs(rng, 3, 5, 3)
    lengths = [5, 2, 1]
    for size in range(4):
        for prefix in itertools.product((1, 2), repeat=size):
            total_b, follows_bv = walk(probs_bsv, lengths, prefix)
            for i, length in enumerate(lengths):
                starts, whole = slow.listed(probs_bsv[i, :length], prefix)
                np.testing.assert_allclose(np.exp(total_b[i]), starts, rtol=1e-5)
                np.testing.assert_allclose(np.exp(total_b[i] + follows_bv[i, 0]), whole, rtol=1e-5)


def test_long_peaky_frames_stay_exact(rng):
    """120 frames of a trained model's sharpness, a wrong and a right prefix: no underflow, no drift."""
    probs_bsv = random_probs(rng, 1, 120, 9, sharpness=6.0)
    right = tuple(int(token) for token in probs_bsv[0, ::10].argmax(axis=-1) if token)[:8]
    for prefix in (right, (1, 1, 2, 8, 8, 8)):
        total_b, follows_bv = walk(probs_bsv, [120], prefix)
        starts, whole = slow.recursive(probs_bsv[0], prefix)
        np.testing.assert_allclose(total_b[0], np.log(starts), rtol=1e-5)
        np.testing.assert_allclose(total_b[0] + follows_bv[0, 0], np.log(whole), rtol=1e-5)
        for token in range(1, 9):
            extended = np.log(slow.recursive(probs_bsv[0], (*prefix, token))[0])
            np.testing.assert_allclose(total_b[0] + follows_bv[0, token], extended, rtol=1e-5)


def test_what_follows_sums_to_one(rng):
    """The end and the continuations share the probability of the prefix among them."""
    probs_bsv = random_probs(rng, 2, 7, 4, sharpness=2.0)
    for prefix in ((), (3,), (3, 3), (1, 2, 1)):
        _, follows_bv = walk(probs_bsv, [7, 5], prefix)
        np.testing.assert_allclose(np.exp(follows_bv).sum(axis=1), 1.0, rtol=1e-5)


def test_padded_frames_are_not_read(rng):
    probs_bsv = random_probs(rng, 1, 6, 4)
    noisy_bsv = np.concatenate([probs_bsv, random_probs(rng, 1, 3, 4)], axis=1)
    for prefix in ((), (2,), (2, 2, 1)):
        total_b, follows_bv = walk(probs_bsv, [6], prefix)
        noisy_b, noisy_bv = walk(noisy_bsv, [6], prefix)
        np.testing.assert_allclose(noisy_b, total_b, rtol=1e-6)
        np.testing.assert_allclose(noisy_bv, follows_bv, rtol=1e-5, atol=1e-6)


def test_impossible_is_minus_infinity_never_nan(rng):
    """Zero probabilities, no frame at all, and a repeat that does not fit."""
    probs_bsv = random_probs(rng, 2, 3, 3)
    probs_bsv[0, :, 2] = 0.0
    probs_bsv /= probs_bsv.sum(axis=-1, keepdims=True)
    _, follows_bv = walk(probs_bsv, [3, 0], (1, 1))
    assert follows_bv[0, 0] > -np.inf  # 1 - 1 is just possible
    assert (follows_bv[0, 1:] == -np.inf).all()
    assert (follows_bv[1] == -np.inf).all()
    _, first_bv = walk(probs_bsv, [3, 0], ())
    assert first_bv[0, 2] == -np.inf
    np.testing.assert_array_equal(first_bv[1], [0.0, -np.inf, -np.inf])
    assert not np.isnan(follows_bv).any()
