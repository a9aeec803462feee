"""What the launcher says of this process, in variables of the environment."""

from collections.abc import Mapping
from dataclasses import dataclass

COORDINATOR, PROCESSES, PROCESS = "JAXASR_COORDINATOR", "JAXASR_PROCESSES", "JAXASR_PROCESS"
DISTRIBUTED, HEARTBEAT, START = "JAXASR_DISTRIBUTED", "JAXASR_HEARTBEAT_S", "JAXASR_START_S"


@dataclass(frozen=True)
class LaunchEnv:
    """Where this process stands among those of its job; what is None is JAX's to find out."""

    coordinator: str | None  # HOST:PORT of process 0
    processes: int | None
    process: int | None
    heartbeat_s: int = 60  # without a sign of life, and a process is dead and the job over
    start_s: int = 300  # that the processes have to find each other

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
    """What is said of this process; None: it is alone.

    Raises:
        ValueError: a variable is missing beside the others, is no number, or makes no sense.
    """
    said = {name: environment.get(name) or None for name in (COORDINATOR, PROCESSES, PROCESS)}
    coordinator, *counts = said.values()
    limits = {"heartbeat_s": _whole(environment, HEARTBEAT, 60), "start_s": _whole(environment, START, 300)}
    way = environment.get(DISTRIBUTED) or None
    if way not in (None, "auto"):
        raise ValueError(f"{DISTRIBUTED}={way}; it is auto (Slurm, TPU VM, Kubernetes, as JAX finds them) or not set")
    if way and not any(counts):
        return LaunchEnv(coordinator, None, None, **limits)
    missing = [name for name, value in said.items() if value is None]
    if missing == list(said):
        return None
    if missing:
        given = ", ".join(f"{name}={value}" for name, value in said.items() if value is not None)
        raise ValueError(
            f"{given}, but {' and '.join(missing)} not set; set all three ({COORDINATOR}=HOST:PORT of process 0, "
            f"{PROCESSES}, {PROCESS}), none of them, or {DISTRIBUTED}=auto"
        )
    return LaunchEnv(coordinator, _whole(environment, PROCESSES, 1), _whole(environment, PROCESS, 0), **limits)


def address(coordinator: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT".

    Raises:
        ValueError: it is not of that form.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"{COORDINATOR}={coordinator}; it is HOST:PORT of process 0, such as 10.0.0.1:8476")
    return host.strip("[]"), int(port)


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit():
        raise ValueError(f"{name}={text}; it must be a whole number, 0 or more")
    return int(text)
