"""The processes and devices of this run: how they find each other, which one am I, and what do we run on.

Processes that joined end together: when one dies or ends by an error, JAX's coordination service ends the others
(SIGABRT), at the latest JAXASR_HEARTBEAT_S after its last sign of life. One that lives but is stuck is the watchdog's.
"""

import atexit
import contextlib
import faulthandler
import itertools
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax._src import distributed as jax_distributed  # the service's client has no public name; Orbax takes it from here as well

from jaxasr.scale.launch_env import COORDINATOR, DISTRIBUTED, PROCESSES, START, LaunchEnv, address, read_launch_env

DAY_S = 86_400.0

_CPUINFO = Path("/proc/cpuinfo")
_SILENCE_S = 20.0  # of a start that waits, before it says for whom
_meetings = itertools.count()


@dataclass(frozen=True)
class Hardware:
    """What a run ran on, for its row of results."""

    platform: str  # cpu, gpu, tpu
    kind: str  # as the maker calls it
    devices: int  # of all processes
    processes: int
    cores: int  # of the host, that this process may use

    def __str__(self) -> str:
        hosts = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.devices} x {self.kind} ({self.platform}){hosts}, {self.cores} host cores"


def initialize(environment: Mapping[str, str] = os.environ) -> bool:
    """Makes this process one of a job's, if its launcher says so; whether there are several.

    Call it before the first array is made; a second call changes nothing. It reads JAXASR_COORDINATOR=HOST:PORT,
    JAXASR_PROCESSES=N and JAXASR_PROCESS=K, or JAXASR_DISTRIBUTED=auto. Its limits are JAXASR_HEARTBEAT_S (60), after
    which a process without a sign of life is dead, and JAXASR_START_S (300), to find each other.

    Raises:
        ValueError: the variables make no sense, or JAX finds no job.
        ConnectionError: process 0 does not answer within JAXASR_START_S. (Process 0 itself is ended by JAX when others
            don't come; it says before for whom it waits.)
    """
    said = read_launch_env(environment)
    if said is not None and said.processes != 1 and not jax.distributed.is_initialized():
        faulthandler.enable()  # when JAX's client aborts, one can see where this process was
        _wait_for_first(said)
        with _told_if_it_waits(said):
            _initialize(said)
    return jax.distributed.is_initialized()


@contextlib.contextmanager
def distributed() -> Iterator[None]:
    """`join`, and `leave` at the end. After an error this process will not wait for the others when it exits.

    They wait for its part of a collective, and would not know: the connections that close tell them.
    """
    several = initialize()
    try:
        yield
    except BaseException:
        if several:
            atexit.register(_end_at_once)
        raise
    shutdown()


def shutdown() -> None:
    """Waits until all processes are here and takes leave of the job; nothing in a process that is alone."""
    if jax.distributed.is_initialized():
        barrier("leave")
        jax.distributed.shutdown()


def barrier(name: str, *, timeout_s: float = DAY_S) -> None:
    """Waits until every process has come here; no device takes part. All pass the same barriers in the same order.

    Raises:
        RuntimeError: some process did not come within `timeout_s`. One that dies ends the job sooner.
    """
    if jax.distributed.is_initialized():
        client().wait_at_barrier(f"jaxasr/{next(_meetings)}/{name}", round(timeout_s * 1000))


def broadcast_from_primary(name: str, value: str, *, timeout_s: float = DAY_S) -> str:
    """What the first process gives; each gives its own, and all ask in the same order. No device takes part.

    Raises:
        RuntimeError: the first did not give it within `timeout_s`. One that dies ends the job sooner.
    """
    if not jax.distributed.is_initialized():
        return value
    key = f"jaxasr/{next(_meetings)}/{name}"
    if process()[0] == 0:
        client().key_value_set(key, value)
        return value
    return client().blocking_key_value_get(key, round(timeout_s * 1000))


def client() -> Any:
    """JAX's client of the job's coordination service: keys, values, barriers. None in a process that is alone."""
    return jax_distributed.global_state.client


def process() -> tuple[int, int]:
    """Which process of how many, as the launcher counts; unlike `jax.process_index` it starts no backend."""
    state = jax_distributed.global_state
    return (state.process_id, state.num_processes) if jax.distributed.is_initialized() else (0, 1)


def is_primary() -> bool:
    """Whether this process writes what is written once a run: checkpoints' metadata, metrics, results."""
    return jax.process_index() == 0


def hardware() -> Hardware:
    """The devices that JAX sees, described. Starts the backend if nothing did."""
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    name = devices[0].platform
    return Hardware(
        platform=name,
        kind=cpu_info("model name") if name == "cpu" else " + ".join(kinds),
        devices=len(devices),
        processes=jax.process_count(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def cpu_info(entry: str) -> str:
    """An entry of the first core in Linux's list ("model name", "flags"); elsewhere the machine's architecture."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == entry), platform.machine())


def _wait_for_first(said: LaunchEnv) -> None:
    """Waits until process 0 answers: JAX's client would abort this process instead of raising an error."""
    if said.coordinator is None or not said.process:
        return
    end = time.monotonic() + said.start_s
    while True:
        try:
            socket.create_connection(address(said.coordinator), timeout=5.0).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"process {said.process} of {said.processes} on {socket.gethostname()} can't reach process 0 at "
                    f"{COORDINATOR}={said.coordinator} ({error}) for {said.start_s} s. Was it started there, does the "
                    f"name resolve here, is the port open? {START} is the time to wait"
                ) from error
        time.sleep(min(0.5, said.start_s / 10))


@contextlib.contextmanager
def _told_if_it_waits(said: LaunchEnv) -> Iterator[None]:
    of = f"{said.process} of {said.processes}" if said.processes else "of a job that JAX found"
    at = f" at {said.coordinator}" if said.coordinator else ""
    line = f"process {of} waits for the others{at}; gives up {said.start_s} s after its start"
    timer = threading.Timer(min(_SILENCE_S, said.start_s / 2), print, (line,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _initialize(said: LaunchEnv) -> None:
    # JAX's own notifier would take SIGTERM for good, in commands that never ask it too: run/interrupt.py does its work
    jax.config.update("jax_enable_preemption_service", False)
    found = said.processes is None
    try:
        jax.distributed.initialize(
            said.coordinator,
            said.processes,
            said.process,
            cluster_detection_method=None if found else "deactivate",
            initialization_timeout=said.start_s,
            heartbeat_timeout_seconds=said.heartbeat_s,
            shutdown_timeout_seconds=said.heartbeat_s,
        )
    except ValueError as error:
        raise ValueError(
            f"{DISTRIBUTED}=auto, but JAX finds no Slurm, TPU VM or Kubernetes job here ({error}); start it by one of "
            f"launch/'s scripts, or set {COORDINATOR}, {PROCESSES} and JAXASR_PROCESS"
        ) from error
    except RuntimeError as error:
        at = said.coordinator or "the address that JAX chose"
        raise RuntimeError(
            f"this process can't join the job at {at}: {error}. Is the port taken, or was JAX used before?"
        ) from error


def _end_at_once() -> None:
    if not jax.distributed.is_initialized():
        return  # it took leave in good order
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
