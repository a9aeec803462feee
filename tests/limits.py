"""Time limits for tests: none waits for ever, whatever it waits for."""

import contextlib
import faulthandler
import signal
import threading
from collections.abc import Iterator

import pytest

TEST_S = 600.0  # ten times what the longest needs on a machine that does nothing else
SLOW_TEST_S = 3600.0
AGAIN_S = 20.0  # after which what still waits, such as the end of a `with`, is interrupted as well
NATIVE_S = 60.0  # more than that without a line of Python: only an end of the process helps


@contextlib.contextmanager
def time_limit(limit_s: float, *, native_s: float = NATIVE_S, stderr: int = 2) -> Iterator[None]:
    """Raises pytest's failure in what runs longer; if that hangs outside Python, ends the process with all stacks.

    Args:
      native_s: time, from the limit on, in which Python code must have run.
      stderr: the file descriptor for the stacks.
    """
    if threading.current_thread() is not threading.main_thread():  # which signals do not reach
        yield
        return

    def fail(signum: int, frame: object) -> None:
        pytest.fail(f"still running after its time limit of {limit_s:g} s")

    handler = signal.signal(signal.SIGALRM, fail)
    timer = signal.setitimer(signal.ITIMER_REAL, limit_s, AGAIN_S)
    faulthandler.dump_traceback_later(limit_s + native_s, exit=True, file=stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)
