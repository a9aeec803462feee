"""The rendezvous of a job's processes, before JAX starts its coordination service on the same port.

JAX's service and clients abort a process if the port is taken or another process is missing, and do not name it. So process 0
first listens on the port itself and notes the processes that connect. When all have come, it frees the port.
"""

import contextlib
import errno
import json
import os
import selectors
import socket
import time
from typing import Any, cast

from jaxasr.scale.launch_env import COORDINATOR, JOB, PROCESS, PROCESSES, START, LaunchEnv, address

_POLL_S = 0.2
_MARGIN_S = 30.0  # beyond `start_s`, for the answer of process 0
_CONNECT_S = 5.0
_LINE_BYTES = 4_096
_NAMED = 20  # missing processes that a message lists
_GREETING = {"process": int, "processes": int, "host": str, "job": str}
_READY = "ready"


class PortTakenError(ConnectionError):
    """An error for a port that another program or job has. Another start, with another port, may not meet it."""

    exit_status = os.EX_TEMPFAIL


def rendezvous(env: LaunchEnv) -> None:
    """Waits until all processes of the job have come. Process 0 listens on the coordinator's port, the others connect to it.

    Raises:
        PortTakenError: the port is taken, or another job's.
        ConnectionError: process 0 does not answer, or processes did not come within JAXASR_START_S. The message names them,
            in every process that came.
        ValueError: processes disagree about their count, or two have the same number.
    """
    if env.process:
        _report_to_primary(env)
    else:
        with _listen(env) as server:
            _Arrivals(env, server).wait()


class _Arrivals:
    """The connections of the processes that have come, in process 0."""

    def __init__(self, env: LaunchEnv, server: socket.socket):
        self._env = env
        self._server = server
        self._end = time.monotonic() + env.start_s
        self._hosts: dict[int, str] = {}  # of the processes that came, by number
        self._numbers: dict[socket.socket, int | None] = {}  # None: it has not given its number yet

    def wait(self) -> None:
        """Waits for all processes and answers them: that the job is ready, or the error that ends it."""
        answer = _READY
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._server, selectors.EVENT_READ)
                while missing := sorted(set(range(1, self._env.processes or 1)) - set(self._hosts)):
                    if time.monotonic() > self._end:
                        raise ConnectionError(_missing_message(self._env, missing))
                    for key, _ in selector.select(_POLL_S):
                        self._read(selector, cast(socket.socket, key.fileobj))
            self._server.close()  # before the answer, so that the port is free for JAX
        except (ConnectionError, ValueError) as error:
            answer = str(error)
            raise
        finally:
            for connection, number in self._numbers.items():
                with contextlib.suppress(OSError):
                    if number is not None:
                        connection.sendall(json.dumps(answer).encode() + b"\n")
                connection.close()

    def _read(self, selector: selectors.BaseSelector, source: socket.socket) -> None:
        """Accepts a connection, or reads the number of a process. Drops a connection that ends or is not of a process."""
        if source is self._server:
            connection, _ = source.accept()
            connection.setblocking(False)
            self._numbers[connection] = None
            selector.register(connection, selectors.EVENT_READ)
            return
        line = b""
        with contextlib.suppress(OSError):
            line = source.recv(_LINE_BYTES)
        greeting = _parsed(line)
        if _is_greeting(greeting) and self._numbers[source] is None:
            job = greeting.pop("job")
            if job == self._env.job:
                self._numbers[source] = greeting["process"]
                self._admit(**greeting)
                return
            with contextlib.suppress(OSError):  # this job goes on
                source.sendall(json.dumps({"job": self._env.job}).encode() + b"\n")
        selector.unregister(source)
        source.close()
        number = self._numbers.pop(source)
        if number is not None:  # the process ended while it waited, and may be started again
            del self._hosts[number]

    def _admit(self, process: int, processes: int, host: str) -> None:
        if processes != self._env.processes:
            raise ValueError(
                f"process {process} on {host} has {PROCESSES}={processes}, process 0 on {socket.gethostname()} has "
                f"{PROCESSES}={self._env.processes}: give all processes of the job the same number"
            )
        if process in self._hosts:
            raise ValueError(
                f"process {process} came twice, from {self._hosts[process]} and from {host}: each process of the job needs a "
                f"number of its own in {PROCESS}"
            )
        self._hosts[process] = host


