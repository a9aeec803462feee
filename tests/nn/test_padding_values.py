"""Values of padding change nothing, bit for bit: tokens, samples and frames behind their lengths."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.records import Batch, Draws, NBest, Outputs
from jaxasr.training import (
    CtcSynchronous,
    Distill,
    ExpectedErrors,
    GuidedAttentionLoss,
    Objective,
    QuantityLoss,
    Reinforce,
    log_probs_of,
    spelling_of,
)
from tests import zoo
from tests.nn.encoders.kinds import BINS
from tests.nn.tiny import VOCAB, batch_of, longer, streams, training_of

BATCH = longer(batch_of(np.random.default_rng(0), samples=(400, 250, 0), tokens=(3, 1, 0)), samples=150, tokens=2)
QUICK = {"speller, own inputs", "speller, heads of samples", "transformer, monotonic"}


def spoilt(batch: Batch, rng: np.random.Generator) -> Batch:
    """Returns the batch with other values at all padding; some tokens are none of the vocabulary."""
    tokens_bu, wave_bn = batch.tokens_bu.copy(), batch.wave_bn.copy()
    behind_bu = np.arange(tokens_bu.shape[1]) >= batch.token_lengths_b[:, None]
    behind_bn = np.arange(wave_bn.shape[1]) >= batch.sample_lengths_b[:, None]
    tokens_bu[behind_bu] = rng.choice([1, VOCAB - 1, VOCAB, -3, 2**30], behind_bu.sum())
    wave_bn[behind_bn] = rng.integers(-(2**15), 2**15, behind_bn.sum())
    return replace(batch, tokens_bu=tokens_bu, wave_bn=wave_bn)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def check_model(model, objective):
    """Checks outputs, losses and gradients of the training form and outputs of the evaluation form."""
    variables = jax.jit(functools.partial(model.init, step=None))(jax.random.key(3), BATCH)
    params = variables.pop("params")

    @jax.jit
    def everything(batch, step):
        def loss(params):
            outputs = model.apply({"params": params, **variables}, batch, step=step, rngs=streams())
            sums = objective(outputs, batch)
            return sums["loss"].value, (outputs, sums)

        quiet = model.apply({"params": params, **variables}, batch, step=None)
        return jax.value_and_grad(loss, has_aux=True)(params), quiet

    expected = everything(BATCH, 1)
    assert np.isfinite(expected[0][0][0])
    assert any(np.any(leaf) for leaf in jax.tree.leaves(expected[0][1]))
    assert_same(everything(spoilt(BATCH, np.random.default_rng(1)), 1), expected)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]
)
def test_values_of_padding_change_nothing_of_a_recogniser(name):
    model = zoo.MODELS[name]
    drawn = getattr(model.decoder.attention, "samples", 1) > 1 or "warm" in name
    terms = (QuantityLoss(0.1), GuidedAttentionLoss(0.1), *([Reinforce(entropy=0.1)] if drawn else []))
    check_model(model, Objective(label_smoothing=0.1, ctc_weight=0.3, auxiliary=terms))


@pytest.mark.parametrize("name", zoo.LMS)
def test_values_of_padding_change_nothing_of_a_language_model(name):
    check_model(zoo.LMS[name], Objective(label_smoothing=0.1))


def outputs_of(rng, batch, theta):
    """Returns outputs with all that an auxiliary loss reads, of parameters `theta`, one number each."""
    b, u = batch.tokens_bu.shape
    energies = rng.normal(size=(b, u + 1, 2, 5)).astype(np.float32)
    draws = Draws(*(theta * jnp.asarray(rng.normal(size=(b, u + 1)), jnp.float32) for _ in range(3)))
    logits = [jnp.asarray(rng.normal(size=(b, n, VOCAB)), jnp.float32) for n in (u + 1, 5, u + 1)]
    n_best = NBest(
        jnp.asarray(rng.integers(1, VOCAB, (b, 2, u)), jnp.int32),
        jnp.asarray(rng.integers(0, u, (b, 2)), jnp.int32),
        theta * jnp.asarray(rng.normal(size=(b, 2)), jnp.float32),
        jnp.ones((b, 2), bool),
    )
    weights = jax.nn.softmax(theta * energies)
    return Outputs(theta * logits[0], theta * logits[1], jnp.array([5, 4, 0]), weights, draws, n_best, logits[2])


def test_values_of_padding_change_no_loss():
    terms = (
        Reinforce(entropy=0.1),
        QuantityLoss(0.3),
        CtcSynchronous(0.3),
        GuidedAttentionLoss(0.2),
        Distill(0.5),
        ExpectedErrors(lambda model, batch: None, spelling=spelling_of(["", " A", "B", " C", "D", "E"])),
    )
    objective = Objective(label_smoothing=0.1, ctc_weight=0.4, auxiliary=terms)

    @jax.jit
    def losses(theta, batch):
        def loss(theta):
            sums = objective(outputs_of(np.random.default_rng(5), BATCH, theta), batch)
            return sums["loss"].value, sums

        return jax.value_and_grad(loss, has_aux=True)(theta)

    expected = losses(jnp.float32(0.7), BATCH)
    assert {term.name for term in terms} < set(expected[0][1])
    for seed in range(3):
        assert_same(losses(jnp.float32(0.7), spoilt(BATCH, np.random.default_rng(seed))), expected)


def test_values_behind_hypotheses_change_no_log_probability(rng):
    lengths_bw = jnp.array([[2, 0], [1, 3]])
    tokens_bwu = np.zeros((2, 2, 3), np.int32)
    logits = jnp.asarray(rng.normal(size=(4, 4, VOCAB)), jnp.float32)
    expected = log_probs_of(logits, jnp.asarray(tokens_bwu), lengths_bw)
    tokens_bwu[np.arange(3) >= np.asarray(lengths_bw)[..., None]] = -9
    np.testing.assert_array_equal(log_probs_of(logits, jnp.asarray(tokens_bwu), lengths_bw), expected)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("listener, pyramid", "conformer") else pytest.param(name, marks=pytest.mark.slow)
        for name in zoo.ENCODERS
    ],
)
def test_frames_behind_the_length_change_nothing_of_an_encoder_even_if_they_are_not_finite(name, rng):
    encoder = zoo.ENCODERS[name]
    lengths_b = jnp.array([17, 9, 0])
    frames = rng.normal(size=(3, 24, BINS)).astype(np.float32)
    behind = np.arange(24) >= np.asarray(lengths_b)[:, None]
    training = training_of(np.arange(3, dtype=np.uint32))
    variables = jax.jit(functools.partial(encoder.init, training=None))(jax.random.key(0), frames, lengths_b)

    @jax.jit
    def everything(frames):
        def total(variables):
            rngs = {"dropout": jax.random.key(1)}
            hidden, lengths = encoder.apply(variables, frames, lengths_b, training=training, rngs=rngs)
            return jnp.sum(hidden**2), (hidden, lengths)

        return jax.value_and_grad(total, has_aux=True)(variables)

    expected = everything(jnp.asarray(frames))
    for value in (1e3, np.inf, np.nan):
        assert_same(everything(jnp.asarray(np.where(behind[..., None], np.float32(value), frames))), expected)
