"""Real processes that join one job on this machine."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A process that came to its end."""

    status: int  # negative: the signal that killed it
    out: str  # without what Gloo says of itself
    err: str


@contextlib.contextmanager
def several(code: str, count: int = 2, **variables: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts `code` in so many processes that JAXASR's variables make one job; none outlives the context."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "PYTHONUNBUFFERED": "1"}
    environment |= {"JAXASR_COORDINATOR": f"127.0.0.1:{free_port()}", "JAXASR_PROCESSES": str(count), **variables}
    started: list[subprocess.Popen[str]] = []
    try:
        for number in range(count):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", textwrap.dedent(code)],
                    env=environment | {"JAXASR_PROCESS": str(number)},
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=PROCESS_S)


def ended(processes: list[subprocess.Popen[str]], timeout_s: float = PROCESS_S) -> list[Ended]:
    """What came of them; an error if one is still there after that time."""
    results = []
    for process in processes:
        out, err = process.communicate(timeout=timeout_s)
        own = "".join(line for line in out.splitlines(keepends=True) if not line.startswith("[Gloo]"))
        results.append(Ended(process.returncode, own, err))
    return results


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
