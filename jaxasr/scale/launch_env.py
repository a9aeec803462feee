"""The environment variables by which a launcher describes the job to each of its processes."""

from collections.abc import Mapping
from dataclasses import dataclass

COORDINATOR = "JAXASR_COORDINATOR"
PROCESSES = "JAXASR_PROCESSES"
PROCESS = "JAXASR_PROCESS"
DISTRIBUTED = "JAXASR_DISTRIBUTED"
HEARTBEAT = "JAXASR_HEARTBEAT_S"
START = "JAXASR_START_S"
JOB = "JAXASR_JOB"

_DIGITS = 9  # of a variable: 30 years in seconds, more processes than any job has


@dataclass(frozen=True)
class LaunchEnv:
    """A process's number and its job, as the launcher gives them. JAX finds the fields that are None."""

    coordinator: str | None  # HOST:PORT of process 0
    processes: int | None
    process: int | None
    heartbeat_s: int = 60  # a process without a heartbeat for this time counts as dead, and the job ends
    start_s: int = 300  # time for all processes to start
    job: str = ""  # its name, by which processes of another job at the same address are recognised

    def __post_init__(self):
        if self.coordinator is not None:
            address(self.coordinator)
        if self.processes is not None and not 0 <= (self.process or 0) < self.processes:
            raise ValueError(
                f"{PROCESS}={self.process} of {PROCESSES}={self.processes}; processes are numbered from 0 to one less "
                "than their count"
            )
        for name, limit_s in ((HEARTBEAT, self.heartbeat_s), (START, self.start_s)):
            if limit_s < 1:
                raise ValueError(f"{name}={limit_s}; it must be at least 1 second")


def read_launch_env(environment: Mapping[str, str]) -> LaunchEnv | None:
    """Returns the launcher's description of this process, or None without a distributed job.

    Raises:
        ValueError: a variable is missing while others are set, is no number, or is out of range.
    """
    variables = {name: environment.get(name) or None for name in (COORDINATOR, PROCESSES, PROCESS)}
    coordinator, *counts = variables.values()
    heartbeat_s = _whole(environment, HEARTBEAT, 60)
    start_s = _whole(environment, START, 300)
    job = environment.get(JOB, "")
    distributed = environment.get(DISTRIBUTED) or None
    if distributed not in (None, "auto"):
        raise ValueError(
            f"{DISTRIBUTED}={distributed}; it is auto (Slurm, TPU VM, Kubernetes, as JAX finds them) or not set"
        )
    if distributed and not any(counts):
        return LaunchEnv(coordinator, None, None, heartbeat_s, start_s, job)
    missing = [name for name, value in variables.items() if value is None]
    if missing == list(variables):
        return None
    if missing:
        given = ", ".join(f"{name}={value}" for name, value in variables.items() if value is not None)
        raise ValueError(
            f"{given}, but {' and '.join(missing)} not set; set all three ({COORDINATOR}=HOST:PORT of process 0, "
            f"{PROCESSES}, {PROCESS}), none of them, or {DISTRIBUTED}=auto"
        )
    processes = _whole(environment, PROCESSES, 1)
    return LaunchEnv(coordinator, processes, _whole(environment, PROCESS, 0), heartbeat_s, start_s, job)


def address(coordinator: str) -> tuple[str, int]:
    """Splits "HOST:PORT" into host and port.

    Raises:
        ValueError: the text does not have this form.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or len(port) > _DIGITS or not 0 < int(port) < 2**16:
        raise ValueError(f"{COORDINATOR}={coordinator}; it is HOST:PORT of process 0, such as 10.0.0.1:8476")
    return host.strip("[]"), int(port)


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise ValueError(f"{name}={text[:40]}; it must be a whole number, 0 or more, of at most {_DIGITS} digits")
    return int(text)
