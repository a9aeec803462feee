"""The mesh of a run's devices, and the rows of a batch that each process reads for its devices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

DATA = "data"
FSDP = "fsdp"
TENSOR = "tensor"
AXES = (DATA, FSDP, TENSOR)
_SIZE = re.compile(r"[0-9]{1,9}")  # of an axis, as text
ROWS = (DATA, FSDP)  # the axes that the examples of a batch are split over


@dataclass(frozen=True)
class MeshShape:
    """The sizes of the mesh's axes.

    The examples are split over data and fsdp. Every large array of the state is split over fsdp, and none over data. Single
    matrix products are split over tensor where the rules name them. Tensor is the innermost axis, because its devices
    communicate the most.
    """

    data: int = 0  # 0: the number of devices divided by the other two sizes
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self):
        if self.data < 0 or self.fsdp < 1 or self.tensor < 1:
            raise ValueError(
                f"the mesh {self}; it needs data >= 0 (0: what the others leave), fsdp >= 1 and tensor >= 1"
            )

    def __str__(self) -> str:
        return ",".join(f"{axis.name}={getattr(self, axis.name)}" for axis in fields(self))

    @classmethod
    def parse(cls, text: str) -> "MeshShape":
        """Parses a text like "data=4,fsdp=2,tensor=2". An axis that is missing has its default size.

        Raises:
            ValueError: an unknown axis, a size that is no number, or an axis twice.
        """
        sizes: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            name, _, size = part.partition("=")
            if name not in AXES or name in sizes or not _SIZE.fullmatch(size):
                raise ValueError(
                    f"{part[:40]!r} in the mesh {text[:80]!r}; it is like data=4,fsdp=2,tensor=2, each axis once at most"
                )
            sizes[name] = int(size)
        return cls(**sizes)

    def mesh(self, devices: Sequence[jax.Device]) -> Mesh:  # pyright: ignore[reportInvalidTypeForm]
        """Returns a mesh of the devices with the three axes AXES. The devices with the fastest links are innermost.

        Raises:
            ValueError: the number of devices does not fit, or the data axis is no multiple of the TPU slices.
        """
        rest, left = divmod(len(devices), self.fsdp * self.tensor)
        data = self.data or rest
        if left or data != rest:
            raise ValueError(
                f"the mesh {self} and {len(devices)} devices; data x fsdp x tensor must be {len(devices)} (data=0: what the "
                "others leave)"
            )
        types = (AxisType.Auto,) * len(AXES)
        return Mesh(device_mesh(devices, (data, self.fsdp, self.tensor)), AXES, axis_types=types)


def device_mesh(devices: Sequence[Any], sizes: tuple[int, int, int]) -> np.ndarray:
    """Returns the devices as an array of these sizes. Nodes of GPUs and slices of TPUs follow each other on the first axis.

    `jax.make_mesh` raises an error for several nodes or slices, and for axes that are no side of a torus of TPUs.

    Raises:
        ValueError: the first axis is no multiple of the TPU slices, so another axis would use the slow network.
    """
    slices = len({device.slice_index for device in devices}) if hasattr(devices[0], "slice_index") else 1
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
    """The rows of the plan's batches that a process reads, and the position of all rows in the global array.

    A batch consists of one block of rows for each group of devices with the same examples (data x fsdp groups). The blocks
    of a process are adjacent in the plan, wherever its devices are on the mesh. Processes that share a tensor axis read the
    same blocks.
    """

    host: int  # number of the share of rows, below `hosts`
    hosts: int  # number of shares
    blocks: tuple[int, ...]  # for each group: the block of the plan that its devices hold

    def blocks_here(self) -> range:
        """Returns the numbers of the plan's blocks that this process reads."""
        count = len(self.blocks) // self.hosts
        return range(self.host * count, (self.host + 1) * count)

    def in_order(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows of a global array in the order of the plan."""
        if self.blocks == tuple(range(len(self.blocks))):
            return rows
        blocks = np.split(rows, len(self.blocks))
        return np.concatenate([blocks[group] for group in np.argsort(self.blocks)])


def process_shard(mesh: Mesh, process: int) -> HostShard:
    """Returns the shard of a process on this mesh.

    Raises:
        ValueError: as `host_shard`.
    """
    holders = np.array([device.process_index for device in mesh.devices.flat])
    return host_shard(holders.reshape(-1, mesh.shape[TENSOR]), process)


def host_shard(holders: Int[np.ndarray, "groups tensor"], process: int) -> HostShard:
    """Returns the shard of a process from the processes that hold the devices.

    Args:
        holders: the process of each device, with one row for each group of devices with the same examples.
        process: the process of the shard.

    Raises:
        ValueError: processes hold unequal numbers of groups, share only some of them, or `process` holds none.
    """
    groups = {
        holder: tuple(np.flatnonzero((holders == holder).any(1)).tolist()) for holder in np.unique(holders).tolist()
    }
    shares = sorted(set(groups.values()))
    if sum(map(len, shares)) != len(holders) or len({len(share) for share in shares}) > 1 or process not in groups:
        raise ValueError(
            f"{holders.size} devices of {len(groups)} processes in groups of {holders.shape[1]}: their rows of a batch "
            f"overlap in part, or are unequally many, or process {process} holds none; let the mesh's tensor axis divide "
            "the devices of a process, or be a multiple of them"
        )
    blocks = dict(zip(np.concatenate(shares).tolist(), range(len(holders)), strict=True))
    return HostShard(
        host=shares.index(groups[process]),
        hosts=len(holders) // len(shares[0]),
        blocks=tuple(blocks[group] for group in range(len(holders))),
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds completely."""
    return NamedSharding(mesh, PartitionSpec())


def data_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array whose first axis, the examples, is split over ROWS."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def host_local_copy(tree: Any) -> Any:
    """Returns an equal tree of all processes for placement: process-local arrays are copied to the host."""
    return tree if jax.process_count() == 1 else jax.tree.map(_host_copy, tree)


def _host_copy(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or not leaf.is_fully_addressable:
        return leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_host_copy(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    return np.asarray(leaf)
