"""Compiles a pure step for one device or for many: jit, pmap, or jit over a mesh. The step has no code for devices.

A step is `step(state, batch, reduction) -> (state, metrics)`. The argument `reduction` (scale/gradient_reduction.py) sums
over the examples of all devices: gradients, weights and metrics. The step divides only after these sums. So all three
parallelisms give the same result for unequal token counts on the devices, and for any number of processes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from jaxasr.scale.gradient_reduction import (
    SINGLE_DEVICE,
    GradientReduction,
    MeshReduction,
    MicrobatchReduction,
    PmapReduction,
)
from jaxasr.scale.hosts import barrier
from jaxasr.scale.layout import (
    DATA,
    ROWS,
    HostShard,
    MeshShape,
    data_sharding,
    host_local_copy,
    process_shard,
    replicated,
)
from jaxasr.scale.rules import Rules

State = TypeVar("State")
Data = TypeVar("Data")
Metrics = TypeVar("Metrics")

Parallelism = Literal["auto", "jit", "pmap", "mesh"]
PARALLELISMS = ("jit", "pmap", "mesh")


@dataclass(frozen=True)
class CompiledStep(Generic[State, Metrics]):
    """A step for `mesh.devices`. It takes only states and batches that `place_state` and `place` returned."""

    parallelism: Parallelism
    mesh: Mesh  # of three axes (scale/layout.py)
    rules: Rules
    function: Any  # jitted: (state, batch) -> (state, metrics)
    microbatches: int = 1  # parts in which a device takes its examples
    _executables: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)  # keys: shapes of a batch

    def __call__(self, state: State, batch: Any) -> tuple[State, Metrics]:
        """Returns the next state, and the metrics, replicated on every device. The given state is donated."""
        if jax.process_count() == 1:
            return self.function(state, batch)
        return self._call_synchronized(state, batch)

    @property
    def host_shard(self) -> HostShard:
        """The rows of a batch that this process reads."""
        return process_shard(self.mesh, jax.process_index())

    def shardings(self, state: Any) -> Any:
        """Returns the sharding of each leaf of a state, or of a tree of its shapes.

        Raises:
            ValueError: a rule of the table matches no leaf, does not fit one, or contradicts another (scale/rules.py).
        """
        if (
            self.parallelism == "pmap"
        ):  # pmap returns states on this mesh; it would compile again for a state on another
            line = Mesh(self.mesh.devices.reshape(-1), (DATA,), axis_types=(AxisType.Auto,))
            return jax.tree.map(lambda _: replicated(line), state)
        self.rules.check_all_rules_used(state)
        return self.rules.shardings(state, self.mesh)

    @property
    def groups(self) -> int:
        """The number of device groups that hold different examples."""
        return math.prod(self.mesh.shape[axis] for axis in ROWS)

    def check_divisible(self, examples: int) -> None:
        """Raises ValueError if the device groups can't have equal shares of so many examples, in equal microbatches."""
        shares = self.groups * self.microbatches
        if examples % shares and self.microbatches > 1:
            raise ValueError(
                f"a batch of {examples} examples can't be divided evenly over {self.groups} devices in {self.microbatches} "
                f"microbatches; make the examples of every batch shape a multiple of {shares} "
                "(train_data.shapes.examples_multiple), or change --microbatches"
            )
        if examples % self.groups:
            raise ValueError(
                f"a batch of {examples} examples can't be shared out evenly over {self.groups} devices; "
                f"make the examples of every batch shape a multiple of {self.groups} (train_data.shapes.examples_multiple), "
                "or use fewer devices"
            )

    def place_state(self, state: State) -> State:
        """Returns a copy of the state on the devices. The given state stays usable. All processes give equal states.

        `device_put` alone is not enough. Over several devices it shares buffers with its argument, even with
        may_alias=False. A step that gets one buffer twice as a donation crashes the process.
        """
        shardings = self.shardings(state)
        copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings)
        return copy(host_local_copy(state) if jax.process_count() > 1 else jax.device_put(state, shardings))

    def place(self, batch: Data) -> Data:
        """Starts the copy of a batch to the devices and returns the arrays. Every device group gets its share of examples.

        Args:
            batch: a tree of host arrays with the examples as first axis. With several processes it holds the rows of
                `host_shard`. Don't write to the arrays afterwards: a CPU device may use their memory.

        Raises:
            ValueError: the device groups can't have equal shares of the examples.
        """
        hosts = self.host_shard.hosts
        for leaf in jax.tree.leaves(batch):
            self.check_divisible(leaf.shape[0] * hosts)
        if self.parallelism == "pmap":
            here = self.groups // hosts
            batch = jax.tree.map(lambda x: x.reshape(here, x.shape[0] // here, *x.shape[1:]), batch)
        return place_rows(batch, self.mesh)

    def _call_synchronized(self, state: Any, batch: Any) -> Any:
        """Calls the step after all processes have compiled it. Collectives would time out on a slower process."""
        shape = tuple(leaf.shape for leaf in jax.tree.leaves(batch))
        if shape not in self._executables:
            self._executables[shape] = self.function.lower(state, batch).compile()
            barrier("compiled")
        return self._executables[shape](state, batch)

    def lower(self, state: Any, batch: Any) -> jax.stages.Lowered:
        """Lowers the step ahead of time, for shapes of a state and of a global batch (trees of jax.ShapeDtypeStruct)."""
        placed = jax.tree.map(_at, state, self.shardings(state))
        rows = jax.tree.map(lambda leaf: _at(leaf, data_sharding(self.mesh)), batch)
        platform = self.mesh.devices.flat[0].platform
        platforms = ("cuda" if platform == "gpu" else platform,)  # "gpu" works only in a process that has a GPU
        return self.function.trace(placed, rows).lower(lowering_platforms=platforms)


def compile_step(
    step: Callable[..., tuple[State, Metrics]],
    parallelism: Parallelism,
    *,
    layout: MeshShape | None = None,
    rules: Rules | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    microbatches: int = 1,
) -> CompiledStep[State, Metrics]:
    """Returns the step for these devices. It is compiled at the first call for each shape of a batch.

    Args:
        step: pure; called as `step(state, batch, reduction)` (see the module's docstring).
        parallelism: "jit" uses the first device; "pmap" and "mesh" use all. "auto" selects mesh if there are several
            accelerators or processes, or if `layout` is not the default, and jit otherwise. (A CPU has several devices only
            if they are virtual.) Under pmap every device runs the whole step, and psum adds the sums over examples. Over a
            mesh there is one global step, and XLA's partitioner splits everything but the sums over examples
            (`MeshReduction`).
        layout: shape of the mesh; None: all devices are on the data axis.
        rules: sharding rules of the state on the mesh; None: the built-in ones.
        devices: None: all devices of all processes. Devices of a `Topology` that is not here serve for `lower` alone.
        microbatches: parts in which a device takes its examples, one after another; more of them need less memory.

    Raises:
        ValueError: jit with several processes, a layout without a mesh, or a layout that does not fit the devices.
    """
    chosen = list(jax.devices() if devices is None else devices)
    layout = layout or MeshShape()
    rules = rules or Rules()
    parallelism = resolve_parallelism(parallelism, chosen, layout)
    if parallelism == "jit" and jax.process_count() > 1:
        raise ValueError(
            f"--parallelism jit is for one device of one process; there are {jax.process_count()} processes: use mesh"
        )
    if parallelism != "mesh" and (layout.fsdp, layout.tensor) != (1, 1):
        raise ValueError(
            f"the mesh {layout} and --parallelism {parallelism}, which splits examples alone; use --parallelism mesh"
        )
    chosen = chosen[:1] if parallelism == "jit" else chosen
    mesh = (MeshShape() if parallelism == "jit" else layout).mesh(chosen)
    function = _compiled(step, parallelism, mesh, rules, microbatches)
    return CompiledStep(parallelism, mesh, rules, function, microbatches)


def resolve_parallelism(
    parallelism: Parallelism,
    devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm]
    layout: MeshShape | None = None,
) -> Parallelism:
    """Returns the parallelism that "auto" selects on these devices (see compile_step). Returns any other one unchanged."""
    if parallelism not in ("auto", *PARALLELISMS):
        raise ValueError(f"parallelism={parallelism!r}; a step is compiled by one of auto, {', '.join(PARALLELISMS)}")
    if parallelism != "auto":
        return parallelism
    several = jax.process_count() > 1 or (len(devices) > 1 and devices[0].platform != "cpu")
    return "mesh" if several or (layout or MeshShape()) != MeshShape() else "jit"


def place_rows(batch: Data, mesh: Mesh) -> Data:
    """Starts the copy of this process's rows to its devices. Returns the global arrays with the rows of all processes."""
    sharding = data_sharding(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    here = process_shard(mesh, jax.process_index())
    blocks = here.blocks_here()
    own = {group: blocks.index(block) for group, block in enumerate(here.blocks) if block in blocks}

    def global_array(rows: np.ndarray) -> jax.Array:
        size = rows.shape[0] // len(own)
        shape = (size * len(here.blocks), *rows.shape[1:])
        parts = []
        for device, index in sharding.addressable_devices_indices_map(shape).items():
            start = index[0].start if index else None  # None: the device holds all rows
            first = own[(start or 0) // size] * size
            parts.append(jax.device_put(rows[first : first + size], device))  # explicit, for the loop's transfer guard
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return jax.tree.map(lambda leaf: global_array(np.asarray(leaf)), batch)


def _at(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _compiled(step: Callable[..., Any], parallelism: Parallelism, mesh: Mesh, rules: Rules, microbatches: int) -> Any:
    def in_parts(reduction: GradientReduction) -> GradientReduction:
        return reduction if microbatches == 1 else MicrobatchReduction(reduction, microbatches)

    if parallelism == "pmap":

        def one_step(state: Any, batch: Any) -> Any:
            return step(state, batch, in_parts(PmapReduction(DATA)))

        devices = list(mesh.devices.flat)
        return jax.pmap(one_step, DATA, in_axes=(None, 0), out_axes=None, devices=devices, donate_argnums=0)
    reduction = in_parts(SINGLE_DEVICE if mesh.size == 1 else MeshReduction(mesh, rules))

    def one_step(state: Any, batch: Any) -> Any:
        new, metrics = step(state, batch, reduction)
        return jax.lax.with_sharding_constraint((new, metrics), (rules.shardings(new, mesh), replicated(mesh)))

    return jax.jit(one_step, donate_argnums=0)
