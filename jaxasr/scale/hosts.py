"""The processes of a run: start and end of a job, barriers, this process's number, and a description of the devices.

The processes of a job end together. When one ends by an error, the others end with its cause and status (scale/failure.py).
When one dies, JAX's coordination service ends the others (SIGABRT), at the latest JAXASR_HEARTBEAT_S after its last
heartbeat. scale/watchdog.py ends a process that hangs.
"""

import atexit
import contextlib
import faulthandler
import functools
import itertools
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import jax
from jax._src import (
    distributed as jax_distributed,  # the service's client has no public name; Orbax takes it from here as well
)
from jax._src.clusters import ClusterEnv  # the job that JAX would detect, before it starts a service for it

from jaxasr.scale.failure import FailureWatch
from jaxasr.scale.launch_env import COORDINATOR, DISTRIBUTED, PROCESSES, LaunchEnv, read_launch_env
from jaxasr.scale.rendezvous import rendezvous

DAY_S = 86_400.0

_CPUINFO = Path("/proc/cpuinfo")
_SILENCE_S = 20.0  # a start that waits longer prints a line
_barriers = itertools.count()
_failed: list[Callable[[], NoReturn]] = []  # at most one: it ends this process


@dataclass(frozen=True)
class Hardware:
    """The hardware of a run, for its row of results."""

    platform: str  # cpu, gpu, tpu
    kind: str  # the maker's name
    devices: int  # of all processes
    processes: int
    cores: int  # of this host that this process may use

    def __str__(self) -> str:
        hosts = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{self.devices} x {self.kind} ({self.platform}){hosts}, {self.cores} host cores"


def initialize(environment: Mapping[str, str] = os.environ) -> bool:
    """Joins the job that the launcher's variables name, if there is one. Returns True if the job is distributed.

    Call it before the first array is made; a second call changes nothing. It reads JAXASR_COORDINATOR=HOST:PORT,
    JAXASR_PROCESSES=N and JAXASR_PROCESS=K, or JAXASR_DISTRIBUTED=auto. A process without a heartbeat for
    JAXASR_HEARTBEAT_S (60) seconds counts as dead. JAXASR_START_S (300) is the time for all processes to start.

    Raises:
        ValueError: the variables contradict each other, or JAX finds no job.
        ConnectionError: the coordinator's port is taken, or processes did not come within JAXASR_START_S; the message
            names them.
    """
    env = read_launch_env(environment)
    if env is not None and env.processes != 1 and not jax.distributed.is_initialized():
        faulthandler.enable()  # prints the stacks when JAX's client aborts
        job = _detected(env)
        with _message_if_it_waits(job):
            if (job.processes or 1) > 1:
                rendezvous(job)
            _initialize(env)
    return jax.distributed.is_initialized()


@contextlib.contextmanager
def distributed() -> Iterator[None]:
    """Calls `initialize`, and `shutdown` at the end. After an error this process does not wait for the others.

    The others may wait for it in a collective. They end with its status, which is the error's `exit_status` or 1.
    """
    if not initialize():
        yield
        return
    with FailureWatch(client(), *process()) as watch:
        try:
            yield
            barrier("ended")
        except BaseException as error:
            failure = watch.first(str(error) or type(error).__name__, getattr(error, "exit_status", 1))
            _failed.append(functools.partial(watch.end, failure))
            atexit.register(end_after_failure)
            raise
    shutdown()


def end_after_failure() -> None:
    """Ends this process with the status of the job's first failure, if it left `distributed` by an error.

    Called when the error is printed; else the process does it at its exit, which may wait for threads of the runtime.
    """
    for end in _failed:
        end()


def shutdown() -> None:
    """Waits for all processes and leaves the job. Does nothing without a distributed job."""
    if jax.distributed.is_initialized():
        barrier("leave")
        jax.distributed.shutdown()


def barrier(name: str, *, timeout_s: float = DAY_S) -> None:
    """Waits until every process calls it; uses no device. All processes call the same barriers in the same order.

    Raises:
        RuntimeError: a process did not call it within `timeout_s`. A process that dies ends the job sooner.
    """
    if jax.distributed.is_initialized():
        client().wait_at_barrier(f"jaxasr/{next(_barriers)}/{name}", round(timeout_s * 1000))


