"""Frozen parameters keep their values: no gradient, no weight decay, no share in the norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.records import Sum
from jaxasr.training import Adam, Constant, Freeze, make_step, new_state
from tests.nn.tiny import batch_of

PARAMS = {
    "encoder": {"kernel": jnp.array([1.0, -2.0])},
    "decoder": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([0.5])},
}


def stepped(freeze: Freeze):
    """Returns parameters and metrics after two steps down the sum of squares, with decay and clipping."""

    def apply(variables, batch, step, streams):
        return variables["params"]

    def criterion(params, batch):
        return {"loss": Sum(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), jnp.ones(()))}

    optimizer = Adam(Constant(0.1), weight_decay=0.1, clip_norm=1.0).build()
    step = jax.jit(make_step(apply, criterion, optimizer, ema_decay=0.0, freeze=freeze))
    batch = batch_of(np.random.default_rng(0))
    state = new_state({"params": PARAMS}, optimizer, jax.random.key(0))
    for _ in range(2):
        state, metrics = step(state, batch)
    return state.params, metrics


def test_frozen_parameters_keep_their_bits_and_the_others_move():
    params, metrics = stepped(Freeze(("^encoder/", "bias$")))
    np.testing.assert_array_equal(params["encoder"]["kernel"], PARAMS["encoder"]["kernel"])
    np.testing.assert_array_equal(params["decoder"]["bias"], PARAMS["decoder"]["bias"])
    assert float(params["decoder"]["kernel"][0, 0]) < 2.9
    np.testing.assert_allclose(metrics["gradient_norm"].mean, 2 * float(PARAMS["decoder"]["kernel"][0, 0]), atol=0.3)


def test_without_patterns_all_parameters_move():
    params, _ = stepped(Freeze())
    moved = jax.tree.map(lambda a, b: bool(np.all(a != b)), params, PARAMS)
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("^listener/",), r"\['\^listener/'\], which find no parameter; there are decoder/bias, decoder/kernel"),
        (("kernel", "bias"), "which freeze all 3 parameters"),
    ],
)
def test_patterns_that_find_nothing_or_all_are_refused(patterns, message):
    with pytest.raises(ValueError, match=message):
        Freeze(patterns).mask(PARAMS)


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"the pattern '\(', which is no regular expression"):
        Freeze(("(",))
