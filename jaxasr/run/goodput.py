"""Accounts for the wall time of a run over all its attempts: the share that is training that counts.

Every second belongs to one kind. `step` is productive: the loop dispatches steps or waits for the devices. All other kinds
are overhead: `compile` (tracing and lowering included, of any program), `restore` of a checkpoint, `stall` for data, `wait`
for another process of the job (an estimate, peer_wait.py), `evaluation`, `checkpoint` (saving, as far as the loop waits for
it), `lost` (steps after the last checkpoint of an attempt that was killed or ended by an error) and `other` (start, reading,
end). Two times are not counted: the time between two attempts, and the time of a killed attempt after its last line.

Clock times differ between equal runs. So they are no metrics and no part of a checkpoint, and have a file of their own.

Source: the shares of ML productivity goodput as Google Cloud defines them, without availability (the time between two
attempts).
"""

import contextlib
import json
import math
import operator
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from jaxasr.cost.chips import Chip
from jaxasr.report import Measurements
from jaxasr.run.peer_wait import PeerWait
from jaxasr.scale import CompileCounter

FILE = "goodput.jsonl"
NAME = "the goodput"  # its name in messages

Kind = Literal["step", "compile", "restore", "stall", "wait", "evaluation", "checkpoint", "lost", "other"]
KINDS: tuple[Kind, ...] = ("step", "compile", "restore", "stall", "wait", "evaluation", "checkpoint", "lost", "other")
_LATER_FIELDS = {"wait_s": 0.0}  # are not in lines of older versions


