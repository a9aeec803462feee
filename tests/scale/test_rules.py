"""Tests of sharding rules: the table, the built-in rules, and errors for contradictions and rules that match nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxasr.scale import MeshShape, Rules
from jaxasr.scale.rules import keep_axes

BIG = (256, 512)
STATE = {
    "params": {
        "block": {
            "widen": {"kernel": jnp.zeros(BIG), "bias": jnp.zeros(512)},
            "narrow": {"kernel": jnp.zeros((512, 256))},
        },
        "lstm": {"recurrent": jnp.zeros((100, 400)), "odd": jnp.zeros((257, 65))},
        "small": jnp.zeros((8, 8)),
    },
    "step": jnp.int32(0),
}


def specs(rules, state=STATE, **layout):
    mesh = MeshShape(**layout).mesh(jax.devices())
    return jax.tree.map(lambda placed: placed.spec, rules.shardings(state, mesh))


def test_built_in_rules_split_the_longest_dimension_and_put_column_after_row():
    found = specs(Rules(), fsdp=2, tensor=2)["params"]
    assert found["block"]["widen"]["kernel"] == P("fsdp", "tensor")
    assert found["block"]["widen"]["bias"] == P("tensor")
    assert found["block"]["narrow"]["kernel"] == P("tensor", "fsdp")
    assert found["lstm"]["recurrent"] == P(None, "fsdp")  # 400 > 100
    assert found["lstm"]["odd"] == P(None, None)  # neither 257 nor 65 is even
    assert found["small"] == P(None, None)  # not worth it
    assert specs(Rules(), fsdp=4)["params"]["block"]["widen"]["kernel"] == P(None, "fsdp")  # 512 > 256


def test_without_fsdp_and_tensor_nothing_lies_apart():
    mesh = MeshShape().mesh(jax.devices())
    for placed in jax.tree.leaves(Rules().shardings(STATE, mesh)):
        assert placed.is_fully_replicated


def test_stacked_layers_are_placed_as_single_ones():
    stacked = {"block": {"widen": {"kernel": jnp.zeros((6, *BIG))}}}
    assert specs(Rules(), stacked, fsdp=2, tensor=2)["block"]["widen"]["kernel"] == P(None, "fsdp", "tensor")


def test_a_table_goes_before_the_built_in_rules_and_says_all():
    rules = Rules((("lstm/recurrent$", ("fsdp", None)), ("widen/kernel$", (None, None))))
    found = specs(rules, fsdp=2, tensor=2)["params"]
    assert found["lstm"]["recurrent"] == P("fsdp", None)
    assert found["block"]["widen"]["kernel"] == P(None, None)


def test_two_rules_that_contradict_each_other_are_refused_by_name():
    rules = Rules((("recurrent", ("fsdp", None)), ("lstm/rec", (None, "fsdp"))))
    with pytest.raises(ValueError, match=r"params/lstm/recurrent is placed by \('recurrent', .* and \('lstm/rec', "):
        specs(rules, fsdp=2)
    assert specs(Rules((("recurrent", ("fsdp", None)), ("lstm/rec", ("fsdp", None)))), fsdp=2)  # they agree


@pytest.mark.parametrize(
    "rule", [("odd$", ("fsdp", None)), ("recurrent$", ("fsdp",)), ("recurrent$", ("fsdp", None, None))]
)
def test_a_rule_that_does_not_fit_its_leaf_is_refused(rule):
    with pytest.raises(ValueError, match=rf"does not fit params/lstm/{rule[0][:-1]}, of shape"):
        specs(Rules((rule,)), fsdp=2)


def test_what_the_optimizer_keeps_with_fewer_dimensions_is_placed_by_the_built_in_rules():
    state = {"optimizer": {"v_row": {"recurrent": jnp.zeros(100)}}, "params": {"recurrent": jnp.zeros((100, 400))}}
    found = specs(Rules((("recurrent$", ("fsdp", None)),)), state, fsdp=2)
    assert found["params"]["recurrent"] == P("fsdp", None)
    assert found["optimizer"]["v_row"]["recurrent"] == P(None)


def test_a_rule_that_fits_nothing_is_refused_with_what_there_is():
    with pytest.raises(
        ValueError, match=r"no leaf of the state has a path like 'lstm/recurent'; there are .*lstm/recurrent"
    ):
        Rules((("lstm/recurent", (None, None)),)).check_all_rules_used(STATE)
    Rules((("lstm/recurrent", (None, None)),)).check_all_rules_used(STATE)


@pytest.mark.parametrize("axes", [("model", None), ("fsdp", "fsdp")])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(ValueError, match="a dimension has one of data, fsdp, tensor"):
        Rules((("kernel", axes),))


def test_a_place_can_be_said_for_some_axes_alone():
    assert keep_axes(("data", "fsdp"), P("tensor", "fsdp")) == P(None, "fsdp")


def test_scalars_and_keys_have_a_place_as_well():
    found = specs(Rules(), {"key": jax.random.key(0), "step": np.int32(3)}, fsdp=2)
    assert found == {"key": P(), "step": P()}
