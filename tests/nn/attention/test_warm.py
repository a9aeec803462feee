"""Warm starts, from a soft alignment to a hard one."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import AlignmentFn, AttentionOutput, GaussianLocal, LatentAttention, Monotonic, Softmax, WarmStart
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


def test_draws_count_by_the_share_of_the_hard_form():
    memory = memory_of(1, 4, step=3)
    focus = WarmStart(Softmax(), Drawing(), 4, "ramp")

    def run(focus):
        own_memory = replace(memory, focus=focus.prepare(memory.values_bse))
        return focus(jnp.zeros((1, 4)), jnp.zeros((1, QUERY)), own_memory, focus.initial_state(own_memory))

    draw = focus.apply({}, method=run).draw
    np.testing.assert_allclose((draw.log_probs_bu, draw.entropies_bu, draw.baselines_bu), [[[0.75]], [[0.75]], [[1.0]]])


def test_what_can_not_change_is_refused():
    with pytest.raises(ValueError, match="until is 0"):
        WarmStart(SOFT, HARD, 0)
    with pytest.raises(ValueError, match="hard=LatentAttention"):
        WarmStart(SOFT, LatentAttention(), 5)
