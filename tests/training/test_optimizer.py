"""Optimizers: Adam by its formula, clipping, what decays, and micro-batches that add up to one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxasr.training.optimizer import Adam, Sgd, accumulate
from jaxasr.training.schedules import Constant, RampHoldDecay

PARAMS = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}


def run(optimizer, gradients, params=PARAMS, **extra):
    """Parameters after an update with each of `gradients`."""
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params


def test_adam_is_algorithm_1(rng):
    gradients = [{k: jnp.asarray(rng.normal(size=v.shape), jnp.float32) for k, v in PARAMS.items()} for _ in range(4)]
    got = run(Adam(Constant(0.1), b1=0.8, b2=0.95, eps=1e-6).build(), gradients)
    for name, value in PARAMS.items():
        theta, m, v = np.asarray(value, np.float64), 0.0, 0.0
        for t, gradient in enumerate(gradients, 1):
            g = np.asarray(gradient[name], np.float64)
            m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
            theta = theta - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        np.testing.assert_allclose(got[name], theta, rtol=1e-5)


def test_decay_is_decoupled_and_leaves_vectors_alone():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    got = run(Adam(Constant(0.5), weight_decay=0.1).build(), [zero])
    np.testing.assert_allclose(got["kernel"], PARAMS["kernel"] * (1 - 0.5 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(got["bias"], PARAMS["bias"])


def test_the_gradient_is_clipped_by_its_global_norm():
    gradient = {"kernel": jnp.full((2, 3), 3.0), "bias": jnp.full(3, 4.0)}
    norm = (6 * 9 + 3 * 16) ** 0.5
    got = run(Sgd(Constant(1.0), clip_norm=2.0).build(), [gradient])
    np.testing.assert_allclose(got["bias"], 1.0 - 4.0 * 2.0 / norm, rtol=1e-6)
    np.testing.assert_allclose(got["kernel"], PARAMS["kernel"] - 3.0 * 2.0 / norm, rtol=1e-6)


def test_momentum_sums_past_gradients():
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    got = run(Sgd(Constant(0.1), momentum=0.5).build(), [gradient] * 3)
    np.testing.assert_allclose(got["bias"], 1.0 - 0.1 * (1.0 + 1.5 + 1.75), rtol=1e-6)


def example_losses(params, x, y):
    """Squared errors of a linear model, one an example."""
    return jnp.square(x @ params["kernel"] + params["bias"][None] - y).sum(-1)


def mean_gradient(params, x, y, tokens):
    """The gradient of the token-weighted mean, as a step makes it, and its weight."""
    gradient = jax.grad(lambda p: jnp.sum(example_losses(p, x, y) * tokens) / tokens.sum())(params)
    return gradient, tokens.sum()


@pytest.mark.parametrize("optimizer", [Adam(Constant(0.05), clip_norm=0.7, weight_decay=0.1), Sgd(Constant(0.01))])
def test_unequal_micro_batches_make_the_update_of_one_batch(rng, optimizer):
    x, y = (jnp.asarray(rng.normal(size=(2, 8, width)), jnp.float32) for width in (2, 3))
    tokens = jnp.asarray(rng.integers(1, 60, (2, 8)), jnp.float32)  # very unequal
    cuts = ((0, 1), (1, 6), (6, 8))
    whole, parts = optimizer.build(), accumulate(optimizer.build(), every=3)

    params, state = PARAMS, whole.init(PARAMS)
    for update in range(2):
        gradient, _ = mean_gradient(params, x[update], y[update], tokens[update])
        updates, state = whole.update(gradient, state, params)
        params = optax.apply_updates(params, updates)

    @jax.jit
    def step(params, state, x, y, tokens):
        gradient, weight = mean_gradient(params, x, y, tokens)
        updates, state = parts.update(gradient, state, params, weight=weight)
        return optax.apply_updates(params, updates), state

    split, state = PARAMS, parts.init(PARAMS)
    for update in range(2):
        for low, high in cuts:
            before = split
            split, state = step(split, state, x[update, low:high], y[update, low:high], tokens[update, low:high])
            if high < 8:
                jax.tree.map(np.testing.assert_array_equal, split, before)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), split, params)


def test_a_mean_of_means_would_be_another_update(rng):
    """The witness for the test above: with optax.MultiSteps the same micro-batches go elsewhere."""
    x, y = (jnp.asarray(rng.normal(size=(8, width)), jnp.float32) for width in (2, 3))
    tokens = jnp.asarray([50, 1, 2, 1, 3, 1, 2, 1], jnp.float32)
    parts = [mean_gradient(PARAMS, x[rows], y[rows], tokens[rows])[0] for rows in (slice(0, 1), slice(1, 8))]
    right = run(Sgd(Constant(0.1)).build(), [mean_gradient(PARAMS, x, y, tokens)[0]])
    naive = run(optax.MultiSteps(Sgd(Constant(0.1)).build(), 2), parts)
    assert np.abs(naive["kernel"] - right["kernel"]).max() > 0.01


def test_a_batch_without_weight_adds_nothing():
    optimizer = accumulate(Sgd(Constant(1.0)).build(), every=2)
    state = optimizer.init(PARAMS)
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    for weight in (0.0, 3.0):
        updates, state = optimizer.update(ones, state, PARAMS, weight=jnp.float32(weight))
    np.testing.assert_allclose(updates["bias"], -1.0)
    for _ in range(2):
        updates, state = optimizer.update(ones, state, PARAMS, weight=jnp.float32(0.0))
    np.testing.assert_array_equal(updates["bias"], 0.0)


def test_the_schedule_counts_updates_not_batches():
    adam = Adam(RampHoldDecay(4, 8, 16, peak=1.0), accumulate_steps=3)
    assert [float(adam.rate(batches)) for batches in (0, 2, 3, 9)] == [0.25, 0.25, 0.5, 1.0]
    sgd = Sgd(RampHoldDecay(4, 8, 16, peak=1.0), accumulate_steps=2).build()
    got = run(sgd, [jax.tree.map(jnp.ones_like, PARAMS)] * 4, weight=jnp.float32(1.0))
    np.testing.assert_allclose(got["bias"], 1.0 - 0.25 - 0.5)


def test_accumulation_wants_the_weight():
    optimizer = Adam(Constant(0.1), accumulate_steps=2).build()
    with pytest.raises(ValueError, match="weight=tokens"):
        optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)


def test_one_batch_an_update_takes_a_weight_too():
    plain = run(Adam(Constant(0.1)).build(), [PARAMS])
    weighed = run(Adam(Constant(0.1)).build(), [PARAMS], weight=jnp.float32(7.0))
    jax.tree.map(np.testing.assert_array_equal, plain, weighed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(Constant(0.1), clip_norm=0.0), "Adam has clip_norm=0.0"),
        (lambda: Adam(Constant(0.1), weight_decay=-0.1), "weight_decay=-0.1"),
        (lambda: Adam(Constant(0.1), accumulate_steps=0), "accumulate_steps=0"),
        (lambda: Adam(Constant(0.1), b2=1.0), "b2=1.0"),
        (lambda: Sgd(Constant(0.1), momentum=1.0), "momentum=1.0"),
    ],
)
def test_an_optimizer_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
