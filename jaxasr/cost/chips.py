"""Peak figures of accelerator chips, from their makers' data sheets. Nothing here is measured.

The figures are for one chip and dense products (without sparsity). `link_bandwidth` is the sum over all fast links of a chip
in one direction, half of the bidirectional figure of the makers. `flops_float32` is the peak of float32 matrix products at
JAX's default precision: one pass of bfloat16 on a TPU, TF32 on an NVIDIA GPU, float32 on an AMD GPU. Prices are left out,
because they differ by place, contract and day.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One kind of chip."""

    name: str  # short form of the maker's name
    kinds: tuple[str, ...]  # values of jax.Device.device_kind
    flops_bf16: float  # per second, of matrix products
    flops_float32: float
    memory_bytes: int
    memory_bandwidth: float  # bytes per second
    links: Literal["torus 2d", "torus 3d", "switch", "full mesh", "none"]  # structure of the fast links
    link_bandwidth: float  # bytes per second, sent
    linked: int  # maximum number of chips that fast links connect
    network_bandwidth: float  # bytes per second, sent to chips beyond the fast links; 0: the maker gives no figure
    source: str

    def __post_init__(self):
        for name in ("flops_bf16", "flops_float32", "memory_bytes", "memory_bandwidth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Chip.{name} is {getattr(self, name)}; it needs what {self.name} can do at most")

    def mfu(self, flops_per_s: int | float, *, chips: int = 1) -> float:
        """Returns the model FLOPs utilisation: the share of the bfloat16 peak of this number of chips.

        The peak is that of bfloat16 for every type of product, so that runs can be compared.

        Args:
            flops_per_s: of all chips together.
            chips: number of chips.

        Source: Chowdhery et al. 2022, arXiv:2204.02311, section 4.1.
        """
        return flops_per_s / (self.flops_bf16 * chips)


