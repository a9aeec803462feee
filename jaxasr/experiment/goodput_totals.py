"""The time and the work that a run has spent so far, and the file of them in its workdir.

Wall time is divided into the kinds that `jaxasr.run.goodput` counts, which defines them.
"""

import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxasr.cost.chips import Chip
from jaxasr.report import clock_time

FILE = "goodput.jsonl"

Kind = Literal["step", "compile", "restore", "stall", "wait", "evaluation", "checkpoint", "lost", "other"]
KINDS: tuple[Kind, ...] = ("step", "compile", "restore", "stall", "wait", "evaluation", "checkpoint", "lost", "other")
_LATER_FIELDS = {"wait_s": 0.0, "audio_s": None, "device_s": None}  # are not in lines of older versions


@dataclass(frozen=True)
class GoodputTotals:
    """The time and the work of a run so far, over all its attempts."""

    attempt: int = 0  # starts of the run
    step: int = 0
    seconds: Mapping[Kind, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    flops: float = 0.0  # of the products of the steps that count, padding included
    useful_flops: float = 0.0  # without padding
    audio_s: float | None = 0.0  # of the batches of the steps that count, repetitions included; None: unknown
    device_s: float | None = 0.0  # wall time times devices, of all attempts; None: unknown

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
        return f"{clock_time(self.total_s)} of wall time{attempts}: goodput {self.goodput:.1%} ({shares})"

    @property
    def line(self) -> dict[str, Any]:
        """The line in the file."""
        seconds = {f"{kind}_s": round(self.seconds[kind], 3) for kind in KINDS}
        flops = {"flops": self.flops, "useful_flops": self.useful_flops}
        amounts = {"audio_s": _rounded(self.audio_s), "device_s": _rounded(self.device_s)}
        return {"attempt": self.attempt, "step": self.step} | seconds | flops | amounts


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


def _totals_of(line: bytes) -> GoodputTotals:
    """Parses a line. Raises ValueError, KeyError, TypeError or OverflowError if it is none."""
    fields = _LATER_FIELDS | json.loads(line)
    attempt, step = (operator.index(fields[name]) for name in ("attempt", "step"))
    seconds: dict[Kind, float] = {kind: float(fields[f"{kind}_s"]) for kind in KINDS}
    flops, useful_flops = (float(fields[name]) for name in ("flops", "useful_flops"))
    audio_s, device_s = (None if fields[name] is None else float(fields[name]) for name in ("audio_s", "device_s"))
    numbers = (attempt, step, *seconds.values(), flops, useful_flops, audio_s or 0.0, device_s or 0.0)
    if not all(0 <= number < math.inf for number in numbers):
        raise ValueError("a number is negative or not finite")
    return GoodputTotals(attempt, step, seconds, flops, useful_flops, audio_s, device_s)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
