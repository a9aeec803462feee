"""Lives of a run: so many processes on this machine, killed together behind a step, or left to come to the end."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jaxasr.scale.launch_env import COORDINATOR, DISTRIBUTED, PROCESS, PROCESSES
from jaxasr.verify.worker import Given, Trace, read_trace

POLL_S = 0.2
TAIL_LINES = 15  # of what a process said that failed

Moved = Callable[[int], None]  # is told how many steps were made


@dataclass(frozen=True)
class Life:
    """Some processes that train together."""

    name: str  # of its files
    processes: int
    first: int  # the step that it has to begin with
    killed_behind: int = -1  # a step: all are killed when they have made it; -1: it goes to the end
    saved: int = 0  # steps done, of the checkpoint that must be whole before they are killed

    def traces(self, folder: Path) -> list[Path]:
        """Of each process, what it was given."""
        return [folder / f"{self.name}.{process}.jsonl" for process in range(self.processes)]


def live(life: Life, given: Given, folder: Path, *, limit_s: float, moved: Moved) -> Trace:
    """What a life has seen, step by step.

    Args:
        given: what all its processes are told, but for their own files and where to wait.
        folder: takes their files.
        limit_s: that it may take.

    Raises:
        RuntimeError: a process failed, or all came to their end before they could be killed; what they said is told.
        TimeoutError: it took longer; nothing of it runs any more.
    """
    traces = life.traces(folder)
    commands = [
        [sys.executable, "-m", Given.__module__, given.with_files(trace, life.killed_behind).text()] for trace in traces
    ]
    with _started(commands, [trace.with_suffix(".log") for trace in traces]) as processes:
        _wait(life, processes, traces, Path(given.workdir) / "checkpoints", limit_s=limit_s, moved=moved)
    return read_trace(traces)


def _wait(
    life: Life,
    processes: Sequence[subprocess.Popen[bytes]],
    traces: Sequence[Path],
    checkpoints: Path,
    *,
    limit_s: float,
    moved: Moved,
) -> None:
    """Returns when all may be killed, or have ended well."""
    began, made = time.monotonic(), 0
    while True:
        statuses = [process.poll() for process in processes]
        steps = [_last_step(trace) for trace in traces]
        now = max(steps) + 1 - life.first if max(steps) >= 0 else 0
        moved(now - made)
        made = now
        if any(statuses):
            raise RuntimeError(f"{_who(life, statuses)}\n{_said(traces)}")
        if life.killed_behind < 0 and None not in statuses:
            return
        if 0 in statuses and life.killed_behind >= 0:
            raise RuntimeError(f"life {life.name} came to its end before it could be killed\n{_said(traces)}")
        if set(steps) == {life.killed_behind} and (checkpoints / str(life.saved)).is_dir():
            return
        if time.monotonic() - began > limit_s:
            kept = sorted(path.name for path in checkpoints.glob("*")) if checkpoints.is_dir() else []
            raise TimeoutError(
                f"life {life.name} took more than {limit_s:g} s: its processes are at the steps {steps}, there are the "
                f"checkpoints {', '.join(kept) or 'none'} and {life.saved} is needed; give it more with --limit-s\n"
                f"{_said(traces)}"
            )
        time.sleep(POLL_S)


@contextmanager
def _started(commands: Sequence[Sequence[str]], logs: Sequence[Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of one job; those that still run when it is left are killed."""
    processes: list[subprocess.Popen[bytes]] = []
    coordinator = f"127.0.0.1:{free_port()}"
    try:
        for number, (command, log) in enumerate(zip(commands, logs, strict=True)):
            environment = _environment(os.environ, coordinator, number, len(commands))
            with log.open("wb") as file:
                started = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
                )
            processes.append(started)
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _environment(here: Mapping[str, str], coordinator: str, number: int, count: int) -> dict[str, str]:
    """This one's, without what it says of other processes."""
    ours = {name: value for name, value in here.items() if name not in (COORDINATOR, PROCESSES, PROCESS, DISTRIBUTED)}
    ours["JAX_PLATFORMS"] = "cpu"
    if count > 1:
        ours |= {COORDINATOR: coordinator, PROCESSES: str(count), PROCESS: str(number)}
    return ours


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _last_step(trace: Path) -> int:
    """The last one that is written down; -1 if none is. A line that is still being written does not count."""
    seen = read_trace([trace]) if trace.is_file() else {}
    return max(seen, default=-1)


def _who(life: Life, statuses: Sequence[int | None]) -> str:
    failed = [f"process {number} with status {status}" for number, status in enumerate(statuses) if status]
    return f"life {life.name}, of {life.processes} processes: {', '.join(failed)} ended before its time"


def _said(traces: Sequence[Path]) -> str:
    """The last lines of each process."""
    told = []
    for number, trace in enumerate(traces):
        log = trace.with_suffix(".log")
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.is_file() else []
        told.append("\n".join([f"the end of what process {number} said:", *lines]))
    return "\n".join(told)
