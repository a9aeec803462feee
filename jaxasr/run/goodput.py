"""Where the wall time of a run goes, over all its lives: what share of it is training that counts.

Every second belongs to one kind. `step` is productive: the loop dispatches steps or waits for the devices. All else is
not: `compile` (tracing and lowering too, whatever is compiled), `restore` of a checkpoint, `stall` for data, `evaluation`,
`checkpoint` (saving, as far as the loop waits for it), `lost` (steps that a killed life did and the next one did again) and
`other` (starting, reading, ending). Not in it: the time between two lives, and what a killed life spent after its last
line.

Clock times are no metrics: they are no part of a checkpoint, and stand in a file of their own.

Source: the shares of ML productivity goodput as Google Cloud defines them (availability, which is the time between two
lives, left out).
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from jaxasr.cost.chips import Chip
from jaxasr.scale import CompileCounter

FILE = "goodput.jsonl"

Kind = Literal["step", "compile", "restore", "stall", "evaluation", "checkpoint", "lost", "other"]
KINDS: tuple[Kind, ...] = ("step", "compile", "restore", "stall", "evaluation", "checkpoint", "lost", "other")


@dataclass(frozen=True)
class Spent:
    """What a run has spent so far, all its lives together."""

    life: int = 0  # how often it was started
    step: int = 0
    seconds: Mapping[Kind, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    flops: float = 0.0  # of the products of the steps that count, padding included
    useful_flops: float = 0.0  # without padding

    @property
    def total_s(self) -> float:
        """Wall time."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float:
        """The share of wall time that went into steps that count."""
        return self.seconds["step"] / self.total_s if self.total_s else 0.0

    def told(self, chip: Chip | None = None, chips: int = 1) -> str:
        """In a line, for people: where the time went; and if the chips are known, what they did while steps were made."""
        if chip is None or not self.flops or not self.seconds["step"]:
            return str(self)
        mfu = chip.mfu(self.flops / self.seconds["step"], chips=chips)
        return f"{self}; MFU of the steps {mfu:.1%}, {self.useful_flops / self.flops:.1%} of it for no padding"

    def __str__(self) -> str:
        parts = sorted(((s, kind) for kind, s in self.seconds.items() if s >= 0.001 * self.total_s), reverse=True)
        told = ", ".join(f"{kind} {s / self.total_s:.1%}" for s, kind in parts)
        lives = f" in {self.life} lives" if self.life > 1 else ""
        return f"{_clock(self.total_s)} of wall time{lives}: goodput {self.goodput:.1%} ({told})"

    @property
    def line(self) -> dict[str, Any]:
        """As it stands in the file."""
        seconds = {f"{kind}_s": round(self.seconds[kind], 3) for kind in KINDS}
        flops = {"flops": self.flops, "useful_flops": self.useful_flops}
        return {"life": self.life, "step": self.step} | seconds | flops


class Goodput:
    """Counts the seconds of one life and adds them to those of the lives before.

    >>> with Goodput(folder) as goodput:
    ...     with goodput.spent("restore"):
    ...         state = restore()
    ...     goodput.go_on(done)
    ...     with goodput.spent("step"):
    ...         ...
    """

    def __init__(self, folder: Path, *, began_s: float | None = None, clock: Callable[[], float] = time.perf_counter):
        """Reads what the lives before have written in `folder`.

        Args:
            began_s: the clock's reading when this life began; None: now.
            clock: seconds, from any origin.
        """
        self._path, self._clock = folder / FILE, clock
        _drop_unfinished(self._path)
        self._before = lines(folder)
        last = self._before[-1] if self._before else Spent()
        self._life, self._step = last.life + 1, last.step
        self._seconds = dict(last.seconds)
        self._flops, self._useful_flops = last.flops, last.useful_flops
        self._compiles = CompileCounter()
        self._compiled_s = 0.0
        self._kind: Kind = "other"
        self._since = clock() if began_s is None else began_s

    def __enter__(self) -> "Goodput":
        self._compiles.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write(self._step)
        self._compiles.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def spent(self, kind: Kind) -> Iterator[None]:
        """What goes on inside is of this kind, but for compiling, stalls, and other kinds inside."""
        self._settle()
        outer, self._kind = self._kind, kind
        try:
            yield
        finally:
            self._settle()
            self._kind = outer

    def go_on(self, step: int) -> None:
        """The run goes on after so many steps: later ones of the lives before are lost."""
        if step >= self._step:
            self._step = step
            return
        there = next((each for each in reversed(self._before) if each.step <= step), Spent())
        lost_s = max(self._seconds["step"] - there.seconds["step"], 0.0)
        self._seconds["step"] -= lost_s
        self._seconds["lost"] += lost_s
        self._flops, self._useful_flops, self._step = there.flops, there.useful_flops, step

    def stalled(self, seconds: float) -> None:
        """So much of what was just spent was waiting for data."""
        self._settle()
        self._move(seconds, "stall")

    def worked(self, flops: int | float, useful: int | float) -> None:
        """A step of so many FLOPs was done, of which so many were not for padding."""
        self._flops += flops
        self._useful_flops += useful

    def so_far(self) -> Spent:
        """Of all lives."""
        self._settle()
        return Spent(self._life, self._step, dict(self._seconds), self._flops, self._useful_flops)

    def write(self, step: int) -> None:
        """Adds a line to the file: so many steps are done."""
        self._step = step
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.so_far().line) + "\n")

    def _settle(self) -> None:
        """Gives the time since the last time to what it was spent on."""
        now, compiled_s = self._clock(), self._compiles.seconds
        self._seconds[self._kind] += now - self._since
        self._move(compiled_s - self._compiled_s, "compile")
        self._since, self._compiled_s = now, compiled_s

    def _move(self, seconds: float, to: Kind) -> None:
        seconds = min(seconds, self._seconds[self._kind])
        self._seconds[self._kind] -= seconds
        self._seconds[to] += seconds


def process_began_s() -> float:
    """When this process began, by time.perf_counter: interpreter and imports are behind it. Now, where no /proc says it."""
    stat = Path("/proc/self/stat")
    if not stat.is_file() or not hasattr(time, "CLOCK_BOOTTIME"):
        return time.perf_counter()
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])  # of the system's clock, since it was booted
    return time.perf_counter() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def lines(folder: Path) -> list[Spent]:
    """What a run has spent, as it wrote it from time to time; a line that was not finished is passed over."""
    path = folder / FILE
    raw = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [_spent(json.loads(line)) for line in raw if line.endswith(b"\n")]


def _drop_unfinished(path: Path) -> None:
    """Takes away the line that a killed life was writing: the next one would stand behind it."""
    raw = path.read_bytes() if path.is_file() else b""
    if raw and not raw.endswith(b"\n"):
        path.write_bytes(raw[: raw.rfind(b"\n") + 1])


def _spent(line: dict[str, Any]) -> Spent:
    seconds: dict[Kind, float] = {kind: float(line[f"{kind}_s"]) for kind in KINDS}
    return Spent(line["life"], line["step"], seconds, float(line["flops"]), float(line["useful_flops"]))


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
