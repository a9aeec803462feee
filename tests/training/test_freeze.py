"""Frozen parameters keep their values: no gradient, no weight decay, no share in the norm. Parts have rates of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.records import Sum
from jaxasr.training import Adam, Constant, Freeze, PartRates, Sgd, make_step, new_state
from tests.nn.tiny import batch_of

PARAMS = {
    "encoder": {"kernel": jnp.array([1.0, -2.0])},
    "decoder": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([0.5])},
}


def stepped(freeze: Freeze = Freeze(), part_rates: PartRates = PartRates(), made=None, steps: int = 2):
    """Returns parameters and metrics after some steps down the sum of squares, with decay and clipping."""

    def apply(variables, batch, step, streams):
        return variables["params"]

    def criterion(params, batch):
        return {"loss": Sum(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)), jnp.ones(()))}

    optimizer = (made or Adam(Constant(0.1), weight_decay=0.1, clip_norm=1.0)).build()
    step = jax.jit(make_step(apply, criterion, optimizer, ema_decay=0.0, freeze=freeze, part_rates=part_rates))
    batch = batch_of(np.random.default_rng(0))
    state = new_state({"params": PARAMS}, optimizer, jax.random.key(0))
    for _ in range(steps):
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


@pytest.mark.parametrize(
    "made",
    [
        lambda rate: Adam(Constant(rate), weight_decay=0.1, clip_norm=1.0),
        lambda rate: Sgd(Constant(rate), momentum=0.9, weight_decay=0.1),
    ],
)
def test_a_part_is_trained_as_with_a_schedule_of_its_own(made):
    """The factor of a part is that of a run whose schedule has it for all; of two patterns the first counts."""
    mixed, _ = stepped(part_rates=PartRates((("^encoder/", 0.25), ("kernel$", 0.5))), made=made(0.1), steps=1)
    for part, rate in (("encoder", 0.025), ("decoder", 0.05)):
        alone, _ = stepped(made=made(rate), steps=1)
        np.testing.assert_allclose(mixed[part]["kernel"], alone[part]["kernel"], rtol=1e-6)
    whole, _ = stepped(made=made(0.1), steps=1)
    np.testing.assert_array_equal(mixed["decoder"]["bias"], whole["decoder"]["bias"])


def test_a_frozen_part_stays_whatever_its_rate():
    params, _ = stepped(Freeze(("^encoder/",)), PartRates((("kernel", 10.0),)))
    np.testing.assert_array_equal(params["encoder"]["kernel"], PARAMS["encoder"]["kernel"])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((("(", 1.0),), r"PartRates has the pattern '\(', which is no regular expression"),
        ((("kernel", 0.0),), r"PartRates has the factors \[\('kernel', 0.0\)\]; they must be above 0"),
        ((("kernel", float("nan")),), r"PartRates has the factors \[\('kernel', nan\)\]; they must be above 0"),
        ((("kernel", float("inf")),), r"PartRates has the factors \[\('kernel', inf\)\]; they must be above 0"),
    ],
)
def test_factors_that_are_none_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        PartRates(factors)


def test_a_rate_of_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"PartRates has the patterns \['\^listener/'\], which find no parameter"):
        PartRates((("^listener/", 0.1),)).scaled(PARAMS)
