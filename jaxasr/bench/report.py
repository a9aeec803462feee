"""What measurements of an experiment say: rows, a table, a picture. One device is what several are held against."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import jax

from jaxasr import report
from jaxasr.bench.processes import Spent, ratio
from jaxasr.bench.workloads import Measure, Work


@dataclass(frozen=True)
class Setting:
    """What one measurement is of, besides the batch."""

    part: str
    how: str
    devices: int


@dataclass
class Measured:
    """One setting on one batch, and what it took, round by round."""

    setting: Setting
    work: Work
    measure: Measure
    rounds: list[Spent] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.setting.part}, {self.setting.how} on {self.setting.devices}, {_batch(self.work)}"

    @property
    def load(self) -> tuple[Any, ...]:
        """The same for all that do the same work."""
        return self.setting.part, self.work.shape, self.work.examples

    @property
    def s(self) -> float:
        """Of a step, or of a search of one batch: the median."""
        return median(each.wall_s for each in self.rounds)

    @property
    def cpu_s(self) -> float:
        """The same of the processor, all threads: what other work on the machine hardly changes."""
        return median(each.cpu_s for each in self.rounds)

    @property
    def rate(self) -> float:
        """Useful seconds of audio (of a language model tokens) a second."""
        return self.work.useful / self.s


def one_device(each: Measured, others: Sequence[Measured]) -> Measured | None:
    """The same work on one device: under jit, or where jit was not measured under the same way; None: not measured."""
    ones = {other.setting.how: other for other in others if other.load == each.load and other.setting.devices == 1}
    return ones.get("jit", ones.get(each.setting.how))


def speedup(each: Measured, others: Sequence[Measured]) -> float | None:
    """How many times as fast as one device with the same batch, the median of the rounds."""
    one = one_device(each, others)
    return one and ratio([a.wall_s for a in one.rounds], [b.wall_s for b in each.rounds])


def cpu_ratio(each: Measured, others: Sequence[Measured]) -> float | None:
    """How many times the processor time of one device with the same batch, the median of the rounds."""
    one = one_device(each, others)
    return one and ratio([b.cpu_s for b in each.rounds], [a.cpu_s for a in one.rounds])


def ideal(devices: int) -> int:
    """How many times as fast so many devices could be: virtual devices of a CPU share its cores."""
    return 1 if jax.default_backend() == "cpu" else devices


def row_of(each: Measured, others: Sequence[Measured]) -> dict[str, Any]:
    """A row of results, without what is common to the run."""
    times, cpu = speedup(each, others), cpu_ratio(each, others)
    amount = "audio_s_per_s" if each.work.shape.samples else "tokens_per_s"
    return _what(each) | {
        "s": round(each.s, 6),
        "cpu_s": round(each.cpu_s, 6),
        "rounds_s": [round(one.wall_s, 6) for one in each.rounds],
        amount: round(each.rate, 3),
        "speedup": times and round(times, 4),
        "cpu_ratio": cpu and round(cpu, 4),
        "ideal_speedup": ideal(each.setting.devices),
        "efficiency": times and round(times / ideal(each.setting.devices), 4),
    }


def refused_row(each: Measured, why: str) -> dict[str, Any]:
    """The same of what can't be measured here."""
    return _what(each) | {"refused": why}


def table(measured: Sequence[Measured]) -> str:
    """For people."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    header = ("part", "batch", "how", "devices", "s", unit, "speed-up", "efficiency", "CPU s", "x one")
    return report.markdown(header, [_cells(each, measured) for each in measured])


def picture(measured: Sequence[Measured], path: Path, title: str) -> None:
    """Throughput and efficiency over the devices."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    report.scaling([_point(each, measured) for each in measured], path=path, title=title, unit=unit)


def _what(each: Measured) -> dict[str, Any]:
    return {
        "part": each.setting.part,
        "how": each.setting.how,
        "devices": each.setting.devices,
        "samples": each.work.shape.samples,
        "tokens": each.work.shape.tokens,
        "examples": each.work.examples,
    }


def _point(each: Measured, others: Sequence[Measured]) -> report.Point:
    times, setting = speedup(each, others), each.setting
    name = f"{setting.how}, " if setting.part == "step" else ""  # evaluations differ in their devices alone
    efficiency = None if times is None else times / ideal(setting.devices)
    return report.Point(setting.part, f"{name}{_batch(each.work)}", setting.devices, each.rate, efficiency)


def _cells(each: Measured, others: Sequence[Measured]) -> list[str]:
    times, cpu, setting = speedup(each, others), cpu_ratio(each, others), each.setting
    told = ["", ""] if times is None else [f"{times:.2f}", f"{times / ideal(setting.devices):.0%}"]
    told += [f"{each.cpu_s:.4g}", "" if cpu is None else f"{cpu:.2f}"]
    return [
        setting.part,
        _batch(each.work),
        setting.how,
        f"{setting.devices}",
        f"{each.s:.4g}",
        f"{each.rate:,.1f}",
        *told,
    ]


def _batch(work: Work) -> str:
    each = f"{work.shape.samples / work.rate_hz:.2f} s" if work.shape.samples else f"{work.shape.tokens} tokens"
    return f"{work.examples} x {each}"
