"""Tests of the communication volume: snippets in all notations, and steps compiled for data parallel and fsdp."""

from collections import Counter
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import scale
from jaxasr.cost.collectives import Collective, collectives_of
from jaxasr.cost.hlo import read_program
from jaxasr.cost.hlo_groups import replica_groups
from tests.communication import total_bytes

MESH = {"data": 2, "fsdp": 2, "tensor": 2}
EIGHT = list(range(8))


@pytest.mark.parametrize(
    ("attributes", "groups"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add", [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("replica_groups={}, to_apply=%add", [EIGHT]),
        ("replica_groups=[2,4]<=[8], use_global_device_ids=true", [EIGHT[:4], EIGHT[4:]]),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("replica_groups=mesh['a'=4,'b'=2] {'b'}, dimensions={0}", [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}", [[0, 2, 4, 6], [1, 3, 5, 7]]),
        ("replica_groups=mesh['a'=2,'b'=1,'c'=4], device_ids=([4,2]T(1,0)) {'a'}", [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", [[0, 1, 4, 5], [2, 3, 6, 7]]),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
    ],
)
def test_groups_in_all_notations(attributes: str, groups: list[list[int]]):
    assert replica_groups(attributes, 8) == groups


def test_no_groups_is_an_error():
    with pytest.raises(ValueError, match="no groups of devices"):
        replica_groups("to_apply=%add", 8)


def _program(lines: str) -> Any:
    return read_program(
        "ENTRY %main (x: f32[8,4]) -> f32[8,4] {\n  %x = f32[8,4]{1,0} parameter(0)\n" + lines + "\n}\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "ROOT %r = f32[8,4]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,4},{1,5},{2,6},{3,7}}, to_apply=%a",
            Collective("all-reduce", ("data",), 2, 128, 1),
        ),
        (
            "ROOT %r = f32[32,4]{1,0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={0}",
            Collective("all-gather", ("fsdp", "tensor"), 4, 512, 1),
        ),
        (
            "ROOT %r = ((f32[8,4]), f32[2,4]) reduce-scatter-start(%x), replica_groups={{0,2,4,6},{1,3,5,7}}, dimensions={0}",
            Collective("reduce-scatter", ("data", "fsdp"), 4, 128, 1),
        ),
        (
            "ROOT %r = f32[8,4] all-to-all(%x), replica_groups={{0,1},{2,3},{4,5},{6,7}}, dimensions={0}",
            Collective("all-to-all", ("tensor",), 2, 128, 1),
        ),
        (
            "ROOT %r = f32[8,4] collective-permute(%x), source_target_pairs={{0,2},{2,0},{1,3},{3,1}}",
            Collective("collective-permute", ("fsdp",), 2, 128, 1),
        ),
    ],
)
def test_kinds_axes_and_bytes(line: str, expected: Collective):
    assert collectives_of(_program("  " + line), MESH) == (expected,)


def test_a_sum_that_widens_what_goes_in_counts_as_what_comes_out():
    """libtpu prints such sums for the gradients of a model in bfloat16; its sums over devices are float32."""
    lines = """  %n = bf16[8,4] convert(%x)
  ROOT %r = (f32[8,4], f32[8,4]) all-reduce(%x, %n), replica_groups={{0,4},{1,5},{2,6},{3,7}}, to_apply=%a"""
    assert [collective.bytes for collective in collectives_of(_program(lines), MESH)] == [2 * 8 * 4 * 4]


def test_a_group_of_one_says_nothing_to_anybody():
    line = "  ROOT %r = f32[8,4] all-reduce(%x), replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}, to_apply=%a"
    assert collectives_of(_program(line), MESH) == ()


STAGES = """%begun (y: f32[8,4]) -> (f32[32,4], u32[]) {
  %y = f32[8,4] parameter(0)
  %g = f32[32,4] all-gather(%y), channel_id=9, replica_groups=[2,4]<=[8], backend_config={CONFIG}
  ROOT %s = (f32[32,4], u32[]) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}
%done (z: f32[8,4]) -> f32[32,4] {
  %z = f32[8,4] parameter(0)
  %g = f32[32,4] all-gather(%z), channel_id=9, replica_groups=[2,4]<=[8], backend_config={CONFIG}
  ROOT %e = f32[32,4] custom-call(%g), custom_call_target="AsyncCollectiveDone"
}
ENTRY %main (x: f32[8,4]) -> f32[32,4] {
  %x = f32[8,4] parameter(0)
  %one = (f32[32,4], u32[]) fusion(%x), kind=kCustom, calls=%begun
  ROOT %two = f32[32,4] fusion(%x), kind=kCustom, calls=%done
}
""".replace("CONFIG", '"async_collective_fusion_config":{"flag_start":"2"}')


