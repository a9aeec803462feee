"""Helpers for tests with several processes that join one job on this machine."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.compilation import QUICK_FLAGS
from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ProcessResult:
    """The result of a process that has ended."""

    status: int  # negative: the signal that killed it
    out: str  # without Gloo's log lines
    err: str


@contextlib.contextmanager
def several(code: str, count: int = 2, **variables: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts `code` in several processes of one job, set by JAXASR's variables. The context kills those that remain."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_FLAGS, "PYTHONUNBUFFERED": "1"}
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


def ended(processes: list[subprocess.Popen[str]], timeout_s: float = PROCESS_S) -> list[ProcessResult]:
    """Waits for the processes and returns their results. Raises an error if one runs longer than `timeout_s`."""
    results = []
    for process in processes:
        out, err = process.communicate(timeout=timeout_s)
        own = "".join(line for line in out.splitlines(keepends=True) if not line.startswith("[Gloo]"))
        results.append(ProcessResult(process.returncode, own, err))
    return results


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
