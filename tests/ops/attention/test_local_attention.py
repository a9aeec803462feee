import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention import local_attention as local
from tests.ops.attention.test_energies import compare
from tests.reference import local_attention as reference


def test_a_window_has_both_of_its_ends():
    found_bs = local.near(jnp.array([2.0, 0.0, 5.5]), 7, left=1, right=2)
    expected = [[0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(found_bs, np.array(expected, bool))


def test_the_median_is_where_half_is_reached(rng):
    rows = [*rng.dirichlet(np.ones(8), 20), np.full(8, 1 / 8), np.eye(8)[7], np.zeros(8), 0.1 * np.eye(8)[3]]
    found_b = local.median(jnp.asarray(np.array(rows), jnp.float32))
    np.testing.assert_array_equal(found_b, [reference.median(row) for row in rows])


@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize("agent", [False, True])
def test_moving_on_is_the_forward_recursion(rng, reach, agent):
    """The rest of the recursion, the product with a softmax made to sum to 1, is that of the softmax of a sum."""
    energy_s, before_s, move = rng.normal(size=6), rng.dirichlet(np.ones(6)), np.array(0.3)

    def weigh(energy_s, before_s, move):
        move_b = move[None] if agent else None
        prior_bs = local.moved_on(before_s[None], reach=reach, move_b=move_b)
        exp_s = jnp.exp(energy_s + jnp.log(prior_bs[0]))
        return exp_s / jnp.sum(exp_s)

    def twin(energy_s, before_s, move):
        return reference.forward(energy_s, before_s, reach, move if agent else None)

    compare(weigh, twin, (energy_s, before_s, move), rtol=1e-9)


@pytest.mark.parametrize("scale", [0.2, 2.0], ids=["below 1", "above 1"])
def test_a_mixture_is_the_sum_of_its_bells(rng, scale):
    shares_k, centres_k, spreads_k = rng.random(3) * scale, rng.random(3) * 6, 0.5 + rng.random(3)
    valid_bs = jnp.ones((1, 7), bool)
    compare(
        lambda *given: local.gaussians(*(x[None] for x in given), valid_bs)[0],
        lambda *given: reference.mixture(*given, 7),
        (shares_k, centres_k, spreads_k),
        rtol=1e-6,  # positions are float32
    )


def test_a_mixture_far_away_or_of_no_width_is_finite():
    found = local.gaussians(
        jnp.ones((1, 2)), jnp.array([[1e9, 3.0]]), jnp.array([[1e-1, 1e-1]]), jnp.ones((1, 5), bool)
    )
    np.testing.assert_allclose(found, [[0, 0, 0, 1, 0]], atol=1e-6)
