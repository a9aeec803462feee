"""One pure step, compiled for one device or for many: jit, pmap, or jit over a mesh. The step knows none of them.

A step is `step(state, batch, axis) -> (state, metrics)`. With an axis it adds its sums (gradients, weights, metrics)
over it by `jax.lax.psum` before it divides; without one it sees the whole batch. Then all three ways agree, however
unequal the token counts of the devices are. The state is whole on every device, and one copy of it comes back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

State = TypeVar("State")
Data = TypeVar("Data")
Metrics = TypeVar("Metrics")

How = Literal["jit", "pmap", "mesh"]
AXIS = "data"


@dataclass(frozen=True)
class CompiledStep(Generic[State, Metrics]):
    """A step for `mesh.devices`. Give it only what `place_state` and `place` gave."""

    how: How
    mesh: Mesh  # one axis, AXIS
    function: Callable[[State, Any], tuple[State, Metrics]]

    def __call__(self, state: State, batch: Any) -> tuple[State, Metrics]:
        """The next state and the metrics, one copy of each. The state given is used up."""
        return self.function(state, batch)

    def place_state(self, state: State) -> State:
        """A copy of the state on every device; the one given stays usable.

        device_put alone won't do: over several devices it shares buffers with what it is given, may_alias=False or
        not, and a step that is then given one buffer twice to reuse crashes the process.
        """
        whole = NamedSharding(self.mesh, PartitionSpec())
        copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=whole)
        return copy(jax.device_put(state, whole))

    def place(self, batch: Data) -> Data:
        """The batch on its way to the devices, each of them its share of the examples; does not wait.

        Args:
            batch: a tree of host arrays with the examples in front. Don't write to them afterwards: a CPU device may
                read them where they lie.

        Raises:
            ValueError: the examples can't be shared out evenly.
        """
        devices = self.mesh.size
        examples = {leaf.shape[0] for leaf in jax.tree.leaves(batch)}
        if any(count % devices for count in examples):
            raise ValueError(
                f"a batch of {sorted(examples)} examples can't be shared out evenly over {devices} devices; "
                f"make the examples of every batch shape a multiple of {devices}, or use fewer devices"
            )
        if self.how == "pmap":
            batch = jax.tree.map(lambda x: x.reshape(devices, x.shape[0] // devices, *x.shape[1:]), batch)
        return jax.device_put(batch, NamedSharding(self.mesh, PartitionSpec(AXIS)))


def compile_step(
    step: Callable[..., tuple[State, Metrics]],
    how: How,
    *,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> CompiledStep[State, Metrics]:
    """The step for these devices; it is compiled when first called, once for each shape of a batch.

    Args:
        step: pure; called as `step(state, batch, axis)`, see above.
        how: "jit" takes the first device; "pmap" and "mesh" all. Under pmap every device runs the step on its own
            examples and sums meet in psum; over the mesh XLA's partitioner splits the one global step.
        devices: None takes those JAX sees.

    Raises:
        ValueError: several processes, which none of the three is made for yet.
    """
    if jax.process_count() > 1:
        raise ValueError(f"{jax.process_count()} processes: compile_step places batches of one process only")
    chosen = list(jax.devices() if devices is None else devices)
    chosen = chosen[:1] if how == "jit" else chosen
    mesh = jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)
    return CompiledStep(how, mesh, _compiled(step, how, mesh))


def _compiled(step: Callable[..., Any], how: How, mesh: Mesh) -> Callable[[Any, Any], Any]:
    axis = AXIS if how == "pmap" else None

    def one_step(state: Any, batch: Any) -> Any:
        return step(state, batch, axis)

    if how == "pmap":
        devices = list(mesh.devices.flat)
        return jax.pmap(one_step, AXIS, in_axes=(None, 0), out_axes=None, devices=devices, donate_argnums=0)
    whole, shared = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), (AXIS,)))
    return jax.jit(one_step, in_shardings=(whole, shared), out_shardings=whole, donate_argnums=0)
