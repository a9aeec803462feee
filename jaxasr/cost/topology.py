"""Topologies of accelerators for ahead-of-time compilation. The machines need not be present; XLA describes their devices.

v5e:16x16 is a slice of a TPU pod, whose chips form one torus. The package libtpu describes v4, v5e, v5p, v6e and tpu7x.
h100x8:8 is eight nodes of eight GPUs. JAX's CUDA plugin describes it without a GPU and without NVIDIA's libraries.
cpu:8 is eight virtual devices of this machine's processor.
"""

import importlib.util
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
from jax.experimental import topologies

TPUS = {"v4": 2, "v5e": 1, "v5p": 1, "v6e": 1, "tpu7x": 2}  # devices a chip
RINGS = {2: 16, 3: 4}  # by dimensions of the torus: chips along an axis from which links join its ends
GPUS = {"h100": "jax_plugins.xla_cuda13"}
_NEEDS = {
    "tpu": ("libtpu", "libtpu, of jax[tpu]"),
    "cuda": ("jax_plugins.xla_cuda13", "jax-cuda13-plugin and jax-cuda13-pjrt"),
}

# XLA's description of an H100 SXM. The figures are from NVIDIA's data sheet and its device query (compute capability 9.0).
_H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 threads_per_warp: 32
  device_memory_size: 84942979072 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


