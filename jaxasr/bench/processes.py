"""Timing for benchmarks: wall time and CPU time of a call, and calls in a subprocess that is bound to some cores."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JsonArguments = Mapping[str, Any]  # values that JSON can represent


@dataclass(frozen=True)
class CallTime:
    """The wall time and CPU time of a call."""

    wall_s: float
    cpu_s: float  # of all threads of the process; other work on the machine hardly changes it


def timed(call: Callable[[], object]) -> CallTime:
    """Returns the time of one call."""
    wall = time.perf_counter()
    cpu = time.process_time()
    call()
    return CallTime(time.perf_counter() - wall, time.process_time() - cpu)


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Returns the median of the ratios of the same round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def available_cores() -> list[int]:
    """Returns the numbers of the CPU cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def in_subprocess(function: str, arguments: JsonArguments, *, cores: Sequence[int]) -> Any:
    """Calls a function in a subprocess that is bound to some cores, and returns its result.

    A subprocess is needed because XLA fixes its number of threads when a process starts.

    Args:
        function: MODULE:NAME.
        arguments: its keyword arguments. Arguments and result are sent as JSON.
        cores: the numbers of the cores.

    Raises:
        RuntimeError: the subprocess failed; its output is on stderr.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(len(cores))}
    command = [sys.executable, "-c", _PROGRAM, function, json.dumps(list(cores)), json.dumps(arguments)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
    if ended.returncode:
        raise RuntimeError(f"the process that measures ({function}) ended with status {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


_PROGRAM = """
import importlib, json, os, sys
function = sys.argv[1]
cores = json.loads(sys.argv[2])
arguments = json.loads(sys.argv[3])
if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
module, _, name = function.partition(":")
print(json.dumps(getattr(importlib.import_module(module), name)(**arguments)))
"""  # the process is bound before anything else is imported, because libraries start threads
