"""How benchmarks measure: in a process of their own, bound to so many cores, by the clock and by the processor."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Given = Mapping[str, Any]  # what JSON can carry


@dataclass(frozen=True)
class Spent:
    """What a call took."""

    wall_s: float
    cpu_s: float  # of all threads of the process: what other work on the machine hardly changes


def spent(call: Callable[[], object]) -> Spent:
    """Calls once, and says what that took."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def apart(function: str, given: Given, *, bound: Sequence[int]) -> Any:
    """What the function returns in a process of its own, bound to these cores: XLA fixes its threads at the start.

    Args:
        function: MODULE:NAME.
        given: its arguments, which travel as JSON, as what comes back does.

    Raises:
        RuntimeError: the process failed; what it said is on stderr.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(len(bound))}
    command = [sys.executable, "-c", _PROGRAM, function, json.dumps(list(bound)), json.dumps(given)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise RuntimeError(f"the process that measures ({function}) ended with status {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


_PROGRAM = """
import importlib, json, os, sys
function, bound, given = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
if bound and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, bound)
module, _, name = function.partition(":")
print(json.dumps(getattr(importlib.import_module(module), name)(**given)))
"""  # bound before anything else is imported
