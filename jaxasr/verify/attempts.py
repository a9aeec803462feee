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
from jaxasr.verify.worker import Trace, WorkerArgs, read_trace

POLL_S = 0.2
TAIL_LINES = 15  # of what a process said that failed

StepsFn = Callable[[int], None]  # is told how many steps were made


@dataclass(frozen=True)
class Attempt:
    """Some processes that train together."""

    name: str  # of its files
    processes: int
    first_step: int  # the step that it has to begin with
    kill_after_step: int = -1  # a step: all are killed when they have made it; -1: it goes to the end
    saved_steps: int = 0  # steps done, of the checkpoint that must be whole before they are killed

    def traces(self, folder: Path) -> list[Path]:
        """Of each process, what it was given."""
        return [folder / f"{self.name}.{process}.jsonl" for process in range(self.processes)]


def run_attempt(attempt: Attempt, worker_args: WorkerArgs, folder: Path, *, limit_s: float, on_steps: StepsFn) -> Trace:
    """What a life has seen, step by step.

    Args:
        given: what all its processes are told, but for their own files and where to wait.
        folder: takes their files.
        limit_s: that it may take.

    Raises:
        RuntimeError: a process failed, or all came to their end before they could be killed; what they said is told.
        TimeoutError: it took longer; nothing of it runs any more.
    """
    traces = attempt.traces(folder)
    commands = [
        [sys.executable, "-m", WorkerArgs.__module__, worker_args.with_files(trace, attempt.kill_after_step).to_json()] for trace in traces
    ]
    with _start_processes(commands, [trace.with_suffix(".log") for trace in traces]) as processes:
        _wait(attempt, processes, traces, Path(worker_args.workdir) / "checkpoints", limit_s=limit_s, on_steps=on_steps)
    return read_trace(traces)


def _wait(
    attempt: Attempt,
    processes: Sequence[subprocess.Popen[bytes]],
    traces: Sequence[Path],
    checkpoints: Path,
    *,
    limit_s: float,
    on_steps: StepsFn,
) -> None:
    """Returns when all may be killed, or have ended well."""
    began, made = time.monotonic(), 0
    while True:
        statuses = [process.poll() for process in processes]
        steps = [_last_step(trace) for trace in traces]
        now = max(steps) + 1 - attempt.first_step if max(steps) >= 0 else 0
        on_steps(now - made)
        made = now
        if any(statuses):
            raise RuntimeError(f"{_failure(attempt, statuses)}\n{_last_lines(traces)}")
        if attempt.kill_after_step < 0 and None not in statuses:
            return
        if 0 in statuses and attempt.kill_after_step >= 0:
            raise RuntimeError(f"life {attempt.name} came to its end before it could be killed\n{_last_lines(traces)}")
        if set(steps) == {attempt.kill_after_step} and (checkpoints / str(attempt.saved_steps)).is_dir():
            return
        if time.monotonic() - began > limit_s:
            kept = sorted(path.name for path in checkpoints.glob("*")) if checkpoints.is_dir() else []
            raise TimeoutError(
                f"life {attempt.name} took more than {limit_s:g} s: its processes are at the steps {steps}, there are the "
                f"checkpoints {', '.join(kept) or 'none'} and {attempt.saved_steps} is needed; give it more with --limit-s\n"
                f"{_last_lines(traces)}"
            )
        time.sleep(POLL_S)


@contextmanager
def _start_processes(commands: Sequence[Sequence[str]], logs: Sequence[Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of one job; those that still run when it is left are killed."""
    processes: list[subprocess.Popen[bytes]] = []
    coordinator = f"127.0.0.1:{free_port()}"
    try:
        for number, (command, log) in enumerate(zip(commands, logs, strict=True)):
            environment = _process_environment(os.environ, coordinator, number, len(commands))
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


def _process_environment(here: Mapping[str, str], coordinator: str, number: int, count: int) -> dict[str, str]:
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


def _failure(attempt: Attempt, statuses: Sequence[int | None]) -> str:
    failed = [f"process {number} with status {status}" for number, status in enumerate(statuses) if status]
    return f"life {attempt.name}, of {attempt.processes} processes: {', '.join(failed)} ended before its time"


def _last_lines(traces: Sequence[Path]) -> str:
    """The last lines of each process."""
    told = []
    for number, trace in enumerate(traces):
        log = trace.with_suffix(".log")
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.is_file() else []
        told.append("\n".join([f"the end of what process {number} said:", *lines]))
    return "\n".join(told)