TPU_V4 = Chip(
    name="v4",
    kinds=("TPU v4",),
    flops_bf16=275e12,
    flops_float32=275e12,
    memory_bytes=32 * GIB,
    memory_bandwidth=1_200e9,
    links="torus 3d",
    link_bandwidth=300e9,
    linked=4_096,
    network_bandwidth=0.0,
    source="docs.cloud.google.com/tpu/docs/v4; 6 links of 50 GB/s: Jouppi et al. 2023, arXiv:2304.01433, table 4",
)
TPU_V5E = Chip(
    name="v5e",
    kinds=("TPU v5 lite", "TPU v5e"),
    flops_bf16=197e12,
    flops_float32=197e12,
    memory_bytes=16 * GIB,
    memory_bandwidth=819e9,
    links="torus 2d",
    link_bandwidth=200e9,
    linked=256,
    network_bandwidth=3.125e9,
    source="docs.cloud.google.com/tpu/docs/v5e: 400 GBps bidirectional, 6.4 Tbps of network for a pod of 256",
)
TPU_V5P = Chip(
    name="v5p",
    kinds=("TPU v5", "TPU v5p"),
    flops_bf16=459e12,
    flops_float32=459e12,
    memory_bytes=95 * GIB,
    memory_bandwidth=2_765e9,
    links="torus 3d",
    link_bandwidth=600e9,
    linked=8_960,
    network_bandwidth=6.25e9,
    source="docs.cloud.google.com/tpu/docs/v5p: 1,200 GBps bidirectional, 50 Gbps of network a chip",
)
TPU_V6E = Chip(
    name="v6e",
    kinds=("TPU v6 lite", "TPU v6e"),
    flops_bf16=918e12,
    flops_float32=918e12,
    memory_bytes=32 * GIB,
    memory_bandwidth=1_638e9,
    links="torus 2d",
    link_bandwidth=400e9,
    linked=256,
    network_bandwidth=12.5e9,
    source="docs.cloud.google.com/tpu/docs/v6e: 800 GBps bidirectional, 25.6 Tbps of network for a pod of 256",
)
TPU_7X = Chip(
    name="tpu7x",
    kinds=("TPU7x",),
    flops_bf16=2_307e12,
    flops_float32=2_307e12,
    memory_bytes=192 * GIB,
    memory_bandwidth=7_380e9,
    links="torus 3d",
    link_bandwidth=600e9,
    linked=9_216,
    network_bandwidth=12.5e9,
    source="docs.cloud.google.com/tpu/docs/tpu7x: 1,200 GBps bidirectional, 100 Gbps of network a chip",
)
A100_40GB = Chip(
    name="a100-40gb",
    kinds=("NVIDIA A100-SXM4-40GB",),
    flops_bf16=312e12,
    flops_float32=156e12,
    memory_bytes=40 * 10**9,
    memory_bandwidth=1_555e9,
    links="switch",
    link_bandwidth=300e9,
    linked=8,
    network_bandwidth=25e9,
    source="NVIDIA A100 datasheet, SXM: NVLink 600 GB/s; NVIDIA DGX A100 datasheet: a 200 Gb/s port a GPU",
)
A100 = Chip(
    name="a100",
    kinds=("NVIDIA A100-SXM4-80GB",),
    flops_bf16=312e12,
    flops_float32=156e12,
    memory_bytes=80 * 10**9,
    memory_bandwidth=2_039e9,
    links="switch",
    link_bandwidth=300e9,
    linked=8,
    network_bandwidth=25e9,
    source="NVIDIA A100 datasheet, SXM 80 GB: NVLink 600 GB/s; NVIDIA DGX A100 datasheet: a 200 Gb/s port a GPU",
)
H100 = Chip(
    name="h100",
    kinds=("NVIDIA H100 80GB HBM3",),
    flops_bf16=989.5e12,
    flops_float32=494.5e12,
    memory_bytes=80 * 10**9,
    memory_bandwidth=3_350e9,
    links="switch",
    link_bandwidth=450e9,
    linked=8,
    network_bandwidth=50e9,
    source="NVIDIA H100 datasheet, SXM: 1,979 teraFLOPS with sparsity, NVLink 900 GB/s; DGX H100: a 400 Gb/s port a GPU",
)
H200 = Chip(
    name="h200",
    kinds=("NVIDIA H200",),
    flops_bf16=989.5e12,
    flops_float32=494.5e12,
    memory_bytes=141 * 10**9,
    memory_bandwidth=4_800e9,
    links="switch",
    link_bandwidth=450e9,
    linked=8,
    network_bandwidth=50e9,
    source="NVIDIA H200 datasheet, SXM: 1,979 teraFLOPS with sparsity, NVLink 900 GB/s; DGX H200: a 400 Gb/s port a GPU",
)
B200 = Chip(
    name="b200",
    kinds=("NVIDIA B200",),
    flops_bf16=2_250e12,
    flops_float32=1_125e12,
    memory_bytes=180 * 10**9,
    memory_bandwidth=8_000e9,
    links="switch",
    link_bandwidth=900e9,
    linked=8,
    network_bandwidth=50e9,
    source="NVIDIA DGX B200 datasheet, of 8: 1,440 GB, 64 TB/s, 36 petaFLOPS of FP16 with sparsity, NVLink 14.4 TB/s",
)
GB200 = Chip(
    name="gb200",
    kinds=("NVIDIA GB200",),
    flops_bf16=2_500e12,
    flops_float32=1_250e12,
    memory_bytes=186 * 10**9,
    memory_bandwidth=8_000e9,
    links="switch",
    link_bandwidth=900e9,
    linked=72,
    network_bandwidth=50e9,
    source="NVIDIA GB200 NVL72 datasheet, of 72: 13.4 TB, 576 TB/s, 360 petaFLOPS of FP16 with sparsity, NVLink 130 TB/s",
)
MI300X = Chip(
    name="mi300x",
    kinds=("AMD Instinct MI300X",),
    flops_bf16=1_307.4e12,
    flops_float32=163.4e12,
    memory_bytes=192 * 10**9,
    memory_bandwidth=5_300e9,
    links="full mesh",
    link_bandwidth=448e9,
    linked=8,
    network_bandwidth=50e9,
    source="AMD Instinct MI300X data sheet: 7 Infinity Fabric links of 64 GB/s each way; 400 Gb/s of network a GPU",
)

CHIPS = {
    chip.name: chip
    for chip in (
        *(TPU_V4, TPU_V5E, TPU_V5P, TPU_V6E, TPU_7X),
        *(A100_40GB, A100, H100, H200, B200, GB200, MI300X),
    )
}


def chip_of(device_kind: str) -> Chip | None:
    """Returns the chip of a device kind, or None if CHIPS has none: processors, parts of a GPU, other models.

    Args:
        device_kind: the complete `jax.Device.device_kind`, because other forms of a GPU (PCIe, NVL) have other peaks.
    """
    return next((chip for chip in CHIPS.values() if device_kind in chip.kinds), None)


def chips_among(devices: Iterable[Any]) -> int:
    """Returns the number of chips of the devices. Some TPUs have two devices on a chip, one for each core."""
    return len({_place(device) for device in devices})


def _place(device: Any) -> tuple[Any, ...]:
    coordinates = getattr(device, "coords", None)
    if coordinates is None:
        return ("", device.id)
    return (getattr(device, "slice_index", 0), *coordinates)
