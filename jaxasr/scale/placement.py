"""Placement of batches and variables for decoding: on one device, or on all with a share of the examples each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh

from jaxasr.scale.compile import Parallelism, place_rows, resolve_parallelism
from jaxasr.scale.hosts import barrier
from jaxasr.scale.layout import HostShard, MeshShape, data_sharding, host_local_copy, process_shard, replicated

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Placement:
    """A mesh for inference. One compiled function takes the arrays that `whole` and `shared` return."""

    mesh: Mesh  # of three axes (scale/layout.py); the examples are split over the first

    def host_shard(self, examples: Iterable[int]) -> HostShard:
        """Returns the rows that this process reads of batches with these numbers of examples.

        Every process reads all rows if the devices can't have equal shares of one of the batches.
        """
        own = process_shard(self.mesh, jax.process_index())
        return own if all(count % self.mesh.size == 0 for count in examples) else HostShard(0, 1, own.blocks)

    def whole(self, tree: Tree) -> Tree:
        """Returns the tree replicated on every device. All processes give equal trees."""
        sharding = replicated(self.mesh)
        if jax.process_count() > 1:  # device_put would compare the trees of the processes
            barrier("placed")  # the collective would time out on a late process
            return jax.jit(lambda tree: tree, out_shardings=sharding)(host_local_copy(tree))
        return jax.device_put(tree, sharding)

    def shared(self, batch: Tree, own: HostShard) -> Tree:
        """Returns the rows of a host shard, split over the devices, or replicated if they can't be split evenly."""
        examples = {leaf.shape[0] * own.hosts for leaf in jax.tree.leaves(batch)}
        if any(count % self.mesh.size for count in examples):
            return self.whole(batch)
        if jax.process_count() > 1:
            return place_rows(batch, self.mesh) if own.hosts > 1 else self.whole(batch)
        return jax.device_put(batch, data_sharding(self.mesh))

    def gathered(self, found: Tree) -> Tree:
        """Returns the results of a compiled function such that this process can read them. All processes call it."""
        return found if jax.process_count() == 1 else self.whole(found)

    def gathered_rows(self, found: Tree, own: HostShard) -> Tree:
        """Returns the results of all examples, the first axis, in the order of the plan. All processes call it."""
        if jax.process_count() == 1:
            return found
        here: Any = jax.device_get(self.whole(found))
        return jax.tree.map(own.in_order, here) if own.hosts > 1 else here


def placement(parallelism: Parallelism) -> Placement:
    """Returns the placement for a parallelism: the first device under jit, all devices of all processes otherwise."""
    devices = jax.devices()
    return Placement(MeshShape().mesh(devices[:1] if resolve_parallelism(parallelism, devices) == "jit" else devices))
