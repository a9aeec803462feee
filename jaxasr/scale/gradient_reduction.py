"""Sums of gradients and metrics over the examples of all devices, for the steps of `compile_step`."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxasr.scale.layout import ROWS
from jaxasr.scale.rules import Rules, keep_axes

Variables = Mapping[str, Any]  # "params" among them
Gradients = Callable[
    [Variables, Any], tuple[Any, Any]
]  # variables, batch -> gradients (a tree like "params"), other sums


@runtime_checkable
class GradientReduction(Protocol):
    """A sum over the examples of all devices. A step gets it with its state and batch."""

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """Returns the sums of `gradients(variables, batch)` over the examples of all devices. It divides nothing.

        Args:
            gradients: pure; both of its trees are sums over examples. It gets complete parameters, except for those that a
                mesh splits over its tensor axis. It may get a part of the examples.
            variables: under the paths that they have in the state, because sharding rules match these paths.

        Returns:
            The gradients, sharded like their parameters, and the other sums, replicated.
        """
        ...


@dataclass(frozen=True)
class SingleDevice:
    """A step that sees the whole batch and the whole state."""

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """Returns `gradients(variables, batch)`, because the batch holds all examples."""
        return gradients(variables, batch)


@dataclass(frozen=True)
class PmapReduction:
    """A step that runs on every device with its own examples, under pmap."""

    axis: str

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """Returns the sums after one all-reduce of both trees."""
        return jax.lax.psum(gradients(variables, batch), self.axis)


@dataclass(frozen=True)
class MeshReduction:
    """A step over a mesh. XLA's partitioner splits the global step, except for the gradients, which run under shard_map.

    Under shard_map each device has its own examples, and the devices communicate once a step. Split parameters are gathered
    before the forward pass. After the backward pass the gradients are summed and scattered like their parameters (ZeRO,
    Rajbhandari 2020, stage 2 with split parameters). The partitioner alone would move activations. It does not split FFTs,
    nor products that sum over time and examples at once (gradients of recurrent weights), and it sums gradients in every
    trip of a loop. The partitioner still splits the tensor axis here.
    """

    mesh: Mesh
    rules: Rules

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """Returns the sums after an all-gather of the parameters and a reduce-scatter of the gradients."""
        placed = self.rules.shardings(variables, self.mesh)
        split = jax.tree.map(lambda sharding: keep_axes(ROWS, sharding.spec), placed)

        def local_sums(variables: Variables, batch: Any) -> tuple[Any, Any]:
            sums, others = gradients(jax.tree.map(_gathered, variables, split), batch)
            return jax.tree.map(_scattered, sums, split["params"]), jax.lax.psum(others, ROWS)

        mapped = jax.shard_map(
            local_sums,
            mesh=self.mesh,
            in_specs=(split, PartitionSpec(ROWS)),
            out_specs=(split["params"], PartitionSpec()),
            axis_names=set(ROWS),
            check_vma=False,
        )
        return mapped(variables, batch)


@dataclass(frozen=True)
class MicrobatchReduction:
    """A step in which every device takes its examples in parts, one after another, and holds the activations of one part.

    The sums are those of the whole batch, up to the rounding of float32 sums.
    """

    devices: GradientReduction  # the sum over devices, once a step
    parts: int

    def summed(self, gradients: Gradients, variables: Variables, batch: Any) -> tuple[Any, Any]:
        """Returns the sums over all parts of all devices."""
        return self.devices.summed(functools.partial(_in_parts, gradients, self.parts), variables, batch)


def _in_parts(gradients: Gradients, parts: int, variables: Variables, batch: Any) -> tuple[Any, Any]:
    """Returns the sums of `gradients` over equal parts of the examples."""
    split = jax.tree.map(lambda leaf: leaf.reshape(parts, leaf.shape[0] // parts, *leaf.shape[1:]), batch)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradients(variables, part)), None

    shapes = jax.eval_shape(gradients, variables, jax.tree.map(lambda leaf: leaf[0], split))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zeros, split)[0]


def _gathered(part: jax.Array, spec: PartitionSpec) -> jax.Array:
    for dimension, axis in enumerate(spec):
        if axis is not None:
            part = jax.lax.all_gather(part, axis, axis=dimension, tiled=True)
    return part


def _scattered(own: jax.Array, spec: PartitionSpec) -> jax.Array:
    """Returns the part of a sum over all devices that this device keeps."""
    for dimension, axis in enumerate(spec):
        if axis is not None:
            own = jax.lax.psum_scatter(own, axis, scatter_dimension=dimension, tiled=True)
    return jax.lax.psum(own, tuple(axis for axis in ROWS if axis not in spec))


SINGLE_DEVICE = SingleDevice()
