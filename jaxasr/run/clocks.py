"""The clocks of a training loop, and the one place in which they are paused."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from jaxasr.experiment.goodput_totals import Kind
from jaxasr.run.goodput import Goodput
from jaxasr.run.throughput import ThroughputMonitor
from jaxasr.scale import Watchdog


@dataclass(frozen=True)
class Clocks:
    """The clocks of a run: the kinds of its wall time, the speed of its steps, and the limit of a step."""

    goodput: Goodput
    throughput: ThroughputMonitor
    watchdog: Watchdog

    @contextlib.contextmanager
    def run_steps(self) -> Iterator[None]:
        """Counts the block as steps, and raises an error where an array is copied implicitly between host and device.

        An implicit copy waits for the device, and makes every step wait. Explicit copies (jax.device_put, jax.device_get)
        are allowed.
        """
        with (
            self.goodput.record("step"),
            jax.transfer_guard_host_to_device("disallow"),
            jax.transfer_guard_device_to_host("disallow"),
        ):
            yield

    @contextlib.contextmanager
    def pause(self, kind: Kind) -> Iterator[None]:
        """Runs a block that is no step: an evaluation, a save.

        Its time counts as `kind` and not for the speed of the steps. It has the watchdog's long limit. It may copy arrays
        implicitly.
        """
        started_s = time.perf_counter()
        with self.goodput.record(kind), self.watchdog.pause(), jax.transfer_guard("allow"):
            yield
        self.throughput.exclude_time(time.perf_counter() - started_s)


def process_start_s() -> float:
    """Returns when this process started, before the interpreter and the imports, as a reading of time.perf_counter.

    Without /proc it returns the reading of now.
    """
    stat = Path("/proc/self/stat")
    if not stat.is_file() or not hasattr(time, "CLOCK_BOOTTIME"):
        return time.perf_counter()
    ticks = int(
        stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    )  # of the system's clock, since it was booted
    return time.perf_counter() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
