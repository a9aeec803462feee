"""What measurements of an experiment say: rows, a table, a picture. One device is what several are held against."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import jax

from jaxasr import report
from jaxasr.bench.processes import CallTime, median_ratio
from jaxasr.bench.workloads import MeasureFn, Workload


@dataclass(frozen=True)
class BenchSetting:
    """What one measurement is of, besides the batch."""

    part: str
    parallelism: str
    devices: int


@dataclass
class Measurement:
    """One setting on one batch, and what it took, round by round."""

    setting: BenchSetting
    work: Workload
    measure: MeasureFn
    rounds: list[CallTime] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.setting.part}, {self.setting.parallelism} on {self.setting.devices}, {_batch_text(self.work)}"

    @property
    def work_key(self) -> tuple[Any, ...]:
        """The same for all that do the same work."""
        return self.setting.part, self.work.shape, self.work.examples

    @property
    def wall_s(self) -> float:
        """Of a step, or of a search of one batch: the median."""
        return median(each.wall_s for each in self.rounds)

    @property
    def cpu_s(self) -> float:
        """The same of the processor, all threads: what other work on the machine hardly changes."""
        return median(each.cpu_s for each in self.rounds)

    @property
    def rate(self) -> float:
        """Useful seconds of audio (of a language model tokens) a second."""
        return self.work.real_amount / self.wall_s


def one_device(each: Measurement, others: Sequence[Measurement]) -> Measurement | None:
    """The same work on one device: under jit, or where jit was not measured under the same way; None: not measured."""
    ones = {other.setting.parallelism: other for other in others if other.work_key == each.work_key and other.setting.devices == 1}
    return ones.get("jit", ones.get(each.setting.parallelism))


def speedup(each: Measurement, others: Sequence[Measurement]) -> float | None:
    """How many times as fast as one device with the same batch, the median of the rounds."""
    one = one_device(each, others)
    return one and median_ratio([a.wall_s for a in one.rounds], [b.wall_s for b in each.rounds])


def cpu_ratio(each: Measurement, others: Sequence[Measurement]) -> float | None:
    """How many times the processor time of one device with the same batch, the median of the rounds."""
    one = one_device(each, others)
    return one and median_ratio([b.cpu_s for b in each.rounds], [a.cpu_s for a in one.rounds])


def ideal_speedup(devices: int) -> int:
    """How many times as fast so many devices could be: virtual devices of a CPU share its cores."""
    return 1 if jax.default_backend() == "cpu" else devices


def measurement_row(each: Measurement, others: Sequence[Measurement]) -> dict[str, Any]:
    """A row of results, without what is common to the run."""
    times, cpu = speedup(each, others), cpu_ratio(each, others)
    amount = "audio_s_per_s" if each.work.shape.samples else "tokens_per_s"
    return _setting_row(each) | {
        "s": round(each.wall_s, 6),
        "cpu_s": round(each.cpu_s, 6),
        "rounds_s": [round(one.wall_s, 6) for one in each.rounds],
        amount: round(each.rate, 3),
        "speedup": times and round(times, 4),
        "cpu_ratio": cpu and round(cpu, 4),
        "ideal_speedup": ideal_speedup(each.setting.devices),
        "efficiency": times and round(times / ideal_speedup(each.setting.devices), 4),
    }


def failed_row(each: Measurement, why: str) -> dict[str, Any]:
    """The same of what can't be measured here."""
    return _setting_row(each) | {"refused": why}


def table(measured: Sequence[Measurement]) -> str:
    """For people."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    header = ("part", "batch", "how", "devices", "s", unit, "speed-up", "efficiency", "CPU s", "x one")
    return report.markdown(header, [_cells(each, measured) for each in measured])


def picture(measured: Sequence[Measurement], path: Path, title: str) -> None:
    """Throughput and efficiency over the devices."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    report.scaling([_point(each, measured) for each in measured], path=path, title=title, unit=unit)


def _setting_row(each: Measurement) -> dict[str, Any]:
    return {
        "part": each.setting.part,
        "how": each.setting.parallelism,
        "devices": each.setting.devices,
        "samples": each.work.shape.samples,
        "tokens": each.work.shape.tokens,
        "examples": each.work.examples,
    }


def _point(each: Measurement, others: Sequence[Measurement]) -> report.ScalingPoint:
    times, setting = speedup(each, others), each.setting
    name = f"{setting.parallelism}, " if setting.part == "step" else ""  # evaluations differ in their devices alone
    efficiency = None if times is None else times / ideal_speedup(setting.devices)
    return report.ScalingPoint(setting.part, f"{name}{_batch_text(each.work)}", setting.devices, each.rate, efficiency)


def _cells(each: Measurement, others: Sequence[Measurement]) -> list[str]:
    times, cpu, setting = speedup(each, others), cpu_ratio(each, others), each.setting
    told = ["", ""] if times is None else [f"{times:.2f}", f"{times / ideal_speedup(setting.devices):.0%}"]
    told += [f"{each.cpu_s:.4g}", "" if cpu is None else f"{cpu:.2f}"]
    return [
        setting.part,
        _batch_text(each.work),
        setting.parallelism,
        f"{setting.devices}",
        f"{each.wall_s:.4g}",
        f"{each.rate:,.1f}",
        *told,
    ]


def _batch_text(work: Workload) -> str:
    each = f"{work.shape.samples / work.rate_hz:.2f} s" if work.shape.samples else f"{work.shape.tokens} tokens"
    return f"{work.examples} x {each}"
