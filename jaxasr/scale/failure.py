"""The first failure of a job, known to all its processes: they end with its cause and its exit status.

JAX's coordination service aborts the other processes of a job in which one has failed. Its message names that process and not
the cause, and comes after the messages of the others. So the process that fails first publishes its error in the service
before it ends, and the others read it there. A process that is killed publishes nothing.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, NoReturn

POLL_S = 1.0
GRACE_S = 3.0  # for a process to end by an error of its own, from its look at another's failure
LINGER_S = 10.0  # for the others to read the failure of process 0, which ends the service
SETTLE_S = 1.0  # for a process that has said that it ends to be gone: without the service, the runtime would abort it

_FOLDER = "jaxasr/failure/"
_FIRST = f"{_FOLDER}first"
_ENDED = "jaxasr/ended/"
_CALL_S = 5.0  # for a call of the service, which may be gone
_MESSAGE_CHARACTERS = 4_000


@dataclass(frozen=True)
class Failure:
    """The error that ended a process of a job."""

    process: int
    host: str
    message: str
    status: int  # the exit status

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} failed first: {self.message}"


class FailureWatch:
    """A context manager that ends this process when another process of the job has published a failure.

    Args:
        client: JAX's client of the coordination service.
        number: of this process.
        count: of the processes of the job.
    """

    def __init__(self, client: Any, number: int, count: int):
        self._client = client
        self._number = number
        self._count = count
        self._message = ""  # of this process's own failure
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="failures", daemon=True)

    def __enter__(self) -> "FailureWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(_CALL_S)

    def first(self, message: str, status: int) -> Failure:
        """Publishes the failure of this process, unless another process has published one. Returns the one published.

        Args:
            message: the cause.
            status: the exit status of this process.
        """
        self._message = message[:_MESSAGE_CHARACTERS]
        own = Failure(self._number, socket.gethostname(), self._message, status)
        with contextlib.suppress(RuntimeError):  # another process was first, or the service is gone
            self._within_limit(lambda: self._client.key_value_set(_FIRST, json.dumps(asdict(own))))
        return self._within_limit(self._published) or own

    def end(self, failure: Failure) -> NoReturn:
        """Ends this process with the status of the first failure, and prints the cause if it is not this process's own.

        Process 0 waits until the others had time to read it.
        """
        if failure.process != self._number and failure.message != self._message:
            print(f"jaxasr: {failure}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        if self._number:
            self._within_limit(lambda: self._client.key_value_set(f"{_ENDED}{self._number}", ""))
        else:
            self._wait_for_the_others()
        os._exit(failure.status)  # threads of the runtime may wait for the other processes

    def _wait_for_the_others(self) -> None:
        end = time.monotonic() + LINGER_S
        while time.monotonic() < end:
            ended = self._within_limit(lambda: self._client.key_value_dir_get(_ENDED))
            if ended is None:
                return
            if len(ended) >= self._count - 1:
                time.sleep(SETTLE_S)
                return
            time.sleep(POLL_S / 10)

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_S):
            failure = self._published()
            if failure is not None and failure.process != self._number and not self._stopped.wait(GRACE_S):
                self.end(failure)

    def _published(self) -> Failure | None:
        try:
            found = self._client.key_value_dir_get(_FOLDER)
        except RuntimeError:  # the service is gone
            return None
        return Failure(**json.loads(found[0][1])) if found else None

    def _within_limit(self, call: Callable[[], Any]) -> Any:
        """Returns what a call of the service returns, or None if it fails or does not return in time."""
        results: list[Any] = []

        def run() -> None:
            with contextlib.suppress(RuntimeError):
                results.append(call())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_CALL_S)
        return results[0] if results else None
