"""SIGTERM and SIGINT as a request: noted when they come, acted on between two steps."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass


class Interrupted(Exception):  # noqa: N818 - a request, no error
    """A signal asked the run to leave; everything is saved."""

    def __init__(self, signum: int, step: int):
        super().__init__(
            f"{signal.Signals(signum).name}: saved after {step:,} steps; the same command goes on from there"
        )
        self.signum = signum


@dataclass
class Requests:
    """The signal that came last; 0 if none did."""

    signum: int = 0


@contextlib.contextmanager
def requests_to_stop() -> Iterator[Requests]:
    """Notes SIGTERM and SIGINT instead of dying of them; a second SIGINT is let through."""
    noted = Requests()

    def note(signum: int, _: object) -> None:
        if noted.signum == signal.SIGINT == signum:
            raise KeyboardInterrupt
        noted.signum = signum

    before = {signum: signal.signal(signum, note) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noted
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
