"""The processes and devices of this run: which one am I, and what do we run on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jax

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Hardware:
    """What a run ran on, for its row of results."""

    platform: str  # cpu, gpu, tpu
    kind: str  # as the maker calls it
    devices: int  # of all processes
    processes: int
    cores: int  # of the host, that this process may use

    def __str__(self) -> str:
        hosts = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.devices} x {self.kind} ({self.platform}){hosts}, {self.cores} host cores"


def is_first() -> bool:
    """Whether this process writes what is written once a run: checkpoints' metadata, metrics, results."""
    return jax.process_index() == 0


def hardware() -> Hardware:
    """The devices that JAX sees, described. Starts the backend if nothing did."""
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    name = devices[0].platform
    return Hardware(
        platform=name,
        kind=cpu_info("model name") if name == "cpu" else " + ".join(kinds),
        devices=len(devices),
        processes=jax.process_count(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def cpu_info(entry: str) -> str:
    """An entry of the first core in Linux's list ("model name", "flags"); elsewhere the machine's architecture."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == entry), platform.machine())
