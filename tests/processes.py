"""Limits for the processes that tests start: no test waits for one without end."""

import subprocess
import threading


def read_line(process: subprocess.Popen[str], limit_s: float = 60.0) -> str:
    """Returns the next line of a process's output; kills the process and raises AssertionError when none comes in time."""
    assert process.stdout is not None
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit_s, end)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    assert not late.is_set(), f"process {process.pid} has said nothing for {limit_s} s"
    return line
