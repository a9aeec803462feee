"""The limits of one device for a forecast: peak figures of its chip, the links of its slice, the memory that JAX may take."""

import os

from jaxasr.cost.chips import Chip
from jaxasr.cost.roofline import Limits
from jaxasr.cost.topology import Topology

MEM_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # JAX's environment variable: the share of a GPU's memory that it takes
_GPU_MEMORY_SHARE = 0.75  # JAX's default
_TPU_MEMORY_SHARE = 15.75 / 16  # JAX's `bytes_limit` of a v5e; the other TPUs are taken to keep as much for themselves


def limits_of(chip: Chip, topology: Topology, dtype: str) -> Limits:
    """Returns the limits of one device of these chips, with products of this type.

    Raises:
        ValueError: XLA_PYTHON_CLIENT_MEM_FRACTION is no share.
    """
    devices = topology.devices_per_chip
    flops = chip.flops_bf16 if dtype in ("bfloat16", "float16") else chip.flops_float32
    return Limits(
        flops=flops / devices,
        memory_bytes=int(chip.memory_bytes * memory_share(topology)) // devices,
        memory_bandwidth=chip.memory_bandwidth / devices,
        link_bandwidth=chip.link_bandwidth * topology.link_share / devices,
        network_bandwidth=chip.network_bandwidth / devices,
        node_devices=(chip.linked if topology.platform == "tpu" else topology.node_chips) * devices,
    )


def memory_share(topology: Topology) -> float:
    """Returns the share of a chip's memory that JAX may take: on a GPU that of XLA_PYTHON_CLIENT_MEM_FRACTION, or 0.75.

    Raises:
        ValueError: the variable is no share.
    """
    if topology.platform == "tpu":
        return _TPU_MEMORY_SHARE
    text = os.environ.get(MEM_FRACTION, "")
    try:
        share = float(text or _GPU_MEMORY_SHARE)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise ValueError(f"{MEM_FRACTION}={text}; a share of the memory is needed, above 0 and at most 1")
    return share
