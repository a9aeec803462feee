"""Where a search runs: on one device, or on all, each with its share of the examples and all of the variables."""

from dataclasses import dataclass
from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxasr.scale.compile import AXIS, How

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Placement:
    """Some devices. What is placed by one of its methods goes into one compiled function with what is placed by the other."""

    mesh: Mesh  # one axis, AXIS

    def whole(self, tree: Tree) -> Tree:
        """On every device."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def shared(self, batch: Tree) -> Tree:
        """Each device its share of the examples, which stand in front; where they can't be shared out evenly, all of them."""
        examples = {leaf.shape[0] for leaf in jax.tree.leaves(batch)}
        if any(count % self.mesh.size for count in examples):
            return self.whole(batch)
        return jax.device_put(batch, NamedSharding(self.mesh, PartitionSpec(AXIS)))


def placement(how: How) -> Placement:
    """The devices that a step compiled in this way has: the first under jit, all of this process otherwise."""
    devices = jax.local_devices()[: 1 if how == "jit" else None]
    return Placement(jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices))