def test_stages_of_one_that_is_under_way_count_once():
    assert [collective.bytes for collective in collectives_of(read_program(STAGES), MESH)] == [512]


def test_what_has_one_channel_is_not_taken_for_one():
    """All explicit sums of a program (psum under shard_map) have the same channel."""
    both = "%s = f32[8,4]{1,0} all-reduce(%%x), channel_id=1, replica_groups={}, to_apply=%%add"
    program = _program("  " + both % "%one" + "\n  ROOT " + both % "%two")
    assert [collective.bytes for collective in collectives_of(program, MESH)] == [128, 128]


def test_an_all_reduce_that_a_chip_keeps_its_slice_of_is_a_reduce_scatter():
    text = """%all-reduce-scatter.1 (y: f32[8,4]) -> f32[4,4] {
  %y = f32[8,4] parameter(0)
  %whole = f32[8,4] all-reduce(%y), channel_id=1, replica_groups={{0,2},{1,3},{4,6},{5,7}}, to_apply=%add
  ROOT %own = f32[4,4] dynamic-slice(%whole, %y, %y), dynamic_slice_sizes={4,4}
}
ENTRY %main (x: f32[8,4]) -> f32[4,4] {
  %x = f32[8,4] parameter(0)
  ROOT %r = f32[4,4] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
}
"""
    assert collectives_of(read_program(text), MESH) == (Collective("reduce-scatter", ("fsdp",), 2, 128, 1),)


def test_nodes_that_a_group_spreads_over():
    line = "  ROOT %r = f32[8,4] all-reduce(%x), replica_groups={}, to_apply=%a"
    (found,) = collectives_of(_program(line), MESH, nodes=(0, 0, 0, 0, 1, 1, 1, 1))
    assert (found.group, found.nodes) == (8, 2)


def test_bytes_on_the_wire_of_a_ring():
    sent = {kind: Collective(kind, ("data",), 4, 1000, 1).wire_bytes for kind in ("all-reduce", "all-gather")}
    assert sent == {"all-reduce": 1500.0, "all-gather": 750.0}
    assert Collective("collective-permute", ("data",), 4, 1000, 1).wire_bytes == 1000.0


SIZES = (128, 256, 160)
PARAMETERS = sum(a * b for a, b in pairwise(SIZES))


def _step(state: Any, batch: Any, reduction: Any) -> Any:
    """Runs a step of gradient descent on a model of two layers."""

    def loss(params: Any, batch: Any) -> jax.Array:
        return jnp.sum(jnp.tanh(batch["x"] @ params["one"]) @ params["two"] ** 2)

    def sums(variables: Any, batch: Any) -> tuple[Any, Any]:
        return jax.grad(loss)(variables["params"], batch), ()

    gradients, _ = reduction.summed(sums, {"params": state["params"]}, batch)
    new = jax.tree.map(lambda p, g: p - 0.1 * g, state["params"], gradients)
    return {"params": new}, {}


def _communicated(layout: scale.MeshShape) -> Counter[tuple[str, str]]:
    shapes = dict(zip(("one", "two"), pairwise(SIZES), strict=True))
    state = {"params": {name: jax.ShapeDtypeStruct(size, np.float32) for name, size in shapes.items()}}
    batch = {"x": jax.ShapeDtypeStruct((8, SIZES[0]), np.float32)}
    step = scale.compile_step(_step, "mesh", layout=layout)
    text = step.lower(state, batch).compile().as_text()
    assert text is not None
    return total_bytes(collectives_of(read_program(text), dict(step.mesh.shape)))


def test_data_parallel_sums_all_gradients_once():
    assert _communicated(scale.MeshShape()) == {("all-reduce", "data"): 4 * PARAMETERS}


def test_fsdp_gathers_all_parameters_once_and_sums_all_gradients_once():
    expected = {("all-gather", "fsdp"): 4 * PARAMETERS, ("reduce-scatter", "fsdp"): 4 * PARAMETERS}
    assert _communicated(scale.MeshShape(fsdp=4)) == expected


def test_data_and_fsdp_together_sum_over_data_what_is_left_after_fsdp():
    assert _communicated(scale.MeshShape(fsdp=2)) == {
        ("all-gather", "fsdp"): 4 * PARAMETERS,
        ("reduce-scatter", "fsdp"): 4 * PARAMETERS,
        ("all-reduce", "data"): 4 * PARAMETERS // 2,
    }
