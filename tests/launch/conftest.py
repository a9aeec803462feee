"""Signals of the launch scripts reach the processes that a test starts, wherever the tests run."""

import signal
from collections.abc import Iterator

import pytest

IGNORED_IN_BACKGROUND = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # by a shell's & and by nohup


@pytest.fixture(autouse=True)
def signals_are_received() -> Iterator[None]:
    """Gives the signals a handler: a process that is started inherits what is ignored, and gets the default otherwise."""
    before = {
        signum: signal.signal(signum, signal.default_int_handler)
        for signum in IGNORED_IN_BACKGROUND
        if signal.getsignal(signum) is signal.SIG_IGN
    }
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)
