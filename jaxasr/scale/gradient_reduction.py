"""How a step sums over its examples, whichever devices they are on: the one thing that it asks of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxasr.scale.layout import ROWS
from jaxasr.scale.rules import Rules, only

Variables = Mapping[str, Any]  # "params" among them
Gradients = Callable[[Variables, Any], tuple[Any, Any]]  # of a batch: gradients, a tree like the "params"; other sums


@runtime_checkable
class GradientReduction(Protocol):
    """Given to a step with its state and batch."""

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """`gradients(variables, batch)` over the examples of all devices, before anything is divided.

        Args:
            gradients: pure; both of its trees are sums over examples. It is given parameters that are whole, but for what a
                mesh splits over its tensor axis, and may be given a part of the examples.
            variables: by the paths that they have in the state, for rules are written for those.

        Returns:
            Gradients, which lie where their parameters do; the other sums, whole.
        """
        ...


@dataclass(frozen=True)
class SingleDevice:
    """A step that sees the whole batch and the whole state."""

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """They are those of all examples already."""
        return gradients(variables, batch)


@dataclass(frozen=True)
class PmapReduction:
    """A step that runs on every device with its own examples, under pmap."""

    axis: str

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """One all-reduce of everything."""
        return jax.lax.psum(gradients(variables, batch), self.axis)


@dataclass(frozen=True)
class MeshReduction:
    """A step over a mesh. It sees the whole of everything, and XLA's partitioner splits it wherever it lies: but for this.

    Here each device has its own examples (shard_map), and what is said is said once a step: parameters that are split are
    gathered before the forward pass; after the backward pass gradients are summed, each to where its parameter is kept
    (ZeRO, Rajbhandari 2020, stage 2 with split parameters). Left to itself the partitioner would move activations: it splits
    no FFT and no product that sums over time and examples at once (gradients of recurrent weights), and adds up gradients
    in every pass of a loop. The tensor axis is left to it, here too.
    """

    mesh: Mesh
    rules: Rules

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """All-gather, compute, reduce-scatter."""
        placed = self.rules.shardings(variables, self.mesh)
        split = jax.tree.map(lambda each: only(ROWS, each.spec), placed)

        def of_own(variables: Variables, batch: Any) -> tuple[Any, Any]:
            sums, others = gradients(jax.tree.map(_whole, variables, split), batch)
            return jax.tree.map(_scattered, sums, split["params"]), jax.lax.psum(others, ROWS)

        mapped = jax.shard_map(
            of_own,
            mesh=self.mesh,
            in_specs=(split, PartitionSpec(ROWS)),
            out_specs=(split["params"], PartitionSpec()),
            axis_names=set(ROWS),
            check_vma=False,
        )
        return mapped(variables, batch)


def _whole(part: jax.Array, spec: PartitionSpec) -> jax.Array:
    for dimension, axis in enumerate(spec):
        if axis is not None:
            part = jax.lax.all_gather(part, axis, axis=dimension, tiled=True)
    return part


def _scattered(own: jax.Array, spec: PartitionSpec) -> jax.Array:
    """Of a sum over all devices the part that is kept here."""
    for dimension, axis in enumerate(spec):
        if axis is not None:
            own = jax.lax.psum_scatter(own, axis, scatter_dimension=dimension, tiled=True)
    return jax.lax.psum(own, tuple(axis for axis in ROWS if axis not in spec))


SINGLE_DEVICE = SingleDevice()
