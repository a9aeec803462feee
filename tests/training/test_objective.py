"""What is minimised, by hand and by the twins; what is padding, or too short for CTC, counts nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.records import Batch, Outputs, Sum
from jaxasr.training.objective import Objective
from tests.reference import ctc as ctc_reference
from tests.reference.losses import label_smoothed_cross_entropy

VOCAB = 5
TOKENS = np.array([[1, 2, 4], [3, 0, 0], [2, 2, 2], [0, 0, 0], [4, 1, 0]], np.int32)
TOKEN_LENGTHS = np.array([3, 1, 3, 0, 2], np.int32)
HIDDEN_LENGTHS = np.array([6, 2, 4, 3, 6])  # the third can't be aligned: three equal tokens need five positions
VALID = np.array([True, True, True, True, False])  # the fourth is a real utterance in which nothing is said
TARGETS = (3 + 1) + (1 + 1) + (3 + 1) + (0 + 1)  # each with its end


@functools.cache
def jitted(label_smoothing=0.0, ctc_weight=0.0):
    return jax.jit(Objective(label_smoothing=label_smoothing, ctc_weight=ctc_weight).__call__)


@pytest.fixture
def batch():
    return Batch(
        wave_bn=np.zeros((5, 8), np.int16),
        sample_lengths_b=np.full(5, 8, np.int32),
        tokens_bu=jnp.asarray(TOKENS),
        token_lengths_b=jnp.asarray(TOKEN_LENGTHS),
        ids_b=np.arange(5, dtype=np.uint32),
        valid_b=VALID,
    )


@pytest.fixture
def outputs(rng):
    return Outputs(
        logits_buv=jnp.asarray(rng.normal(size=(5, 4, VOCAB)) * 2, jnp.float32),
        ctc_logits_bsv=jnp.asarray(rng.normal(size=(5, 6, VOCAB)) * 2, jnp.float32),
        hidden_lengths_b=jnp.asarray(HIDDEN_LENGTHS),
        weights_buhs=jnp.zeros((5, 4, 1, 6)),
    )


def cross_entropy(outputs, row, smoothing):
    targets = [*TOKENS[row, : TOKEN_LENGTHS[row]], 0]
    return label_smoothed_cross_entropy(outputs.logits_buv[row, : len(targets)], targets, smoothing)


def ctc(outputs, row):
    logits_sv = np.asarray(outputs.ctc_logits_bsv[row, : HIDDEN_LENGTHS[row]], float)
    return ctc_reference.loss_by_recursion(ctc_reference.log_softmax(logits_sv), TOKENS[row, : TOKEN_LENGTHS[row]])


def check(found: Sum, value, weight):
    np.testing.assert_allclose(found.value, value, rtol=1e-5, atol=1e-6)
    assert found.weight == weight


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mix_is_of_sums_over_one_count_of_targets(batch, outputs, smoothing):
    sums = jitted(smoothing, 0.3)(outputs, batch)
    entropy = sum(cross_entropy(outputs, row, smoothing) for row in range(4))
    aligned = sum(ctc(outputs, row) for row in (0, 1, 3))
    check(sums["cross_entropy"], entropy, TARGETS)
    check(sums["ctc"], aligned, 4 + 2 + 1)
    check(sums["too_short_for_ctc"], 1, 4)
    check(sums["loss"], 0.7 * entropy + 0.3 * aligned, TARGETS)
    np.testing.assert_allclose(sums["loss"].mean, (0.7 * entropy + 0.3 * aligned) / TARGETS, rtol=1e-5)


def test_accuracy_is_the_share_of_targets_that_got_the_highest_logit(batch, outputs):
    right = 0
    for row in range(4):
        targets = [*TOKENS[row, : TOKEN_LENGTHS[row]], 0]
        right += sum(int(np.argmax(outputs.logits_buv[row, u]) == token) for u, token in enumerate(targets))
    check(jitted()(outputs, batch)["accuracy"], right, TARGETS)


def test_without_weight_there_is_no_ctc_and_with_nothing_else_no_cross_entropy(batch, outputs):
    alone = jitted()(dataclasses.replace(outputs, ctc_logits_bsv=None), batch)
    assert set(alone) == {"loss", "cross_entropy", "accuracy"}
    assert alone["loss"].value == alone["cross_entropy"].value
    sums = jitted(ctc_weight=1.0)(outputs, batch)
    np.testing.assert_allclose(sums["loss"].value, sums["ctc"].value, rtol=1e-6)


def test_padding_gets_no_gradient_whatever_its_lengths_say(batch, outputs):
    """Neither a row that is padding as a whole, nor tokens and positions behind the end."""

    def loss(logits, ctc_logits):
        given = dataclasses.replace(outputs, logits_buv=logits, ctc_logits_bsv=ctc_logits)
        return jitted(0.1, 0.3)(given, batch)["loss"].value

    d_logits, d_ctc = jax.jit(jax.grad(loss, (0, 1)))(
        outputs.logits_buv.at[4].set(jnp.nan), outputs.ctc_logits_bsv.at[4].set(jnp.inf)
    )
    counted_bu = (np.arange(4) <= TOKEN_LENGTHS[:, None]) & VALID[:, None]
    counted_bs = (np.arange(6) < HIDDEN_LENGTHS[:, None]) & np.array([True, True, False, True, False])[:, None]
    np.testing.assert_array_equal(np.any(d_logits != 0, axis=-1), counted_bu)
    np.testing.assert_array_equal(np.any(d_ctc != 0, axis=-1), counted_bs)
    assert np.isfinite(d_logits).all()
    assert np.isfinite(d_ctc).all()


def test_the_sums_of_a_batch_are_those_of_its_parts(batch, outputs):
    whole = jitted(0.1, 0.3)(outputs, batch)
    for part in (np.array([True, False, True, False, False]), np.array([False, False, False, True, False])):
        one, other = (
            jitted(0.1, 0.3)(outputs, dataclasses.replace(batch, valid_b=rows)) for rows in (part, VALID & ~part)
        )
        for name, expected in whole.items():
            check(one[name] + other[name], expected.value, expected.weight)


def test_a_weight_for_ctc_needs_a_head(batch, outputs):
    with pytest.raises(
        ValueError, match=r"ctc_weight is 0\.3 but the model has no CTC head; give model\.ctc a CtcHead"
    ):
        Objective(ctc_weight=0.3)(dataclasses.replace(outputs, ctc_logits_bsv=None), batch)


@pytest.mark.parametrize("name", ["label_smoothing", "ctc_weight"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(name, value):
    with pytest.raises(ValueError, match=rf"objective\.{name} is {value}; it must be in \[0, 1\]"):
        Objective(**{name: value})
