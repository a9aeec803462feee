"""How the devices of a run are laid out, and which rows of a batch each process reads for those it holds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

DATA, FSDP, TENSOR = AXES = ("data", "fsdp", "tensor")
ROWS = (DATA, FSDP)  # the axes that the examples of a batch are split over


@dataclass(frozen=True)
class MeshShape:
    """Sizes of the mesh's axes.

    data: the examples are split over it, the state is not. fsdp: the examples are, and so is every large array of the state.
    tensor: single products are, where the rules say so; it is the innermost, for its devices talk the most.
    """

    data: int = 0  # 0: as many devices as the other two leave
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        if self.data < 0 or self.fsdp < 1 or self.tensor < 1:
            raise ValueError(
                f"the mesh {self}; it needs data >= 0 (0: what the others leave), fsdp >= 1 and tensor >= 1"
            )

    def __str__(self) -> str:
        return ",".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self))

    @classmethod
    def parse(cls, text: str) -> "MeshShape":
        """Of "data=4,fsdp=2,tensor=2"; what is not named is as in `Layout()`.

        Raises:
            ValueError: another axis, no number, an axis twice.
        """
        sizes: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            name, _, size = part.partition("=")
            if name not in AXES or name in sizes or not size.isdigit():
                raise ValueError(
                    f"{part!r} in the mesh {text!r}; it is like data=4,fsdp=2,tensor=2, each axis once at most"
                )
            sizes[name] = int(size)
        return cls(**sizes)

    def mesh(self, devices: Sequence[jax.Device]) -> Mesh:  # pyright: ignore[reportInvalidTypeForm]
        """The devices in three axes, AXES; those that are linked best stand innermost.

        Raises:
            ValueError: the devices are more or fewer, or slices of TPUs that the data axis does not share out.
        """
        rest, left = divmod(len(devices), self.fsdp * self.tensor)
        data = self.data or rest
        if left or data != rest:
            raise ValueError(
                f"the mesh {self} and {len(devices)} devices; data x fsdp x tensor must be {len(devices)} (data=0: what the "
                "others leave)"
            )
        sizes, types = (data, self.fsdp, self.tensor), (AxisType.Auto,) * len(AXES)
        return Mesh(device_mesh(devices, sizes), AXES, axis_types=types)


def device_mesh(devices: Sequence[Any], sizes: tuple[int, int, int]) -> np.ndarray:
    """The devices in so many rows of each axis, nodes of GPUs and slices of TPUs one behind the other along the first.

    `jax.make_mesh` refuses several nodes or slices, and axes that are no side of a torus of TPUs.

    Raises:
        ValueError: slices of TPUs that the first axis does not share out: the others would go through the slow network.
    """
    slices = len({each.slice_index for each in devices}) if hasattr(devices[0], "slice_index") else 1
    if devices[0].platform != "tpu" or slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    data, *inner = sizes
    if data % slices:
        raise ValueError(
            f"a mesh of {sizes} over {slices} slices of TPUs; the first axis, data, must be a multiple of {slices}, for the "
            "others talk within a slice"
        )
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, *inner), (slices, 1, 1), devices, allow_split_physical_axes=True
    )


@dataclass(frozen=True)
class HostShard:
    """Which rows of the plan's batches a process reads, and where all rows lie in the array that the devices hold.

    A batch is cut into one block of rows for each group of devices that shares examples (data x fsdp). The blocks of a
    process follow each other in the plan, wherever on the mesh its devices are; processes that a tensor axis spans read
    the same ones.
    """

    host: int  # of the `hosts` that share out the rows
    hosts: int
    blocks: tuple[int, ...]  # by group: the block of the plan that its devices hold

    def blocks_here(self) -> range:
        """The plan's blocks that this process reads."""
        each = len(self.blocks) // self.hosts
        return range(self.host * each, (self.host + 1) * each)

    def in_order(self, rows: np.ndarray) -> np.ndarray:
        """The rows of a global array, as they stand in the plan."""
        if self.blocks == tuple(range(len(self.blocks))):
            return rows
        blocks = np.split(rows, len(self.blocks))
        return np.concatenate([blocks[group] for group in np.argsort(self.blocks)])


def process_shard(mesh: Mesh, process: int) -> HostShard:
    """Where a process sits at this mesh. Errors are those of `seat_among`."""
    holders = np.array([device.process_index for device in mesh.devices.flat])
    return host_shard(holders.reshape(-1, mesh.shape[TENSOR]), process)


def host_shard(holders: Int[np.ndarray, "groups tensor"], process: int) -> HostShard:
    """Where a process sits among those that hold the devices, a row for each group that shares examples.

    Raises:
        ValueError: processes that hold unequal numbers of groups, or share some of them and not others.
    """
    groups = {each: tuple(np.flatnonzero((holders == each).any(1)).tolist()) for each in np.unique(holders).tolist()}
    shares = sorted(set(groups.values()))
    if sum(map(len, shares)) != len(holders) or len({len(share) for share in shares}) > 1 or process not in groups:
        raise ValueError(
            f"{holders.size} devices of {len(groups)} processes in groups of {holders.shape[1]}: their rows of a batch "
            f"overlap in part, or are unequally many, or process {process} holds none; let the mesh's tensor axis divide "
            "the devices of a process, or be a multiple of them"
        )
    each = len(shares[0])
    places = dict(zip(np.concatenate(shares).tolist(), range(len(holders)), strict=True))
    return HostShard(
        shares.index(groups[process]), len(holders) // each, tuple(places[group] for group in range(len(holders)))
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Everything on every device."""
    return NamedSharding(mesh, PartitionSpec())


def data_sharding(mesh: Mesh) -> NamedSharding:
    """The examples, which stand in front, split over ROWS."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def host_local_copy(tree: Any) -> Any:
    """What all processes hold alike, ready to be placed for all: a process's own arrays come to its host for that."""
    return tree if jax.process_count() == 1 else jax.tree.map(_off_own_devices, tree)


def _off_own_devices(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or not leaf.is_fully_addressable:
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_off_own_devices(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    return np.asarray(leaf)
