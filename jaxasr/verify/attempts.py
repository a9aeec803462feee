"""The attempts of a run: processes on this machine that are killed together after a step, or that train to the end."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jaxasr.scale.child import bound_command
from jaxasr.scale.launch_env import COORDINATOR, DISTRIBUTED, PROCESS, PROCESSES
from jaxasr.verify.worker import Trace, WorkerArgs, read_trace

POLL_S = 0.2
TAIL_LINES = 15  # of the output of a process that failed

StepsFn = Callable[[int], None]  # is called with the number of new steps


@dataclass(frozen=True)
class Attempt:
    """A start of a run: its number of processes, and the steps at which it begins and is killed."""

    name: str  # the prefix of its files
    processes: int
    first_step: int  # the step with which it must begin
    kill_after_step: int = -1  # all processes are killed after this step; -1: it trains to the end
    saved_steps: int = 0  # the step count of the checkpoint that must be complete before the processes are killed

    def traces(self, folder: Path) -> list[Path]:
        """Returns the trace file of each process."""
        return [folder / f"{self.name}.{process}.jsonl" for process in range(self.processes)]


def run_attempt(attempt: Attempt, worker_args: WorkerArgs, folder: Path, *, limit_s: float, on_steps: StepsFn) -> Trace:
    """Runs an attempt and returns the trace of its steps.

    Args:
        worker_args: the arguments that all processes share.
        folder: the folder of traces and logs.
        limit_s: the time that the attempt may take.
        on_steps: is called with the number of new steps.

    Raises:
        RuntimeError: a process failed, or all ended before they could be killed. The message has the end of their output.
        TimeoutError: the attempt took longer than `limit_s`. All of its processes are killed.
    """
    traces = attempt.traces(folder)
    module = WorkerArgs.__module__
    arguments = [worker_args.with_files(trace, attempt.kill_after_step).to_json() for trace in traces]
    commands = [[sys.executable, "-m", module, argument] for argument in arguments]
    checkpoints = Path(worker_args.workdir) / "checkpoints"
    with _start_processes(commands, [trace.with_suffix(".log") for trace in traces]) as processes:
        _wait(attempt, processes, traces, checkpoints, limit_s=limit_s, on_steps=on_steps)
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
    """Returns when all processes can be killed, or have ended without an error."""
    began = time.monotonic()
    reported = 0
    while True:
        statuses = [process.poll() for process in processes]
        steps = [_last_step(trace) for trace in traces]
        now = max(steps) + 1 - attempt.first_step if max(steps) >= 0 else 0
        on_steps(now - reported)
        reported = now
        if any(statuses):
            raise RuntimeError(f"{_failure(attempt, statuses)}\n{_last_lines(traces)}")
        if attempt.kill_after_step < 0 and None not in statuses:
            return
        if 0 in statuses and attempt.kill_after_step >= 0:
            raise RuntimeError(f"{attempt.name} came to its end before it could be killed\n{_last_lines(traces)}")
        if set(steps) == {attempt.kill_after_step} and (checkpoints / str(attempt.saved_steps)).is_dir():
            return
        if time.monotonic() - began > limit_s:
            kept = sorted(path.name for path in checkpoints.glob("*")) if checkpoints.is_dir() else []
            raise TimeoutError(
                f"{attempt.name} took more than {limit_s:g} s: its processes are at the steps {steps}, there are the "
                f"checkpoints {', '.join(kept) or 'none'} and {attempt.saved_steps} is needed; give it more with --limit-s\n"
                f"{_last_lines(traces)}"
            )
        time.sleep(POLL_S)


@contextmanager
def _start_processes(
    commands: Sequence[Sequence[str]], logs: Sequence[Path]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Starts the processes of a job and yields them. Those that still run at the exit are killed."""
    processes: list[subprocess.Popen[bytes]] = []
    coordinator = f"127.0.0.1:{free_port()}"
    try:
        for number, (command, log) in enumerate(zip(commands, logs, strict=True)):
            environment = _process_environment(os.environ, coordinator, number, len(commands))
            with log.open("wb") as file:
                started = subprocess.Popen(
                    bound_command(command),
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            processes.append(started)
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _process_environment(here: Mapping[str, str], coordinator: str, number: int, count: int) -> dict[str, str]:
    """Returns the environment of this process, with the variables of the job in place of its own."""
    ours = {name: value for name, value in here.items() if name not in (COORDINATOR, PROCESSES, PROCESS, DISTRIBUTED)}
    ours["JAX_PLATFORMS"] = "cpu"
    if count > 1:
        ours |= {COORDINATOR: coordinator, PROCESSES: str(count), PROCESS: str(number)}
    return ours


def free_port() -> int:
    """Returns a port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _last_step(trace: Path) -> int:
    """Returns the last step in a trace file, or -1. An incomplete last line is ignored."""
    steps = read_trace([trace]) if trace.is_file() else {}
    return max(steps, default=-1)


def _failure(attempt: Attempt, statuses: Sequence[int | None]) -> str:
    failed = [f"process {number} with status {status}" for number, status in enumerate(statuses) if status]
    return f"{attempt.name}, of {attempt.processes} processes: {', '.join(failed)} ended before its time"


def _last_lines(traces: Sequence[Path]) -> str:
    """Returns the last lines of the log of each process."""
    tails = []
    for number, trace in enumerate(traces):
        log = trace.with_suffix(".log")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:] if log.is_file() else []
        tails.append("\n".join([f"the end of what process {number} said:", *lines]))
    return "\n".join(tails)