def _listen(env: LaunchEnv) -> socket.socket:
    """Returns a socket that listens on the coordinator's port on all interfaces, as JAX's service does."""
    _, port = address(str(env.coordinator))
    try:
        with contextlib.suppress(_NoIpv6Error):
            return _dual_server(port, env.processes)
        return socket.create_server(("", port), backlog=env.processes)
    except OSError as error:
        raise PortTakenError(
            f"process 0 can't listen on {COORDINATOR}={env.coordinator}: port {port} of {socket.gethostname()} can't be "
            f"opened ({error.strerror or error}). If another program has it, perhaps a run that was not ended, end that "
            "program or choose another port"
        ) from error


def _dual_server(port: int, backlog: int | None) -> socket.socket:
    """Listens on IPv6 and IPv4. Raises _NoIpv6Error on a host without IPv6."""
    if not socket.has_dualstack_ipv6():
        raise _NoIpv6Error
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _NoIpv6Error from error
        raise


class _NoIpv6Error(Exception):
    """A host without IPv6."""


def _report_to_primary(env: LaunchEnv) -> None:
    """Gives process 0 this process's number and waits for the answer. Tries again until `start_s` has passed."""
    end = time.monotonic() + env.start_s
    while True:
        try:
            answer = _exchange(env)
            break
        except PortTakenError:
            raise
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"process {env.process} of {env.processes} on {socket.gethostname()} can't reach process 0 at "
                    f"{COORDINATOR}={env.coordinator} ({error}) for {env.start_s} s. Was it started there, does the "
                    f"name resolve here, is the port open? {START} is the time to wait"
                ) from error
        time.sleep(min(_POLL_S, env.start_s / 10))
    if answer != _READY:
        raise ConnectionError(f"process 0 at {COORDINATOR}={env.coordinator} ended the job: {answer}")


def _exchange(env: LaunchEnv) -> str:
    """Returns the answer of process 0. Raises OSError if there is none, or another program answers."""
    greeting = {"process": env.process, "processes": env.processes, "host": socket.gethostname(), "job": env.job}
    with socket.create_connection(address(str(env.coordinator)), timeout=_CONNECT_S) as connection:
        connection.sendall(json.dumps(greeting).encode() + b"\n")
        connection.settimeout(env.start_s + _MARGIN_S)
        with connection.makefile("rb") as lines:
            line = lines.readline(_LINE_BYTES)
    answer = _parsed(line)
    if isinstance(answer, dict) and answer.keys() == {"job"}:
        raise PortTakenError(
            f"{COORDINATOR}={env.coordinator} is the address of another job ({JOB}={answer['job']}), and process "
            f"{env.process} on {socket.gethostname()} is of {JOB}={env.job}: give each job a port of its own"
        )
    if not isinstance(answer, str):
        found = f"another program answers there: {line[:40]!r}" if line else "it closed the connection"
        raise ConnectionError(found)
    return answer


def _is_greeting(line: Any) -> bool:
    fields = isinstance(line, dict) and line.keys() == _GREETING.keys()
    return fields and all(type(line[name]) is kind for name, kind in _GREETING.items())


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _missing_message(env: LaunchEnv, missing: list[int]) -> str:
    named = ", ".join(map(str, missing[:_NAMED])) + (f" and {len(missing) - _NAMED} more" * (len(missing) > _NAMED))
    return (
        f"process {named} of {env.processes} did not come to {COORDINATOR}={env.coordinator} within {env.start_s} s "
        f"(processes are numbered from 0). Was it started, did it end with an error before, can it reach this address? "
        f"{START} is the time to wait"
    )
