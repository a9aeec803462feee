"""The program of local.sh: starts the processes of a job on this machine, labels their output, and ends all of them.

No process of the job outlives this one, not even when it ends by SIGKILL:

* The processes form a group of their own, led by a guard that waits for the end of this process and then kills the
  group. A signal for the caller's group reaches this process alone, which passes it on once.
* On Linux the kernel kills each process when this one ends (PR_SET_PDEATHSIG), with or without the guard.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL, PIPE
from typing import IO

PASSED_ON: dict[int, int] = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,
    signal.SIGQUIT: signal.SIGQUIT,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGUSR2: signal.SIGUSR2,
}
LINGER_S = 5.0  # for what a process has left behind, such as the resource tracker of multiprocessing
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # found before a fork, called after it
LABEL_ENDED = 0  # among the numbers of signals in the pipe of events


class Job:
    """The running processes of a job, and the status that the job ends with."""

    def __init__(self, grace_s: float):
        """Starts the guard and blocks all signals; `unblock` lets them come.

        Args:
          grace_s: time that the others have to end when one has failed, before they are killed.
        """
        self.status = 0
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self._grace_s = grace_s
        self._kill_at: float | None = None  # of time.monotonic; endless when it is done
        lock = threading.Lock()
        self._locks = {1: lock, 2: lock if os.path.sameopenfile(1, 2) else threading.Lock()}
        self._ending = threading.Event()
        self._labels: list[threading.Thread] = []
        self._open_labels = 0
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) - {signal.SIGINT}  # of local.sh
        self._events, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        self._caught = [signum for signum in (*PASSED_ON, signal.SIGTSTP) if signal.getsignal(signum) != signal.SIG_IGN]
        for signum in (*self._caught, signal.SIGCHLD):
            signal.signal(signum, _note)
        self._guard, self._guard_waits = _start_guard()
        read, self._messages = os.pipe()  # a message never waits for the reader of stderr
        self._add_label(os.fdopen(read, "rb"), b"", 2)

    def start(self, number: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts process `number` with an environment, in the guard's group and with stdin empty."""
        parent = os.getpid()

        def prepare() -> None:
            os.setpgid(0, self._guard)
            if _PRCTL is not None:
                _PRCTL(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
            if os.getppid() != parent:  # it ended before it could be watched
                os.kill(os.getpid(), signal.SIGKILL)
            for signum in (*self._caught, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_IGN)  # forgets what came for the caller's group: it is passed on
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

        try:
            process = subprocess.Popen(
                command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, preexec_fn=prepare
            )
        except OSError as error:
            self._say(f"local.sh: {command[0]}: {error.strerror}")
            self._fail(number, {FileNotFoundError: 127, PermissionError: 126}.get(type(error), 1))
            return
        self.running[number] = process
        for target, source in ((1, process.stdout), (2, process.stderr)):
            assert source is not None
            self._add_label(source, b"[%d] " % number, target)

    def unblock(self) -> None:
        """Starts the threads that label the output, which never run a handler, then lets signals come."""
        self._open_labels = len(self._labels)
        for label in self._labels:
            label.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def wait(self) -> int:
        """Waits until all processes have ended and their output is written; returns the job's status."""
        while self.running:
            for number in self._next_events(self._kill_at):
                if number in PASSED_ON:
                    self._ending.set()
                    self._signal_all(PASSED_ON[number])
                elif number == signal.SIGTSTP:
                    self._stop()
            for number, process in list(self.running.items()):
                if (code := process.poll()) is not None:
                    del self.running[number]
                    if code:
                        self._fail(number, code if code > 0 else 128 - code)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_all(signal.SIGKILL)
                self._kill_at = float("inf")
        os.close(self._messages)
        self._drain()
        _end_group(self._guard)
        return self.status

    def _add_label(self, source: IO[bytes], prefix: bytes, target: int) -> None:
        self._labels.append(threading.Thread(target=self._label, args=(source, prefix, target), daemon=True))

    def _label(self, source: IO[bytes], prefix: bytes, target: int) -> None:
        """Copies lines with a prefix. If nobody reads them any more, their writer gets SIGPIPE, unless the job is ending:
        Ctrl-C ends `tee` as well, and a process that prints must still come to its checkpoint."""
        with source:
            for line in source:
                try:
                    with self._locks[target]:
                        _write(target, prefix + line.rstrip(b"\n") + b"\n")
                except BrokenPipeError:
                    if not self._ending.wait(timeout=1.0):
                        break
                except OSError:  # the terminal is gone, or the disk full: the line is lost
                    continue
        os.write(self._wakeup, bytes([LABEL_ENDED]))

    def _next_events(self, limit: float | None) -> bytes:
        """Waits until `limit`, or without one; returns numbers of signals, and LABEL_ENDED for each label that ended."""
        wait_s = None if limit in (None, float("inf")) else max(0.0, limit - time.monotonic())
        ready, _, _ = select.select([self._events], [], [], wait_s)
        events = os.read(self._events, 4096) if ready else b""
        self._open_labels -= events.count(LABEL_ENDED)
        return events

    def _signal_all(self, signum: int) -> None:
        for process in self.running.values():
            process.send_signal(signum)

    def _stop(self) -> None:
        """Stops all processes and this one, as Ctrl-Z asks; goes on when SIGCONT comes."""
        self._signal_all(signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)
        self._signal_all(signal.SIGCONT)

    def _fail(self, number: int, status: int) -> None:
        """Notes that a process failed and asks the others to end; who waits in a collective can't hear, and is killed."""
        self._say(f"process {number} ended with status {status}")
        self.status = self.status or status
        self._ending.set()
        self._signal_all(signal.SIGTERM)
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace_s

    def _say(self, message: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._messages, os.fsencode(f"{message}\n"))

    def _drain(self) -> None:
        """Waits until all output is written. What still holds it open is killed after LINGER_S; a signal ends the wait."""
        limit = time.monotonic() + LINGER_S
        while self._open_labels:
            for number in self._next_events(limit):
                if number in PASSED_ON:
                    self.status = self.status or 128 + number
                    return
            if time.monotonic() >= limit:
                _kill_group(self._guard)
                limit = float("inf")  # only a slow reader is left


def _note(signum: int, frame: object) -> None:
    """Does nothing: the number of the signal is in the pipe of events."""


def _start_guard() -> tuple[int, int]:
    """Starts the guard; returns its process and the end of a pipe: when that is closed, the guard kills its group."""
    read, write = os.pipe()
    guard = os.fork()
    if guard == 0:
        try:
            os.close(write)
            os.setpgid(0, 0)
            os.read(read, 1)
            os.killpg(0, signal.SIGKILL)
        finally:
            os._exit(1)
    os.close(read)
    os.setpgid(guard, guard)
    return guard, write


def _end_group(guard: int) -> None:
    """Kills what is left of the guard's group and waits, for a second at most, until it is gone."""
    _kill_group(guard)
    os.waitpid(guard, 0)
    limit = time.monotonic() + 1.0
    with contextlib.suppress(OSError):  # it is gone
        while time.monotonic() < limit:
            os.killpg(guard, 0)
            time.sleep(0.01)


def _kill_group(guard: int) -> None:
    with contextlib.suppress(OSError):  # macOS, of a group of which only the dead are left
        os.killpg(guard, signal.SIGKILL)


def _write(target: int, text: bytes) -> None:
    while text:
        try:
            text = text[os.write(target, text) :]
        except BlockingIOError:  # somebody who shares the terminal has made it so
            select.select([], [target], [])


def _open_standard_files() -> None:
    """Opens /dev/null in the place of each of stdin, stdout and stderr that the caller has closed."""
    for file in range(3):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _grace_s() -> float:
    """Returns JAXASR_GRACE_S, 30 if unset; raises ValueError if it is no number of seconds."""
    given = os.environ.get("JAXASR_GRACE_S") or "30"
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", given):
        raise ValueError(f"JAXASR_GRACE_S={given} is no number of seconds")
    return float(given)


def _environments(processes: int, devices: int) -> list[dict[str, str]]:
    """Returns the environment of each process; raises ValueError if CUDA_VISIBLE_DEVICES has too few GPUs for them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = given.split(",") if given else [str(gpu) for gpu in range(processes * devices)]
    on_gpus = given not in ("", "-1") and os.environ.get("JAX_PLATFORMS") != "cpu"
    if on_gpus and len(gpus) < processes * devices:
        raise ValueError(f"CUDA_VISIBLE_DEVICES={given} has not the {processes} x {devices} GPUs asked for")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{os.environ.get('JAXASR_PORT') or probe.getsockname()[1]}"
    common = {
        "JAXASR_COORDINATOR": address,
        "JAXASR_JOB": f"local-{os.getpid()}",
        "JAXASR_PROCESSES": str(processes),
        "XLA_FLAGS": flags,
    }
    environments = []
    for number in range(processes):
        visible = ",".join(gpus[number * devices : (number + 1) * devices])
        own = {"JAXASR_PROCESS": str(number), "CUDA_VISIBLE_DEVICES": visible}
        environments.append({**os.environ, **common, **own})
    return environments


def main(arguments: Sequence[str]) -> int:
    """Runs a job; returns the status of the first process that failed, 2 where the arguments make no job."""
    _open_standard_files()
    counts = [int(text) for text in arguments[:2] if re.fullmatch("[1-9][0-9]*", text)]
    if len(arguments) < 3 or len(counts) < 2:
        usage = "usage: bash launch/local.sh N M COMMAND...: N processes with M devices each; it was given:"
        print(usage, *arguments, file=sys.stderr)
        return 2
    try:
        grace_s, environments = _grace_s(), _environments(*counts)
    except ValueError as error:
        print(f"local.sh: {error}", file=sys.stderr)
        return 2
    job = Job(grace_s)
    for number, environment in enumerate(environments):
        job.start(number, arguments[2:], environment)
        if job.status:
            break
    job.unblock()
    return job.wait()


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # at once: a thread may still wait for a reader of its output
