"""Signals as requests to stop: noted when they come, acted on between two steps or batches, by all processes together."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from jaxasr.scale.preemption import PreemptionSync

# SIGTERM comes from kill, a preempted machine, Kubernetes and Slurm; Slurm's --signal can be set to send the last two
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)

EVALUATION_STOP_S = 4.0  # from a signal to the end of the process, if it comes while a batch is decoded or compiled
POLL_S = 0.1


class Interrupt(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """A request of a signal to stop, raised when nothing would be lost."""

    def __init__(self, signum: int, state: str):
        super().__init__(f"{signal.Signals(signum).name}: {state}")
        self.signum = signum


class TrainingInterrupt(Interrupt):
    """A request of a signal to stop the run, raised when everything is saved."""

    def __init__(self, signum: int, step: int):
        super().__init__(signum, f"saved after {step:,} steps; the same command resumes from there")


class EvaluationInterrupt(Interrupt):
    """A request of a signal to stop an evaluation, raised between two batches."""

    def __init__(self, signum: int):
        super().__init__(signum, "the rows of finished splits are written; the same command evaluates the others")


@dataclass(frozen=True)
class StopRequests:
    """The signals that asked this process, or another process of the job, to stop."""

    agreement: PreemptionSync
    _calls: Iterator[int] = field(default_factory=count)

    @property
    def signum(self) -> int:
        """The signal that came last, to this process or to another that stops with it; 0 if none did."""
        return self.agreement.reason

    def should_stop(self) -> bool:
        """Returns True if the run stops now.

        Every process of a job calls it equally often, after each step and before each batch of an evaluation. Each call
        has the same result in all of them.
        """
        return self.agreement.reached(next(self._calls))

    @contextlib.contextmanager
    def stopping_evaluation(
        self, interrupt: Callable[[int], Interrupt], is_saved: Callable[[], bool]
    ) -> Iterator[Callable[[], None]]:
        """Yields a function that raises an interrupt if a signal came; an evaluation calls it before each batch.

        A batch can take long, above all if its search is compiled. So a thread ends the process EVALUATION_STOP_S after a
        signal. Nothing is lost by that: an evaluation that is not recorded is made again.

        Args:
            interrupt: returns the interrupt for a signal.
            is_saved: returns True when all that the process has made before the evaluation is on the disk.
        """
        ended = threading.Event()
        guard = threading.Thread(target=self._end_in_time, args=(interrupt, is_saved, ended), daemon=True)
        guard.start()

        def before_batch() -> None:
            if self.should_stop():
                raise interrupt(self.signum)

        try:
            yield before_batch
        finally:
            ended.set()
            guard.join()

    def _end_in_time(
        self, interrupt: Callable[[int], Interrupt], is_saved: Callable[[], bool], ended: threading.Event
    ) -> None:
        due_s: float | None = None
        while not ended.wait(POLL_S):
            if self.signum and due_s is None:
                due_s = time.monotonic() + EVALUATION_STOP_S
            if due_s is not None and time.monotonic() > due_s and is_saved():
                print(f"jaxasr: {interrupt(self.signum)}", file=sys.stderr, flush=True)
                os._exit(128 + self.signum)  # the main thread is in a computation, so no exception could end it


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


@contextlib.contextmanager
def stoppable_evaluation() -> Iterator[Callable[[], None]]:
    """Yields a function that an evaluation outside of training calls before each batch.

    It raises EvaluationInterrupt if a signal came. The process ends in time also while a batch is decoded.
    """
    with (
        requests_to_stop() as requests,
        requests.stopping_evaluation(EvaluationInterrupt, lambda: True) as before_batch,
    ):
        yield before_batch
