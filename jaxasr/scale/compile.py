"""One pure step, compiled for one device or for many: jit, pmap, or jit over a mesh. The step knows none of them.

A step is `step(state, batch, across) -> (state, metrics)`, and all that it asks of the devices it asks of `across`
(scale/gradient_reduction.py): the sums over examples (gradients, weights, metrics), before it divides. Then all three ways
agree, however unequal the token counts of the devices are, and in any number of processes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from jaxasr.scale.gradient_reduction import SINGLE_DEVICE, PmapReduction, MeshReduction
from jaxasr.scale.hosts import barrier
from jaxasr.scale.layout import DATA, ROWS, MeshShape, HostShard, host_local_copy, data_sharding, process_shard, replicated
from jaxasr.scale.rules import Rules

State = TypeVar("State")
Data = TypeVar("Data")
Metrics = TypeVar("Metrics")

Parallelism = Literal["auto", "jit", "pmap", "mesh"]
PARALLELISMS = ("jit", "pmap", "mesh")


@dataclass(frozen=True)
class CompiledStep(Generic[State, Metrics]):
    """A step for `mesh.devices`. Give it only what `place_state` and `place` gave."""

    parallelism: Parallelism
    mesh: Mesh  # of three axes (scale/layout.py)
    rules: Rules
    function: Any  # jitted: (state, batch) -> (state, metrics)
    _executables: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)  # by the shapes of a batch

    def __call__(self, state: State, batch: Any) -> tuple[State, Metrics]:
        """The next state and the metrics, which are whole on every device. The state given is used up."""
        if jax.process_count() == 1:
            return self.function(state, batch)
        return self._together(state, batch)

    @property
    def host_shard(self) -> HostShard:
        """Which rows of a batch this process reads."""
        return process_shard(self.mesh, jax.process_index())

    def shardings(self, state: Any) -> Any:
        """Where each leaf of a state, or of shapes of one, lies.

        Raises:
            ValueError: a rule of the table fits no leaf, does not fit one, or contradicts another (scale/rules.py).
        """
        if self.parallelism == "pmap":  # as pmap gives it back: for another mesh it would compile the step once more
            line = Mesh(self.mesh.devices.reshape(-1), (DATA,), axis_types=(AxisType.Auto,))
            return jax.tree.map(lambda _: replicated(line), state)
        self.rules.check_all_rules_used(state)
        return self.rules.shardings(state, self.mesh)

    @property
    def groups(self) -> int:
        """Of devices: each has examples of its own."""
        return math.prod(self.mesh.shape[axis] for axis in ROWS)

    def check_divisible(self, examples: int) -> None:
        """Raises: ValueError: a batch of so many examples can't be shared out evenly."""
        if examples % self.groups:
            raise ValueError(
                f"a batch of {examples} examples can't be shared out evenly over {self.groups} devices; "
                f"make the examples of every batch shape a multiple of {self.groups} (train_data.shapes.examples_multiple), "
                "or use fewer devices"
            )

    def place_state(self, state: State) -> State:
        """A copy of the state on the devices; the one given stays usable. In several processes each gives an equal one.

        device_put alone won't do: over several devices it shares buffers with what it is given, may_alias=False or
        not, and a step that is then given one buffer twice to reuse crashes the process.
        """
        shardings = self.shardings(state)
        copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings)
        return copy(host_local_copy(state) if jax.process_count() > 1 else jax.device_put(state, shardings))

    def place(self, batch: Data) -> Data:
        """The batch on its way to the devices, each of them its share of the examples; does not wait.

        Args:
            batch: a tree of host arrays with the examples in front: in several processes the rows that `seat` says. Don't
                write to them afterwards: a CPU device may read them where they lie.

        Raises:
            ValueError: the examples can't be shared out evenly.
        """
        groups, hosts = self.groups, self.host_shard.hosts
        for leaf in jax.tree.leaves(batch):
            self.check_divisible(leaf.shape[0] * hosts)
        if self.parallelism == "pmap":
            here = groups // hosts
            batch = jax.tree.map(lambda x: x.reshape(here, x.shape[0] // here, *x.shape[1:]), batch)
        return place_rows(batch, self.mesh)

    def _together(self, state: Any, batch: Any) -> Any:
        """Runs it when all processes have compiled it: one that is slower would run into the time limits of collectives."""
        shape = tuple(leaf.shape for leaf in jax.tree.leaves(batch))
        if shape not in self._executables:
            self._executables[shape] = self.function.lower(state, batch).compile()
            barrier("compiled")
        return self._executables[shape](state, batch)

    def lower(self, state: Any, batch: Any) -> jax.stages.Lowered:
        """The step for shapes of a state and of a whole batch (trees of jax.ShapeDtypeStruct), not run: ahead of time."""
        placed = jax.tree.map(_at, state, self.shardings(state))
        rows = jax.tree.map(lambda leaf: _at(leaf, data_sharding(self.mesh)), batch)
        platform = self.mesh.devices.flat[0].platform
        platforms = ("cuda" if platform == "gpu" else platform,)  # "gpu" is for a process that has one
        return self.function.trace(placed, rows).lower(lowering_platforms=platforms)


def compile_step(
    step: Callable[..., tuple[State, Metrics]],
    parallelism: Parallelism,
    *,
    layout: MeshShape | None = None,
    rules: Rules | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> CompiledStep[State, Metrics]:
    """The step for these devices; it is compiled when first called, once for each shape of a batch.

    Args:
        step: pure; called as `step(state, batch, across)`, see above.
        how: "jit" takes the first device; "pmap" and "mesh" all; "auto": mesh where there are several accelerators or
            processes or a layout asks for it, else jit (a CPU has several devices only where they are made up).
            Under pmap every device runs the whole step, and sums over examples meet in psum; over a mesh it is one
            global step, of which XLA's partitioner splits what is not a sum over examples (across.Meshed).
        layout: of the mesh; None: all devices share out the examples.
        rules: where the state lies on the mesh; None: the built-in ones.
        devices: None takes those JAX sees, of all processes. Those of a machine that is not here can be given, to `lower`.

    Raises:
        ValueError: jit with several processes, a layout for what is no mesh, or one that does not fit the devices.
    """
    chosen = list(jax.devices() if devices is None else devices)
    layout, rules = layout or MeshShape(), rules or Rules()
    parallelism = resolve_parallelism(parallelism, chosen, layout)
    if parallelism == "jit" and jax.process_count() > 1:
        raise ValueError(
            f"--parallelism jit is for one device of one process; there are {jax.process_count()} processes: use mesh"
        )
    if parallelism != "mesh" and (layout.fsdp, layout.tensor) != (1, 1):
        raise ValueError(f"the mesh {layout} and --parallelism {parallelism}, which splits examples alone; use --parallelism mesh")
    chosen = chosen[:1] if parallelism == "jit" else chosen
    mesh = (MeshShape() if parallelism == "jit" else layout).mesh(chosen)
    return CompiledStep(parallelism, mesh, rules, _compiled(step, parallelism, mesh, rules))


def resolve_parallelism(parallelism: Parallelism, devices: Sequence[jax.Device], layout: MeshShape | None = None) -> Parallelism:  # pyright: ignore[reportInvalidTypeForm]
    """What "auto" means on these devices (see compile_step)."""
    if parallelism not in ("auto", *PARALLELISMS):
        raise ValueError(f"how={parallelism!r}; a step is compiled by one of auto, {', '.join(PARALLELISMS)}")
    if parallelism != "auto":
        return parallelism
    several = jax.process_count() > 1 or (len(devices) > 1 and devices[0].platform != "cpu")
    return "mesh" if several or (layout or MeshShape()) != MeshShape() else "jit"


def place_rows(batch: Data, mesh: Mesh) -> Data:
    """The rows of this process, on their way to its devices; those of all processes are one array."""
    sharding = data_sharding(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    here = process_shard(mesh, jax.process_index())
    blocks = here.blocks_here()
    own = {group: blocks.index(block) for group, block in enumerate(here.blocks) if block in blocks}

    def spread(rows: np.ndarray) -> jax.Array:
        size = rows.shape[0] // len(own)
        shape = (size * len(here.blocks), *rows.shape[1:])
        parts = []
        for device, index in sharding.addressable_devices_indices_map(shape).items():
            first = own[(index[0].start or 0) // size] * size
            parts.append(jax.device_put(rows[first : first + size], device))  # explicit, for the loop's transfer guard
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return jax.tree.map(lambda leaf: spread(np.asarray(leaf)), batch)


def _at(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _compiled(step: Callable[..., Any], parallelism: Parallelism, mesh: Mesh, rules: Rules) -> Any:
    if parallelism == "pmap":

        def one_step(state: Any, batch: Any) -> Any:
            return step(state, batch, PmapReduction(DATA))

        devices = list(mesh.devices.flat)
        return jax.pmap(one_step, DATA, in_axes=(None, 0), out_axes=None, devices=devices, donate_argnums=0)
    across = SINGLE_DEVICE if mesh.size == 1 else MeshReduction(mesh, rules)
    stay = rules.shardings

    def one_step(state: Any, batch: Any) -> Any:
        new, metrics = step(state, batch, across)
        return jax.lax.with_sharding_constraint((new, metrics), (stay(new, mesh), replicated(mesh)))

    return jax.jit(one_step, donate_argnums=0)
