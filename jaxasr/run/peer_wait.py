"""An estimate of the time that steps wait for another process of the job: one that is slow, suspended or dead.

A process sees only that a step takes long: within a compiled step nothing distinguishes the wait in a collective from work.
"""

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Hashable

STEPS = 20  # the last of each shape, of which the median is taken
LEAST_STEPS = 5  # of a shape, from which on it is known which of its steps were long
FACTOR = 4.0  # times the median, from which on a step is long
LEAST_S = 1.0  # beyond the median


class PeerWait:
    """The durations of the last steps, by the shape of their batch.

    The first steps of a shape are classed when there are enough of them: the first one waits for the compilation of the
    slowest process. If the steps stay long, they are the new median after STEPS / 2 of them.

    Args:
        processes: number of the processes of the job; one process waits for none.
    """

    def __init__(self, processes: int):
        self._processes = processes
        self._durations: defaultdict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=STEPS))

    def of_step(self, seconds: float, shape: Hashable) -> float:
        """Returns the seconds that a finished step was longer than usual, 0 if it was not long or it is too early to say.

        The step with which enough of its shape are known has the seconds of all of them.

        Args:
            seconds: the duration of the step.
            shape: the shape of its batch.
        """
        durations = self._durations[shape]
        before = list(durations)
        durations.append(seconds)
        if len(durations) < LEAST_STEPS:
            return 0.0
        if len(before) < LEAST_STEPS:
            return math.fsum(self._excess(duration, list(durations)) for duration in durations)
        return self._excess(seconds, before)

    def of_rare_shapes(self) -> float:
        """Returns the seconds that the steps of shapes with too few steps took longer than the steps of all shapes."""
        rare = [durations for durations in self._durations.values() if len(durations) < LEAST_STEPS]
        return math.fsum(self._excess(seconds, self._all()) for durations in rare for seconds in durations)

    def of_unfinished_step(self, seconds: float) -> float:
        """Returns the seconds that a step has taken too long until an error ended it."""
        return self._excess(seconds, self._all())

    def _all(self) -> list[float]:
        return [duration for durations in self._durations.values() for duration in durations]

    def _excess(self, seconds: float, durations: list[float]) -> float:
        if self._processes == 1 or len(durations) < LEAST_STEPS:
            return 0.0
        median_s = statistics.median(durations)
        return seconds - median_s if seconds > max(FACTOR * median_s, median_s + LEAST_S) else 0.0