def broadcast_from_primary(name: str, value: str, *, timeout_s: float = DAY_S) -> str:
    """Returns the value that the primary process passes; uses no device. All processes call it in the same order.

    Raises:
        RuntimeError: the primary process did not call it within `timeout_s`. A process that dies ends the job sooner.
    """
    if not jax.distributed.is_initialized():
        return value
    key = f"jaxasr/{next(_barriers)}/{name}"
    if process()[0] == 0:
        client().key_value_set(key, value)
        return value
    return client().blocking_key_value_get(key, round(timeout_s * 1000))


def gather_from_all(name: str, value: str, *, timeout_s: float = DAY_S) -> list[str]:
    """Returns the values of all processes, in their order; uses no device. All processes call it in the same order.

    Raises:
        RuntimeError: a process did not call it within `timeout_s`. A process that dies ends the job sooner.
    """
    if not jax.distributed.is_initialized():
        return [value]
    number, count = process()
    folder = f"jaxasr/{next(_barriers)}/{name}"
    keys = [f"{folder}/{other}" for other in range(count)]
    client().key_value_set(keys[number], value)
    values = [client().blocking_key_value_get(key, round(timeout_s * 1000)) for key in keys]
    barrier(name, timeout_s=timeout_s)  # all have read
    client().key_value_delete(keys[number])
    return values


def client() -> Any:
    """Returns JAX's client of the job's coordination service (keys, values, barriers), or None without a distributed job."""
    return jax_distributed.global_state.client


def process() -> tuple[int, int]:
    """Returns this process's number and the number of processes. Unlike `jax.process_index` it starts no backend."""
    state = jax_distributed.global_state
    return (state.process_id, state.num_processes) if jax.distributed.is_initialized() else (0, 1)


def is_primary() -> bool:
    """Returns True in the process that writes the files of the run: checkpoints' metadata, metrics, results."""
    return jax.process_index() == 0


def hardware() -> Hardware:
    """Returns a description of JAX's devices. It starts the backend if nothing did before."""
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
    """Returns an entry of the first core in /proc/cpuinfo ("model name", "flags"), or the architecture if there is none."""
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == entry), platform.machine())


def _detected(env: LaunchEnv) -> LaunchEnv:
    """Returns the job with what JAX detects of it: coordinator, number of processes and number of this process."""
    if env.processes is not None:
        return env
    given = (env.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, None)
    coordinator, processes, process, _ = ClusterEnv.auto_detect_unset_distributed_params(*given, None, env.start_s)
    if None in (coordinator, processes, process):
        return env
    return replace(env, coordinator=coordinator, processes=processes, process=process)


@contextlib.contextmanager
def _message_if_it_waits(env: LaunchEnv) -> Iterator[None]:
    number = f"{env.process} of {env.processes}" if env.processes else "of a job that JAX found"
    at = f" at {env.coordinator}" if env.coordinator else ""
    line = f"process {number} waits for the others{at}; gives up {env.start_s} s after its start"
    timer = threading.Timer(min(_SILENCE_S, env.start_s / 2), print, (line,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _initialize(env: LaunchEnv) -> None:
    # JAX's preemption notifier would install its handler of SIGTERM in every command. run/interrupt.py handles SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    found = env.processes is None
    try:
        jax.distributed.initialize(
            env.coordinator,
            env.processes,
            env.process,
            cluster_detection_method=None if found else "deactivate",
            initialization_timeout=env.start_s,
            heartbeat_timeout_seconds=env.heartbeat_s,
            shutdown_timeout_seconds=env.heartbeat_s,
        )
    except ValueError as error:
        raise ValueError(
            f"{DISTRIBUTED}=auto, but JAX finds no Slurm, TPU VM or Kubernetes job here ({error}); start it by one of "
            f"launch/'s scripts, or set {COORDINATOR}, {PROCESSES} and JAXASR_PROCESS"
        ) from error
    except RuntimeError as error:
        at = env.coordinator or "the address that JAX chose"
        raise RuntimeError(
            f"this process can't join the job at {at}: {error}. Is the port taken, or was JAX used before?"
        ) from error