@dataclass(frozen=True)
class Topology:
    """A number of chips of one kind, and the structure of their links."""

    platform: Literal["tpu", "cuda", "cpu"]
    chip: str  # v5e, h100, cpu
    dims: tuple[int, ...]  # for TPUs the sides of the torus, otherwise (nodes, chips of a node)

    def __str__(self) -> str:
        if self.platform == "tpu":
            return f"{self.chip}:{'x'.join(map(str, self.dims))}"
        return f"{self.chip}x{self.dims[1]}:{self.dims[0]}" if self.platform == "cuda" else f"cpu:{self.dims[1]}"

    @property
    def chips(self) -> int:
        """The number of chips."""
        return math.prod(self.dims)

    @property
    def devices_per_chip(self) -> int:
        """The number of JAX devices on a chip: two cores on some TPUs."""
        return TPUS.get(self.chip, 1)

    @property
    def node_chips(self) -> int:
        """The number of chips that fast links connect: all chips of a TPU slice, or the chips of a node."""
        return self.chips if self.platform == "tpu" else self.dims[1]

    @property
    def nodes(self) -> tuple[int, ...]:
        """The number of the node of each device. A TPU slice counts as one node."""
        node_devices = self.node_chips * self.devices_per_chip
        return tuple(device // node_devices for device in range(self.chips * self.devices_per_chip))

    @property
    def link_share(self) -> float:
        """The share of the links of a TPU that its slice connects; 1 for chips behind a switch.

        Links join the ends of an axis of 16 chips of a v5e or v6e. Those of a v4, v5p or tpu7x are joined if every axis is a
        multiple of 4. Any other axis is a line, in which a ring has half the bandwidth, and an axis of one chip has no links.

        Source: docs.cloud.google.com/tpu/docs: system architecture of each version, "wraparound".
        """
        if self.platform != "tpu":
            return 1.0
        length = RINGS[len(self.dims)]
        joined = [size >= length for size in self.dims]
        if len(self.dims) == 3:
            joined = [all(size % length == 0 for size in self.dims)] * 3
        shares = [0.0 if size == 1 else 1.0 if ring else 0.5 for size, ring in zip(self.dims, joined, strict=True)]
        return sum(shares) / len(shares) if self.chips > 1 else 1.0

    def with_chips(self, chips: int) -> "Topology":
        """Returns a topology of this kind with another number of chips, a power of two times less or more.

        The longest sides of a torus are halved, the shortest are doubled. Chips behind a switch fill their nodes first.
        """
        if self.platform != "tpu":
            per_node = min(chips, self.dims[1])
            return Topology(self.platform, self.chip, (-(-chips // per_node), per_node))
        sides = sorted(self.dims)
        while math.prod(sides) < chips:
            sides = sorted([sides[0] * 2, *sides[1:]])
        while math.prod(sides) > chips and sides[-1] % 2 == 0:
            sides = sorted([*sides[:-1], sides[-1] // 2])
        return Topology(self.platform, self.chip, tuple(sides))

    def quarter(self) -> "Topology | None":
        """Returns a topology with a quarter of the chips, or None if there is none."""
        if self.platform == "tpu":
            *rest, short, long = sorted(self.dims)
            if short % 2 or long % 2 or short * long < 16:
                return None
            return Topology(self.platform, self.chip, tuple(sorted((*rest, short // 2, long // 2))))
        nodes, chips = self.dims
        if nodes % 4 == 0:
            return Topology(self.platform, self.chip, (nodes // 4, chips))
        return Topology(self.platform, self.chip, (1, chips // 4)) if nodes == 1 and chips % 4 == 0 else None

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that a process needs before it starts JAX to compile for this topology."""
        common = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        if self.platform == "tpu":
            quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}
            return common | quiet | {"TPU_ACCELERATOR_TYPE": "v5litepod-16", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
        if self.platform == "cuda":
            # XLA tunes Triton's matrix products on a GPU. Without a GPU it may find no valid tile sizes.
            return common | {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false"}
        return common | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={self.chips}"}

    def check_known(self) -> None:
        """Raises ValueError if the package that describes these chips is not installed."""
        module, package = _NEEDS.get(self.platform, ("", ""))
        if module and not _installed(module):
            raise ValueError(
                f"to compile for {self} needs {package} (no chip is needed); install it in this environment, and set "
                "JAX_PLATFORMS=cpu there for other work"
            )

    def devices(self) -> list[Any]:
        """Returns the devices for `scale.compile_step(..., devices=...)` and its `lower`. Only CPU devices can run programs.

        Raises:
            ValueError: the package that describes them is not installed, or it describes another number of devices.
        """
        self.check_known()
        devices = self._described()
        needed = self.chips * self.devices_per_chip
        if len(devices) < needed or (self.platform != "cpu" and len(devices) > needed):
            raise ValueError(f"{self} is described as {len(devices)} devices, {needed} are expected; {self._hint}")
        return devices[:needed]

    @property
    def _hint(self) -> str:
        if self.platform == "cpu":
            return "start the process with " + self.environment()["XLA_FLAGS"]
        return "another version of the package that describes them may differ; correct jaxasr.cost.topology.TPUS"

    def _described(self) -> list[Any]:
        if self.platform == "cpu":
            return jax.devices("cpu")
        if self.platform == "tpu":
            return list(topologies.get_topology_desc(platform="tpu", topology_name=str(self)).devices)
        nodes, chips = self.dims
        described = topologies.get_topology_desc(
            platform="cuda", topology_name=self.chip, topology=f"1x{nodes}x{chips}", target_config=_H100
        )
        return list(described.devices)


def topology(text: str) -> Topology:
    """Parses "v5e:16x16", "h100x8:8" or "cpu:8".

    Raises:
        ValueError: an unknown kind of chip, or invalid sizes.
    """
    name, _, sizes = text.partition(":")
    numbers = tuple(int(size) for size in sizes.split("x") if size.isdigit())
    whole = re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes) is not None
    gpu = re.fullmatch(r"([a-z]\w*?)x([1-9]\d*)", name)
    if whole and name in TPUS and len(numbers) in (2, 3):
        return Topology("tpu", name, numbers)
    if whole and gpu and gpu[1] in GPUS and len(numbers) == 1:
        return Topology("cuda", gpu[1], (numbers[0], int(gpu[2])))
    if whole and name == "cpu" and len(numbers) == 1:
        return Topology("cpu", name, (1, numbers[0]))
    raise ValueError(
        f"topology {text!r}; it is a TPU slice such as v5e:16x16 or v5p:4x4x4 ({', '.join(TPUS)}), GPUs of a node by nodes "
        f"such as h100x8:8 ({', '.join(GPUS)}), or cpu:8"
    )


def versions(platform: str) -> Mapping[str, str]:
    """Returns the versions of the packages that compile for a platform."""
    from importlib import metadata

    packages = ["jax", "jaxlib", *{"tpu": ["libtpu"], "cuda": ["jax-cuda13-plugin"]}.get(platform, [])]
    return {name: metadata.version(name) for name in packages}


def _installed(module: str) -> bool:
    parent = module.partition(".")[0]
    return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(module) is not None
