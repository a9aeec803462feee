"""Forced alignment against every path there is, under padding, with ties, and where nothing can be aligned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.ctc_alignment import CtcAlignment, ctc_alignment
from tests.reference import ctc as ctc_reference
from tests.reference import ctc_alignment as reference

ROWS, FRAMES, TOKENS, VOCAB = 24, 5, 3, 4

_align = jax.jit(ctc_alignment)


def align(log_probs_bsv, lengths, tokens, token_lengths) -> CtcAlignment:
    found = _align(
        jnp.asarray(log_probs_bsv, jnp.float32), jnp.asarray(lengths), jnp.asarray(tokens), jnp.asarray(token_lengths)
    )
    return jax.tree.map(np.asarray, found)


def cases(rng):
    """All lengths there are, repeated tokens often."""
    log_probs = ctc_reference.log_softmax(2 * rng.normal(size=(ROWS, FRAMES, VOCAB)))
    lengths, token_lengths = np.divmod(np.arange(ROWS), TOKENS + 1)
    tokens = rng.integers(1, 3, size=(ROWS, TOKENS))
    return log_probs, lengths, tokens, token_lengths


def check_row(found: CtcAlignment, row: int, log_probs_sv, tokens) -> bool:
    expected = reference.best(log_probs_sv, list(tokens))
    assert bool(found.possible_b[row]) == (expected is not None)
    if expected is None:
        assert found.log_probs_b[row] == -np.inf
        assert not found.first_bu[row].any()
        assert not found.last_bu[row].any()
        assert not found.token_log_probs_bu[row].any()
        return False
    log_prob, spans = expected
    np.testing.assert_allclose(found.log_probs_b[row], log_prob, rtol=1e-5, atol=1e-6)
    there = list(zip(found.first_bu[row], found.last_bu[row], strict=True))
    assert there == [span[:2] for span in spans] + [(0, 0)] * (len(there) - len(spans))
    means = [span[2] for span in spans] + [0.0] * (len(there) - len(spans))
    np.testing.assert_allclose(found.token_log_probs_bu[row], means, rtol=1e-5, atol=1e-6)
    return True


def test_it_is_the_best_of_all_paths(rng):
    log_probs, lengths, tokens, token_lengths = cases(rng)
    found = align(log_probs, lengths, tokens, token_lengths)
    possible = [
        check_row(found, row, log_probs[row, : lengths[row]], tokens[row, : token_lengths[row]]) for row in range(ROWS)
    ]
    assert 8 < sum(possible) < ROWS - 4


def test_of_equal_paths_it_is_the_one_furthest_on(rng):
    """Log probabilities that are whole numbers: sums are exact, and most rows have several best paths."""
    _, lengths, tokens, token_lengths = cases(rng)
    log_probs = -rng.integers(1, 3, size=(ROWS, FRAMES, VOCAB)).astype(np.float32)
    found = align(log_probs, lengths, tokens, token_lengths)
    for row in range(ROWS):
        check_row(found, row, log_probs[row, : lengths[row]], tokens[row, : token_lengths[row]])


def test_alone_is_as_in_a_batch_and_padding_may_be_anything(rng):
    log_probs, lengths, tokens, token_lengths = cases(rng)
    found = align(log_probs, lengths, tokens, token_lengths)
    behind = np.arange(FRAMES + 2)[None, :] >= lengths[:, None]
    spoilt = np.where(behind[:, :, None], rng.choice([np.nan, np.inf, 5.0], (ROWS, FRAMES + 2, VOCAB)), 0.0)
    spoilt[:, :FRAMES][~behind[:, :FRAMES]] = log_probs[~behind[:, :FRAMES]]
    beyond = np.arange(TOKENS + 2)[None, :] >= token_lengths[:, None]
    other = np.where(beyond, 2, np.pad(tokens, ((0, 0), (0, 2))))
    longer = align(spoilt, lengths, other, token_lengths)
    assert not longer.first_bu[:, TOKENS:].any()
    cut = longer._replace(
        first_bu=longer.first_bu[:, :TOKENS],
        last_bu=longer.last_bu[:, :TOKENS],
        token_log_probs_bu=longer.token_log_probs_bu[:, :TOKENS],
    )
    jax.tree.map(np.testing.assert_array_equal, cut, found)
    for row in (6, 18, 22):
        alone = align(*(each[row : row + 1] for each in (log_probs, lengths, tokens, token_lengths)))
        jax.tree.map(lambda one, all_, row=row: np.testing.assert_array_equal(one[0], all_[row]), alone, found)


@pytest.mark.parametrize(
    ("lengths", "tokens", "possible"),
    [(0, [], True), (3, [], True), (0, [1], False), (2, [1, 1], False), (3, [1, 1], True), (2, [1, 2], True)],
    ids=["nothing in nothing", "silence", "no frame", "no room for the blank", "repeat", "full"],
)
def test_what_cannot_be_aligned_is_said(lengths, tokens, possible):
    tokens_bu = np.zeros((1, 2), np.int32)
    tokens_bu[0, : len(tokens)] = tokens
    found = align(np.full((1, 3, 3), np.log(1 / 3)), np.array([lengths]), tokens_bu, np.array([len(tokens)]))
    assert bool(found.possible_b[0]) is possible
    assert found.log_probs_b[0] == (pytest.approx(-lengths * np.log(3.0)) if possible else -np.inf)
    assert not np.isnan(found.token_log_probs_bu).any()


def test_a_token_of_probability_zero_is_not_possible():
    log_probs = np.log(np.full((1, 4, 3), 0.5))
    log_probs[:, :, 2] = -np.inf
    found = align(log_probs, np.array([4]), np.array([[1, 2]]), np.array([2]))
    assert not found.possible_b[0]
    assert found.log_probs_b[0] == -np.inf
    assert not np.isnan(found.token_log_probs_bu).any()
