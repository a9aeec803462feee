"""The output of processes that tests start, read with a time limit."""

import subprocess
import threading

PROCESS_S = 120.0  # for what takes seconds on a machine that does nothing else


def read_line(process: subprocess.Popen[str], limit_s: float = PROCESS_S) -> str:
    """Returns the next line of a process's output, "" at its end.

    Raises:
      AssertionError: none came in time; the process is killed.
    """
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
    assert not late.is_set(), f"{process.args} has printed nothing for {limit_s:g} s"
    return line


def read_until(process: subprocess.Popen[str], line: str, limit_s: float = PROCESS_S) -> None:
    """Reads a process's output up to a line.

    Raises:
      AssertionError: the output ends before, or no line came in time.
    """
    while (printed := read_line(process, limit_s)) != line:
        if not printed:
            _, err = process.communicate(timeout=limit_s)
            raise AssertionError(f"{process.args} ended with {process.returncode} and without {line!r}: {err}")
