"""A watchdog that ends a process that hangs, and writes the stacks of its threads to a file.

When one process of a job hangs, the others wait for it in a collective. JAX does not distinguish a slow process from one
that hangs. So every process has its own watchdog, and the first one past its limit ends the job.
"""

import contextlib
import faulthandler
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from jaxasr.scale.hosts import process

STUCK = 75  # the exit status: EX_TEMPFAIL of sysexits.h, "try again"
HOSTS = "hosts"  # the folder of the files

_STEP = re.compile(rb"^last finished step +(\d+) at ", re.MULTILINE)


class Watchdog:
    """A context manager that ends this process with status STUCK when it finishes no step within a limit.

    Each attempt of a process adds to FOLDER/hosts/host-K.txt: the process, and its last finished step, which every beat
    updates. If the attempt ends by a limit, a fatal signal or an error, every thread's stack follows. (JAX's client aborts
    when another process died.)

    >>> with Watchdog(folder, limit_s=600.0, grace_s=3600.0) as watchdog:
    ...     for step in range(steps):
    ...         train_step()
    ...         watchdog.beat(step + 1)
    ...         with watchdog.pause():
    ...             evaluate()

    Args:
        folder: the workdir of the run.
        limit_s: time from one beat to the next.
        grace_s: time from the start to the first beat, which includes compiling, and time within a pause.

    Raises:
        ValueError: a limit is not positive.
    """

    last_beat: ClassVar[int] = 0  # of the newest watchdog of this process, also if its file can't be read any more

    def __init__(self, folder: Path, limit_s: float, grace_s: float):
        if limit_s <= 0 or grace_s <= 0:
            raise ValueError(f"limit_s={limit_s} and grace_s={grace_s}; both must be positive")
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._number, self._count = process()
        self.path = _file(folder, self._number)
        self._step = 0
        self._allowed_s = grace_s
        self._due = 0.0  # on the monotonic clock
        self._stopped = threading.Event()

    def __enter__(self) -> "Watchdog":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._file.seek(0, os.SEEK_END)
        self._write(
            f"process {self._number} of {self._count} on {socket.gethostname()}, pid {os.getpid()}, since {_now()}"
        )
        self._step_position = self._file.tell()
        self._write(self._step_line())
        self._was_enabled = faulthandler.is_enabled()
        faulthandler.enable(self._file)
        Watchdog.last_beat = 0
        self._allow(self._grace_s)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        if self._was_enabled and sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)
        else:
            faulthandler.disable()
        if error is not None:
            self._write(f"left at {_now()} by {type(error).__name__}\n" + "".join(traceback.format_exception(error)))
        self._file.close()

    def beat(self, step: int) -> None:
        """Records that `step` steps are finished, and starts the limit of the next one."""
        self._step = step
        Watchdog.last_beat = step
        self._allow(self._limit_s)
        os.pwrite(self._file.fileno(), self._step_line().encode(), self._step_position)

    @staticmethod
    def last_step(folder: Path, *, beyond: int = 0) -> int:
        """Returns the last finished step in the file of process 0 of the run in `folder`; 0 if there is none.

        Args:
            folder: the workdir of the run.
            beyond: number of bytes at the start of the file to ignore: its `size` after earlier attempts.
        """
        path = _file(folder, 0)
        steps = _STEP.findall(path.read_bytes()[beyond:]) if path.is_file() else []
        return int(steps[-1]) if steps else 0

    @staticmethod
    def size(folder: Path) -> int:
        """Returns the size in bytes of the file of process 0 of the run in `folder`, over all attempts."""
        path = _file(folder, 0)
        return path.stat().st_size if path.is_file() else 0

    @contextlib.contextmanager
    def pause(self, limit_s: float | None = None) -> Iterator[None]:
        """Sets another limit for the time within the context: for an evaluation or a checkpoint.

        Args:
            limit_s: None: `grace_s`.
        """
        self._allow(self._grace_s if limit_s is None else limit_s)
        try:
            yield
        finally:
            self._allow(self._limit_s)

    def _allow(self, seconds: float) -> None:
        self._allowed_s = seconds
        self._due = time.monotonic() + seconds

    def _watch(self) -> None:
        tick_s = min(1.0, self._limit_s / 4, self._grace_s / 4)
        while True:
            if self._count > 1:  # ends the process even if a thread holds the interpreter's lock and this one can't run
                faulthandler.dump_traceback_later(self._allowed_s + tick_s, exit=True, file=self._file)
            before = time.monotonic()
            if self._stopped.wait(tick_s):
                return
            now = time.monotonic()
            if now - before > 2 * tick_s + 1.0:  # the process was suspended as a whole
                self._due += now - before
            if now > self._due:
                self._end()

    def _end(self) -> None:
        after = f"no step for {self._allowed_s:g} s after step {self._step}"
        self._write(f"{after}; every thread's stack at {_now()}:")
        faulthandler.dump_traceback(self._file)
        print(
            f"jaxasr: process {self._number} of {self._count}: {after}. It ends with status {STUCK}; the stacks of its "
            f"threads are in {self.path}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(STUCK)  # the main thread hangs, so an exception could not end it

    def _step_line(self) -> str:
        return f"last finished step {self._step:12d} at {_now()}"

    def _write(self, line: str) -> None:
        self._file.write(f"{line}\n".encode())


def _file(folder: Path, number: int) -> Path:
    return folder / HOSTS / f"host-{number}.txt"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
