"""One step of the real model: the same on one device and on four, lower loss after a few, averages and micro-batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxasr.records import Batch, Outputs, Sum
from jaxasr.scale.compile import compile_step
from jaxasr.training import Adam, Constant, Objective, Sgd, make_step, new_state
from tests.nn.tiny import batch_of, listener, near, rows, seq2seq

MODEL = seq2seq(noise=None, encoder=listener(time_reduction=(4,), dropout=0.3))
OBJECTIVE = Objective(label_smoothing=0.1, ctc_weight=0.3)
SAMPLES = (400, 390, 60, 20, 380, 200, 50, 0)  # shared out over four devices: a lot, next to nothing, some, one
TOKENS = (5, 5, 1, 1, 4, 2, 1, 0)
BATCH = batch_of(np.random.default_rng(0), SAMPLES, TOKENS)
OPTIMIZER = Adam(Constant(0.03), clip_norm=1.0).build()


def training(variables, batch, step, streams):
    return MODEL.apply(variables, batch, step=step, rngs=dict(streams))


@functools.cache
def first_state():
    variables = jax.jit(functools.partial(MODEL.init, step=None))(jax.random.key(1), BATCH)
    return new_state(variables, OPTIMIZER, jax.random.key(2), keeps_average=True)


@functools.cache
def run(how, steps=12):
    """The states after each step on one batch, on the host, and the metrics."""
    pure = make_step(training, OBJECTIVE, OPTIMIZER, ema_decay=0.9)
    compiled = compile_step(pure, how)
    state, states, metrics = compiled.place_state(first_state()), [], []
    for _ in range(steps):
        state, sums = compiled(state, compiled.place(BATCH))
        states.append(jax.device_get(state))
        metrics.append(jax.device_get(sums))
    return states, metrics


@pytest.mark.parametrize("how", ["pmap", "mesh"])
def test_devices_make_no_difference_however_unequal_their_shares(how):
    """With everything random switched on: what is drawn belongs to the example, not to the device."""
    (one, metrics), (many, metrics_of_many) = run("jit"), run(how, steps=2)
    near(metrics_of_many[0], metrics[0], rtol=1e-4, atol=1e-5)
    for after, expected in zip(many, one[:2], strict=True):
        near(after.params, expected.params, rtol=0, atol=2e-5)
        near(after.ema_params, expected.ema_params, rtol=0, atol=2e-5)
        assert after.step == expected.step
    assert metrics[0]["loss"].weight == sum(TOKENS) + 7  # seven ends


def test_a_few_steps_lower_the_loss():
    _, metrics = run("jit")
    losses = [sums["loss"].mean for sums in metrics]
    assert losses[-1] < 0.9 * losses[0]
    assert all(sums["gradient_norm"].mean > 0 for sums in metrics)


def test_the_average_follows_the_parameters():
    states, _ = run("jit")
    average = first_state().params
    for step, state in enumerate(states):
        keep = min(0.9, (1 + step) / (10 + step))
        average = jax.tree.map(lambda a, p, keep=keep: keep * a + (1 - keep) * p, average, state.params)
        near(state.ema_params, average, rtol=1e-5, atol=1e-6)
        assert state.step == step + 1
        assert state.key == first_state().key


def linear(variables, batch, step, streams):
    """A model of one matrix: logits from the sum of the wave, so that a step compiles in no time."""
    del streams
    positions = batch.tokens_bu.shape[1] + 1
    energy_b = jnp.mean(jnp.abs(jnp.asarray(batch.wave_bn, jnp.float32)), axis=1) / 1_000
    seen_buf = energy_b[:, None, None] + jnp.arange(1.0, 1.0 + 3 * positions).reshape(1, positions, 3) / 10
    logits_buv = seen_buf @ variables["params"]["kernel"]
    lengths_b = jnp.asarray(batch.token_lengths_b)
    return Outputs(logits_buv, None, lengths_b, jnp.zeros((*logits_buv.shape[:2], 1, 1)))


def linear_run(optimizer, batches, *, ema_decay=0.0, criterion=OBJECTIVE):
    """The states after each batch."""
    criterion = Objective() if criterion is OBJECTIVE else criterion
    step = jax.jit(make_step(linear, criterion, optimizer, ema_decay=ema_decay))
    variables = {"params": {"kernel": jnp.linspace(-1, 1, 18).reshape(3, 6)}, "statistics": {"mean": jnp.ones(2)}}
    state, states = new_state(variables, optimizer, jax.random.key(0)), []
    for batch in batches:
        state, metrics = step(state, jax.tree.map(jnp.asarray, batch))
        states.append((state, metrics))
    return states


@pytest.mark.parametrize("optimizer", [Adam, Sgd])
def test_micro_batches_of_unequal_weight_make_the_step_of_one_batch(optimizer):
    parts = [rows(BATCH, np.s_[low : low + 2]) for low in (0, 2, 4, 6)]
    whole = linear_run(optimizer(Constant(0.1), clip_norm=0.5).build(), [BATCH, BATCH])
    split = linear_run(optimizer(Constant(0.1), clip_norm=0.5, accumulate_steps=4).build(), parts * 2)
    for done in range(2):
        near(split[4 * done + 3][0].params, whole[done][0].params, rtol=1e-5)
        for waiting in range(4 * done, 4 * done + 3):
            before = whole[done - 1][0].params if done else {"kernel": jnp.linspace(-1, 1, 18).reshape(3, 6)}
            near(split[waiting][0].params, before, rtol=1e-6)
    assert np.any(whole[0][0].params["kernel"] != whole[1][0].params["kernel"])


def test_a_batch_without_a_target_changes_no_parameter():
    empty = rows(BATCH, np.s_[7:])
    ((state, metrics),) = linear_run(Sgd(Constant(0.1)).build(), [empty])
    np.testing.assert_array_equal(state.params["kernel"], jnp.linspace(-1, 1, 18).reshape(3, 6))
    assert metrics["loss"].weight == 0
    assert np.isnan(metrics["loss"].mean)
    assert state.step == 1


def test_the_gradient_is_that_of_the_mean_over_targets():
    ((state, metrics),) = linear_run(Sgd(Constant(1.0)).build(), [BATCH])
    kernel = jnp.linspace(-1, 1, 18).reshape(3, 6)

    def mean_loss(kernel):
        sums = Objective()(linear({"params": {"kernel": kernel}}, BATCH, 0, {}), jax.tree.map(jnp.asarray, BATCH))
        return sums["loss"].value / (sum(TOKENS) + 7)

    gradient = jax.grad(mean_loss)(kernel)
    np.testing.assert_allclose(state.params["kernel"], kernel - gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["gradient_norm"].mean, np.linalg.norm(gradient), rtol=1e-5)


def test_without_decay_there_is_no_average_and_statistics_never_move():
    states = linear_run(optax.sgd(0.1), [BATCH, BATCH])
    for state, _ in states:
        assert state.ema_params is None
        np.testing.assert_array_equal(state.statistics["statistics"]["mean"], 1)


def test_a_decay_needs_a_state_with_an_average():
    with pytest.raises(ValueError, match=r"ema_decay=0\.9, and the state holds no average; make it with keeps_average"):
        linear_run(optax.sgd(0.1), [BATCH], ema_decay=0.9)


def test_streams_change_with_the_step_and_differ_from_each_other():
    seen = []

    def apply(variables, batch: Batch, step, streams):
        seen.append({name: jax.random.key_data(key) for name, key in streams.items()})
        return linear(variables, batch, step, streams)

    step = make_step(
        apply,
        lambda outputs, batch: {"loss": Sum(jnp.sum(outputs.logits_buv), jnp.ones(()))},
        optax.sgd(0.1),
        ema_decay=0.0,
    )
    state = new_state({"params": {"kernel": jnp.ones((3, 6))}}, optax.sgd(0.1), jax.random.key(0))
    for _ in range(2):
        state, _ = step(state, BATCH)
    assert set(seen[0]) == {"augment", "dropout", "draw"}
    assert len({tuple(key.tolist()) for streams in seen for key in streams.values()}) == 6
