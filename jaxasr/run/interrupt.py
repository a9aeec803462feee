"""Signals as a request to stop: noted when they come, acted on between two steps, by all processes after the same one."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from jaxasr.scale.preemption import Agreement

# SIGTERM comes from kill, a preempted machine, Kubernetes and Slurm; Slurm's --signal may be told to send the last two
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):  # noqa: N818 - a request, no error
    """A signal asked the run to leave; everything is saved."""

    def __init__(self, signum: int, step: int):
        super().__init__(
            f"{signal.Signals(signum).name}: saved after {step:,} steps; the same command goes on from there"
        )
        self.signum = signum


@dataclass(frozen=True)
class Requests:
    """What signals asked for."""

    agreement: Agreement

    @property
    def signum(self) -> int:
        """The signal that came last, to this process or to another that stops with it; 0 if none did."""
        return self.agreement.reason

    def due(self, step: int) -> bool:
        """Whether to stop after this step. All processes of a job ask after each, and all are told the same."""
        return self.agreement.due(step)


@contextlib.contextmanager
def requests_to_stop() -> Iterator[Requests]:
    """Notes the signals that ask to stop instead of dying of them; a second SIGINT is let through."""
    with Agreement() as agreement:

        def note(signum: int, _: object) -> None:
            if agreement.reason == signal.SIGINT == signum:
                raise KeyboardInterrupt
            agreement.ask(signum)

        before = {signum: signal.signal(signum, note) for signum in STOPS}
        try:
            yield Requests(agreement)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
