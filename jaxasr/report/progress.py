"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere.

The rate is that of the work alone. Time for something else (compilation, an evaluation) is excluded from it. What is known to
come of it is added to the time that is left.
"""

import functools
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

import rich.console
import rich.progress

WINDOW_S = 60.0  # the rate is that of the last minute
_LINE_EVERY_S = 10.0


class Progress:
    """A progress bar with rate and remaining time.

        with Progress(5_000, "train", "steps", done=1_200) as bar:
            bar.advance(1, loss=2.31)
            bar.print("dev WER 12.1 %")

    On a terminal one line is redrawn (bars may stand inside one another); elsewhere a line is printed every
    10 seconds, if anything has changed, and at the end: `train: 1,250 of 5,000 steps, 25 %, 8.1 steps/s, 0:07:43 left, loss
    2.31`.
    """

    def __init__(
        self,
        total: int | float | None,
        label: str,
        unit: str,
        *,
        done: int | float = 0,
        console: rich.console.Console | None = None,
        quiet: bool = False,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Sets up a bar, which is shown when it is entered.

        Args:
            total: units of work, including those done before; None if unknown.
            label: what is going on.
            unit: what is counted, in the plural.
            done: units that an earlier run has done; they don't count for the rate.
            console: standard error by default.
            quiet: shows nothing: another process of the same work does.
            window_s: the rate is that of so long; longer for work that comes in fits.
            clock: seconds, from any origin.
        """
        self.total = total
        self.label = label
        self.unit = unit
        self.done = done
        self.coming_s = 0.0  # known time of what is left besides the work
        self._excluded_s = 0.0  # of something else than the work
        self._line: list[str] = []  # that was printed last, without rate and time
        self._info: dict[str, object] = {}
        self._clock = clock
        self._window_s = window_s
        self._console = rich.console.Console(quiet=True) if quiet else console or _standard_error()
        self._from = done
        self._began = clock()
        self._marks = deque([(self._began, done)])
        self._printed = self._began
        self._bar = _bar(self._console) if self._console.is_interactive else None

    def __enter__(self) -> "Progress":
        if self._bar:
            self._task = self._bar.add_task(self.label, total=self.total, rest="")
            self._bar.update(self._task, completed=self.done)
            self._bar.start()
        return self

    def advance(self, n: int | float = 1, **info: object) -> None:
        """Counts n more units as done; `info` (numbers and short texts by name) stands at the end of the line."""
        now = self._clock()
        worked = now - self._excluded_s
        self.done += n
        self._info |= info
        self._marks.append((worked, self.done))
        while len(self._marks) > 2 and worked - self._marks[0][0] > self._window_s:
            self._marks.popleft()
        if self._bar:
            self._bar.update(self._task, completed=self.done, rest=", ".join(self._rest(worked)))
        elif now - self._printed >= _LINE_EVERY_S and self._line != (line := [self._count(), *self._notes()]):
            self._printed = now
            self._line = line
            self._print(", ".join([self._count(), *self._rest(worked)]))

    def exclude(self, seconds: float) -> None:
        """Excludes time that has just been spent on something else than the work from the rate."""
        self._excluded_s += seconds

    def skip(self, n: int | float) -> None:
        """Counts n more units as done without work: they change neither the rate nor the line until the next `advance`."""
        self.done += n
        self._from += n
        self._marks = deque((at_s, done + n) for at_s, done in self._marks)

    def print(self, text: str) -> None:
        """Prints a line of its own, above the bar if there is one."""
        self._print(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = self._clock()
        if self._bar:
            self._bar.stop()
            return
        work = self.done - self._from
        spent = f"{clock_time(now - self._began)}, {_rate(work, now - self._began - self._excluded_s, self.unit)}"
        ended = f"stopped by {kind.__name__} at {self._count()}" if kind else self._count()
        self._print(", ".join([f"{ended} in {spent}", *self._notes()]))

    def _print(self, text: str) -> None:
        self._console.print(f"{self.label}: {text}", markup=False, highlight=False, soft_wrap=True)

    def _count(self) -> str:
        if self.total is None:
            return f"{self.done:,.0f} {self.unit}"
        share = f", {self.done / self.total:.0%}" if 0 < self.done < self.total else ""
        return f"{self.done:,.0f} of {self.total:,.0f} {self.unit}{share}"

    def _rest(self, worked: float) -> list[str]:
        """Returns the rate, the remaining time and the values of the caller.

        Args:
            worked: the clock without the excluded time.
        """
        began, done = self._marks[0]
        work = self.done - done
        seconds = worked - began
        rest = [_rate(work, seconds, self.unit)]
        if self.total is not None and work > 0 and self.done < self.total:
            rest.append(f"{clock_time((self.total - self.done) * seconds / work + self.coming_s)} left")
        return rest + self._notes()

    def _notes(self) -> list[str]:
        return [f"{name} {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in self._info.items()]


@functools.cache
def _standard_error() -> rich.console.Console:
    """Returns one for all, so that bars know of one another."""
    return rich.console.Console(stderr=True)


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=24),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[rest]}", markup=False),
        console=console,
    )


def _rate(work: int | float, seconds: int | float, unit: str) -> str:
    rate = work / seconds if seconds > 0 else 0.0
    return f"{rate:,.0f} {unit}/s" if rate >= 100 else f"{rate:.3g} {unit}/s"


def clock_time(seconds: int | float) -> str:
    """Returns a duration as hours, minutes and seconds: "1:02:03"."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
