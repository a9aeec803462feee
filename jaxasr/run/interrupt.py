"""Signals as requests to stop: noted when they come, acted on between two steps, by all processes after the same step."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from jaxasr.scale.preemption import PreemptionSync

# SIGTERM comes from kill, a preempted machine, Kubernetes and Slurm; Slurm's --signal can be set to send the last two
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class TrainingInterrupt(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """A request of a signal to stop the run, raised when everything is saved."""

    def __init__(self, signum: int, step: int):
        super().__init__(
            f"{signal.Signals(signum).name}: saved after {step:,} steps; the same command resumes from there"
        )
        self.signum = signum


@dataclass(frozen=True)
class StopRequests:
    """The signals that asked this process, or another process of the job, to stop."""

    agreement: PreemptionSync

    @property
    def signum(self) -> int:
        """The signal that came last, to this process or to another that stops with it; 0 if none did."""
        return self.agreement.reason

    def should_stop(self, step: int) -> bool:
        """Returns True if the run stops after this step.

        Every process of a job calls it after each step, and gets the same answer.
        """
        return self.agreement.reached(step)


@contextlib.contextmanager
def requests_to_stop() -> Iterator[StopRequests]:
    """Notes the signals that ask to stop, in place of ending the process. A second SIGINT raises KeyboardInterrupt."""
    with PreemptionSync() as agreement:

        def note(signum: int, _: object) -> None:
            if agreement.reason == signal.SIGINT == signum:
                raise KeyboardInterrupt
            agreement.request(signum)

        before = {signum: signal.signal(signum, note) for signum in STOPS}
        try:
            yield StopRequests(agreement)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
