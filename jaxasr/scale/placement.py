"""Where a search runs: on one device, or on all, each with its share of the examples and all of the variables."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh

from jaxasr.scale.compile import Parallelism, place_rows, resolve_parallelism
from jaxasr.scale.hosts import barrier
from jaxasr.scale.layout import MeshShape, HostShard, host_local_copy, data_sharding, process_shard, replicated

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Placement:
    """Some devices. What is placed by one of its methods goes into one compiled function with what is placed by the other."""

    mesh: Mesh  # of three axes (scale/layout.py), of which the examples have the first

    def seat(self, examples: Iterable[int]) -> HostShard:
        """Which rows this process reads of batches of so many examples: all, where any of them can't be shared out evenly."""
        own = process_shard(self.mesh, jax.process_index())
        return own if all(count % self.mesh.size == 0 for count in examples) else HostShard(0, 1, own.blocks)

    def whole(self, tree: Tree) -> Tree:
        """On every device. In several processes each gives the same."""
        sharding = replicated(self.mesh)
        if jax.process_count() > 1:  # device_put would compare what they give
            barrier("placed")  # one that is late would run into the time limit of the exchange
            return jax.jit(lambda tree: tree, out_shardings=sharding)(host_local_copy(tree))
        return jax.device_put(tree, sharding)

    def shared(self, batch: Tree, own: HostShard) -> Tree:
        """The rows that a seat says to read, each device its share; all of them for all where they can't be shared out."""
        examples = {leaf.shape[0] * own.hosts for leaf in jax.tree.leaves(batch)}
        if any(count % self.mesh.size for count in examples):
            return self.whole(batch)
        if jax.process_count() > 1:
            return place_rows(batch, self.mesh) if own.hosts > 1 else self.whole(batch)
        return jax.device_put(batch, data_sharding(self.mesh))

    def gathered(self, found: Tree) -> Tree:
        """What a compiled function gave, where this process can read it. All processes call it."""
        return found if jax.process_count() == 1 else self.whole(found)

    def gathered_rows(self, found: Tree, own: HostShard) -> Tree:
        """The same of arrays with the examples in front: all of them, as the plan has them."""
        if jax.process_count() == 1:
            return found
        here: Any = jax.device_get(self.whole(found))
        return jax.tree.map(own.in_order, here) if own.hosts > 1 else here


def placement(how: Parallelism) -> Placement:
    """The devices that a step compiled in this way has: the first under jit, all of all processes otherwise."""
    devices = jax.devices()
    return Placement(MeshShape().mesh(devices[:1] if resolve_parallelism(how, devices) == "jit" else devices))
