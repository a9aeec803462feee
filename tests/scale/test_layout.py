"""Tests of the mesh, and of the rows that each process reads, also if a tensor axis spans processes."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxasr.scale.layout import HostShard, MeshShape, device_mesh, host_shard, process_shard


def held_by(data, fsdp, tensor, processes):
    """Returns the process of each device, in order, with one row for each group of devices with the same examples."""
    count = data * fsdp * tensor
    return np.repeat(np.arange(processes), count // processes).reshape(-1, tensor)


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("", MeshShape()),
        ("fsdp=2", MeshShape(fsdp=2)),
        ("data=4,fsdp=2,tensor=2", MeshShape(4, 2, 2)),
        ("data=8", MeshShape(8)),
    ],
)
def test_a_layout_is_written_as_it_is_read(text, layout):
    assert MeshShape.parse(text) == layout
    assert MeshShape.parse(str(layout)) == layout


@pytest.mark.parametrize("text", ["model=2", "fsdp", "fsdp=x", "fsdp=2,fsdp=2", "fsdp=-1"])
def test_what_is_no_mesh_is_refused(text):
    with pytest.raises(ValueError, match=r"it is like data=4,fsdp=2,tensor=2"):
        MeshShape.parse(text)


def test_sizes_that_make_no_mesh_are_refused():
    with pytest.raises(ValueError, match=r"fsdp >= 1"):
        MeshShape(fsdp=0)
    with pytest.raises(ValueError, match=r"data=0,fsdp=3,tensor=1 and 4 devices"):
        MeshShape(fsdp=3).mesh(jax.devices())
    with pytest.raises(ValueError, match=r"data=1,fsdp=2,tensor=1 and 4 devices"):
        MeshShape(data=1, fsdp=2).mesh(jax.devices())


def test_data_takes_the_devices_that_the_others_leave():
    assert dict(MeshShape(fsdp=2).mesh(jax.devices()).shape) == {"data": 2, "fsdp": 2, "tensor": 1}


def gpus(nodes, gpus_per_node):
    """Returns GPUs as JAX lists those of several nodes: every node is a slice."""
    return [
        SimpleNamespace(
            platform="gpu", device_kind="NVIDIA H100 80GB HBM3", id=number, slice_index=number // gpus_per_node
        )
        for number in range(nodes * gpus_per_node)
    ]


def tpus(slices, sides):
    """Returns the devices of tori of TPU v5p."""
    places = list(np.ndindex(sides))
    return [
        SimpleNamespace(
            platform="tpu", device_kind="TPU v5p", id=len(places) * s + n, slice_index=s, coords=place, core_on_chip=0
        )
        for s in range(slices)
        for n, place in enumerate(places)
    ]


def ids(devices, sizes):
    return np.vectorize(lambda device: device.id)(device_mesh(devices, sizes))


def test_nodes_of_gpus_stand_one_behind_the_other_and_an_axis_may_span_them():
    """jax.make_mesh raises "does not support multi-slice topologies" for them."""
    for sizes in ((16, 1, 1), (4, 2, 2), (1, 16, 1), (2, 4, 2)):
        np.testing.assert_array_equal(ids(gpus(2, 8)[::-1], sizes), np.arange(16).reshape(sizes))


def test_an_axis_that_is_no_side_of_a_torus_splits_one():
    """jax.make_mesh raises an error for it on v5p. Devices of the innermost axis are neighbours."""
    found = device_mesh(tpus(1, (4, 4, 4)), (32, 1, 2))
    assert found.shape == (32, 1, 2)
    assert len({device.id for device in found.flat}) == 64
    assert all(sum(abs(np.subtract(a.coords, b.coords))) == 1 for a, b in found[:, 0])


def test_slices_of_tpus_are_shared_out_by_the_data_axis_alone():
    found = device_mesh(tpus(2, (2, 2, 1)), (4, 2, 1))
    assert [device.slice_index for device in found[:, 0, 0]] == [0, 0, 1, 1]
    assert {device.slice_index for device in found[2:].flat} == {1}
    with pytest.raises(
        ValueError, match=r"\(1, 8, 1\) over 2 slices of TPUs; the first axis, data, must be a multiple of 2"
    ):
        device_mesh(tpus(2, (2, 2, 1)), (1, 8, 1))


@pytest.mark.parametrize(
    ("sizes", "processes"),
    [((8, 1, 1), 1), ((8, 1, 1), 4), ((2, 2, 2), 2), ((2, 2, 2), 4), ((2, 1, 4), 4), ((1, 4, 2), 2)],
)
def test_every_row_is_read_and_lies_where_the_devices_of_its_reader_are(sizes, processes):
    holders = held_by(*sizes, processes)
    shards = [host_shard(holders, process) for process in range(processes)]
    groups = len(holders)
    assert {block for shard in shards for block in shard.blocks_here()} == set(range(groups))
    for process, shard in enumerate(shards):
        held = [group for group in range(groups) if process in holders[group]]
        assert {shard.blocks[group] for group in held} == set(shard.blocks_here())
        assert shard.hosts == min(processes, groups)


def test_processes_that_a_tensor_axis_spans_read_the_same_rows():
    assert [host_shard(held_by(2, 1, 4, 4), process).host for process in range(4)] == [0, 0, 1, 1]


def test_rows_come_back_in_the_order_of_the_plan_however_the_devices_stand():
    holders = np.array([[1], [0], [1], [0]])
    first = host_shard(holders, 0)
    second = host_shard(holders, 1)
    assert (first.host, second.host) == (1, 0)  # the one with the first group reads first
    assert first.blocks == second.blocks
    plan = np.arange(8)
    lying = np.concatenate([np.split(plan, 4)[block] for block in first.blocks])
    assert not np.array_equal(lying, plan)
    np.testing.assert_array_equal(first.in_order(lying), plan)
    np.testing.assert_array_equal(HostShard(0, 1, (0,)).in_order(plan), plan)


def test_this_process_holds_all_of_its_own_mesh():
    assert process_shard(MeshShape(fsdp=2).mesh(jax.devices()), 0) == HostShard(0, 1, (0, 1, 2, 3))


def test_shares_that_overlap_in_part_are_refused():
    with pytest.raises(ValueError, match="overlap in part, or are unequally many"):
        host_shard(np.array([[0, 0, 1], [1, 1, 1]]), 0)
    with pytest.raises(ValueError, match="process 5 holds none"):
        host_shard(held_by(2, 1, 1, 2), 5)
