"""Warm starts, from a soft alignment to a hard one."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import (
    AlignmentFn,
    AttentionOutput,
    GaussianLocal,
    HardAttention,
    LatentAttention,
    Monotonic,
    Softmax,
    WarmStart,
)
from jaxasr.nn.attention.interface import Randomness
from jaxasr.nn.attention.warm import WarmState
from jaxasr.records import Draws
from tests.nn.attention.steps import QUERY, attend_sequence, memory_of

SOFT = GaussianLocal(2, 3)
HARD = Monotonic(noise=0.0, bias=0.5)


@pytest.fixture
def drawn(rng):
    return rng.normal(size=(3, 2, 6)), rng.normal(size=(3, 2, QUERY))


def parts(drawn, variables, *, step):
    """Returns the weights of both alignment functions, with the parameters of the warm start."""
    soft, hard = (
        attend_sequence(focus, *drawn, step=step, change=lambda _, name=name: {"params": variables["params"][name]})[0]
        for focus, name in ((SOFT, "soft"), (HARD, "hard"))
    )
    return soft, hard


@pytest.mark.parametrize(
    ("change", "step", "share"),
    [("switch", 0, 0.0), ("switch", 9, 0.0), ("switch", 10, 1.0), ("ramp", 4, 0.4), ("ramp", 25, 1.0)],
)
def test_the_training_form_goes_from_soft_to_hard(drawn, change, step, share):
    found, _, variables = attend_sequence(WarmStart(SOFT, HARD, 10, change), *drawn, step=step)
    soft, hard = parts(drawn, variables, step=step)
    assert np.any(np.abs(soft - hard) > 0.1)
    np.testing.assert_allclose(found, (1 - share) * soft + share * hard, rtol=1e-5, atol=1e-6)


def test_the_decode_form_is_hard_and_yet_the_soft_one_has_its_parameters(drawn):
    found, states, variables = attend_sequence(WarmStart(SOFT, HARD, 10), *drawn)
    np.testing.assert_array_equal(found, parts(drawn, variables, step=None)[1])
    assert states[-1].soft == ()


class Drawing(AlignmentFn):
    """An alignment function whose output has draws."""

    def __call__(self, energy_bs, query_bd, memory, state):
        one_b1 = jnp.ones((energy_bs.shape[0], 1))
        return AttentionOutput(jnp.zeros_like(energy_bs)[:, None], state, Draws(one_b1, one_b1, one_b1))


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0)])
def test_draws_count_in_full_once_they_have_a_share_and_their_entropies_by_it(step, share):
    memory = memory_of(1, 4, step=step)
    focus = WarmStart(Softmax(), Drawing(), 4, "ramp")

    def run(focus):
        own_memory = replace(memory, focus=focus.prepare(memory.values_bse))
        return focus(jnp.zeros((1, 4)), jnp.zeros((1, QUERY)), own_memory, focus.initial_state(own_memory))

    draw = focus.apply({}, method=run).draw
    found = (draw.log_probs_bu, draw.entropies_bu, draw.baselines_bu)
    np.testing.assert_allclose(found, [[[float(share > 0)]], [[share]], [[1.0]]])


@pytest.mark.parametrize(("change", "step"), [("ramp", 1), ("ramp", 9), ("switch", 2)])
def test_the_expected_gradient_of_a_ramp_is_that_of_the_sum_over_positions(change, step):
    """Enumerates the two positions: examples draw both, and an outcome's gradient is the same for all that drew it."""
    until, examples = 4, 16
    focus = WarmStart(Softmax(), HardAttention(), until, change)
    memory = memory_of(examples, 2, step=step)
    key_b2 = jax.random.key_data(jax.random.split(jax.random.key(1), examples))
    memory = replace(memory, training=Randomness(key_b2, jnp.asarray(step)))
    own = replace(memory, focus=WarmState((), ()))
    params = {"params": {"hard": {"baseline": {"kernel": jnp.zeros((QUERY, 1)), "bias": jnp.full(1, -0.7)}}}}
    logits_sv = jnp.array([[2.0, -1.0], [-0.5, 0.5]])

    def losses(weights_bs):
        return -jax.nn.log_softmax(weights_bs @ logits_sv)[:, 0]

    def surrogate(energy_s):
        energy_bs = jnp.broadcast_to(energy_s, (examples, 2))
        query_bd = jnp.zeros((examples, QUERY))
        state = focus.apply(params, own, method="initial_state")
        output = focus.apply(params, energy_bs, query_bd, own, state)
        loss_b = losses(output.weights_bhs[:, 0])
        error_b = jax.lax.stop_gradient(-loss_b - output.draw.baselines_bu[:, 0])
        return loss_b - error_b * output.draw.log_probs_bu[:, 0]

    def exact(energy_s):
        soft_s = jax.nn.softmax(energy_s)
        share = min(step / until, 1.0) if change == "ramp" else float(step >= until)
        return jnp.sum(soft_s * losses((1 - share) * soft_s[None] + share * jnp.eye(2)))

    energy_s = jnp.array([0.4, -0.3])
    gradients_bs = jax.jit(jax.jacobian(surrogate))(energy_s)
    draws_b = drawn_positions(params["params"]["hard"], energy_s, examples, own)
    assert set(draws_b) == {0, 1}
    mean_s = sum(jax.nn.softmax(energy_s)[s] * gradients_bs[draws_b.index(s)] for s in (0, 1))
    np.testing.assert_allclose(mean_s, jax.jit(jax.grad(exact))(energy_s), rtol=1e-4, atol=1e-6)


def drawn_positions(params, energy_s, examples, memory):
    """Returns the positions that the hard part draws for the examples."""
    energy_bs = jnp.broadcast_to(energy_s, (examples, 2))
    zero_b = jnp.zeros(examples, jnp.int32)
    output = HardAttention().apply({"params": params}, energy_bs, jnp.zeros((examples, QUERY)), memory, zero_b)
    return np.argmax(np.asarray(output.weights_bhs[:, 0]), axis=1).tolist()


def test_what_can_not_change_is_refused():
    with pytest.raises(ValueError, match="until is 0"):
        WarmStart(SOFT, HARD, 0)
    with pytest.raises(ValueError, match="hard=LatentAttention"):
        WarmStart(SOFT, LatentAttention(), 5)