@dataclass(frozen=True)
class GoodputTotals:
    """The time and the work of a run so far, over all its attempts."""

    attempt: int = 0  # starts of the run
    step: int = 0
    seconds: Mapping[Kind, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    flops: float = 0.0  # of the products of the steps that count, padding included
    useful_flops: float = 0.0  # without padding

    @property
    def total_s(self) -> float:
        """The wall time."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float:
        """The share of the wall time that went into steps that count."""
        return self.seconds["step"] / self.total_s if self.total_s else 0.0

    def summary(self, chip: Chip | None = None, chips: int = 1) -> str:
        """Returns a line for people: the shares of the wall time, and the MFU of the steps if the chips are known."""
        if chip is None or not self.flops or not self.seconds["step"]:
            return str(self)
        mfu = chip.mfu(self.flops / self.seconds["step"], chips=chips)
        return f"{self}; MFU of the steps {mfu:.1%}, {self.useful_flops / self.flops:.1%} of it for no padding"

    def __str__(self) -> str:
        parts = sorted(((s, kind) for kind, s in self.seconds.items() if s >= 0.001 * self.total_s), reverse=True)
        shares = ", ".join(f"{kind} {s / self.total_s:.1%}" for s, kind in parts)
        attempts = f" in {self.attempt} attempts" if self.attempt > 1 else ""
        return f"{_clock(self.total_s)} of wall time{attempts}: goodput {self.goodput:.1%} ({shares})"

    @property
    def line(self) -> dict[str, Any]:
        """The line in the file."""
        seconds = {f"{kind}_s": round(self.seconds[kind], 3) for kind in KINDS}
        flops = {"flops": self.flops, "useful_flops": self.useful_flops}
        return {"attempt": self.attempt, "step": self.step} | seconds | flops


class Goodput:
    """A clock that counts the seconds of one attempt and adds them to those of the attempts before.

    >>> with Goodput(folder) as goodput:
    ...     with goodput.record("restore"):
    ...         state = restore()
    ...     goodput.resume_at(done)
    ...     with goodput.record("step"):
    ...         ...
    """

    def __init__(
        self,
        folder: Path,
        *,
        processes: int = 1,
        started_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        measurements: Measurements | None = None,
    ):
        """Reads the lines that earlier attempts wrote in `folder`.

        Args:
            folder: the workdir of the run.
            processes: number of the processes of the job.
            started_s: the clock's reading when this attempt started; None: now.
            clock: seconds, from any origin.
            measurements: those of the run; goodput is one of them, so its errors are reported and not raised.
        """
        self._path = folder / FILE
        self._clock = clock
        self._measurements = measurements or Measurements()
        self._before: list[GoodputTotals] = []
        with self._optional():
            _drop_unfinished(self._path)
            self._before = read_goodput(folder, self._measurements.print_once)
        last = self._before[-1] if self._before else GoodputTotals()
        self._attempt = last.attempt + 1
        self._counts = True
        self._step = last.step
        self._seconds = dict(last.seconds)
        self._flops = last.flops
        self._useful_flops = last.useful_flops
        self._saved = last  # at the newest checkpoint
        self._peer_wait = PeerWait(processes)
        self._step_start_s = last.seconds["step"]  # productive time when the step before ended
        self._compiles = CompileCounter()
        self._compiled_s = 0.0
        self._kind: Kind = "other"
        self._since = clock() if started_s is None else started_s

    def __enter__(self) -> "Goodput":
        with self._optional():
            self._compiles.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counts:
            with self._optional():
                self._close(error is not None)
        if self._counts:
            self.write(self._step)
        with self._optional():
            self._compiles.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def record(self, kind: Kind) -> Iterator[None]:
        """Counts the time of the block as this kind, except compiling, stalls and blocks of other kinds inside."""
        outer = self._kind
        self._switch_to(kind)
        try:
            yield
        finally:
            self._switch_to(outer)

    def resume_at(self, step: int) -> None:
        """Notes that the run resumes after so many steps: later steps of earlier attempts are lost."""
        if step < self._step:
            self._lose(next((totals for totals in reversed(self._before) if totals.step <= step), GoodputTotals()))
        self._step = step
        with self._optional():
            self._saved = self.totals()
        self._step_start_s = self._seconds["step"]

    def save_at(self, step: int) -> None:
        """Adds a line to the file, and notes that the next attempt may resume after so many steps."""
        self.write(step)
        with self._optional():
            self._saved = self.totals()

    def cancel(self) -> None:
        """Leaves out this attempt, because nothing was left to do: the file stays as it is."""
        self._counts = False

    def record_stall(self, seconds: float) -> None:
        """Counts a part of the time that has just passed as waiting for data."""
        with self._optional():
            self._count_elapsed()
            self._move(seconds, "stall")

    def end_step(self, shape: Hashable) -> None:
        """Counts what the step that has just ended took longer than others of its shape as waiting for another process.

        Args:
            shape: the shape of the batch.
        """
        with self._optional():
            self._count_elapsed()
            self._move(self._peer_wait.of_step(self._seconds["step"] - self._step_start_s, shape), "wait")
            self._step_start_s = self._seconds["step"]

    def record_flops(self, flops: int | float, useful: int | float) -> None:
        """Counts the FLOPs of a step; `useful` are those that were not for padding."""
        self._flops += flops
        self._useful_flops += useful

    def totals(self) -> GoodputTotals:
        """Returns the totals of all attempts."""
        self._count_elapsed()
        return GoodputTotals(self._attempt, self._step, dict(self._seconds), self._flops, self._useful_flops)

    def write(self, step: int) -> None:
        """Adds a line to the file.

        Args:
            step: steps done.
        """
        self._step = step
        with self._optional(), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.totals().line) + "\n")

    def _optional(self) -> contextlib.AbstractContextManager[None]:
        return self._measurements.optional(NAME)

    def _close(self, by_error: bool) -> None:
        """Counts the waiting in steps that are not classed yet, and after an error the steps that are lost.

        After an error the unfinished step is one of them, and the steps after the newest checkpoint are lost.
        """
        self._count_elapsed()
        waited_s = self._peer_wait.of_rare_shapes()
        if by_error:
            waited_s += self._peer_wait.of_unfinished_step(self._seconds["step"] - self._step_start_s)
        waited_s = min(waited_s, self._seconds["step"])
        self._seconds["step"] -= waited_s
        self._seconds["wait"] += waited_s
        if by_error:
            self._lose(self._saved)
            self._step = self._saved.step

    def _lose(self, reached: GoodputTotals) -> None:
        """Counts the steps after those of `reached` as lost: their time and their FLOPs."""
        lost_s = max(self._seconds["step"] - reached.seconds["step"], 0.0)
        self._seconds["step"] -= lost_s
        self._seconds["lost"] += lost_s
        self._flops = reached.flops
        self._useful_flops = reached.useful_flops

    def _switch_to(self, kind: Kind) -> None:
        """Counts the time from now on as `kind`."""
        with self._optional():
            self._count_elapsed()
        self._kind = kind

    def _count_elapsed(self) -> None:
        """Adds the time since the last call to the current kind."""
        now = self._clock()
        compiled_s = self._compiles.seconds
        self._seconds[self._kind] += now - self._since
        self._move(compiled_s - self._compiled_s, "compile")
        self._since = now
        self._compiled_s = compiled_s

    def _move(self, seconds: float, to: Kind) -> None:
        """Moves seconds from the current kind to another."""
        seconds = min(seconds, self._seconds[self._kind])
        self._seconds[self._kind] -= seconds
        self._seconds[to] += seconds


def read_goodput(folder: Path, print_fn: Callable[[str], None] = print) -> list[GoodputTotals]:
    """Returns the totals that a run has written from time to time, without lines that are not finished or damaged.

    Args:
        print_fn: receives a warning for each damaged line.
    """
    path = folder / FILE
    found: list[GoodputTotals] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.is_file() else [], start=1):
        try:
            found.append(_totals_of(line))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            print_fn(f"WARNING: {path}, line {number} is left out: it is no line of goodput ({error!r}): {line[:60]!r}")
    return found


def _drop_unfinished(path: Path) -> None:
    """Removes the line that a killed attempt was writing: the next line would stand behind it."""
    raw = path.read_bytes() if path.is_file() else b""
    if raw and not raw.endswith(b"\n"):
        path.write_bytes(raw[: raw.rfind(b"\n") + 1])


def _totals_of(line: bytes) -> GoodputTotals:
    """Parses a line. Raises ValueError, KeyError, TypeError or OverflowError if it is none."""
    fields = _LATER_FIELDS | json.loads(line)
    attempt, step = (operator.index(fields[name]) for name in ("attempt", "step"))
    seconds: dict[Kind, float] = {kind: float(fields[f"{kind}_s"]) for kind in KINDS}
    flops, useful_flops = (float(fields[name]) for name in ("flops", "useful_flops"))
    if not all(0 <= number < math.inf for number in (attempt, step, *seconds.values(), flops, useful_flops)):
        raise ValueError("a number is negative or not finite")
    return GoodputTotals(attempt, step, seconds, flops, useful_flops)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
