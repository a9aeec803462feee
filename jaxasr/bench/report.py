"""The rows, the table and the picture of `jaxasr bench EXPERIMENT`. One device is the baseline of several devices."""

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
    """The part that is measured, its parallelism and its number of devices."""

    part: str
    parallelism: str
    devices: int


@dataclass
class Measurement:
    """One setting on one batch, and its times in all rounds."""

    setting: BenchSetting
    work: Workload
    measure: MeasureFn
    rounds: list[CallTime] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.setting.part}, {self.setting.parallelism} on {self.setting.devices}, {_batch_text(self.work)}"

    @property
    def work_key(self) -> tuple[Any, ...]:
        """The part, shape and batch size. Measurements of the same work have equal keys."""
        return self.setting.part, self.work.shape, self.work.examples

    @property
    def wall_s(self) -> float:
        """The wall time of a step, or of the search of one batch: the median of the rounds."""
        return median(call.wall_s for call in self.rounds)

    @property
    def cpu_s(self) -> float:
        """The CPU time of all threads: the median of the rounds. Other work on the machine hardly changes it."""
        return median(call.cpu_s for call in self.rounds)

    @property
    def rate(self) -> float:
        """The seconds of audio without padding (for a language model the tokens) that are processed in a second."""
        return self.work.real_amount / self.wall_s


def one_device(measurement: Measurement, others: Sequence[Measurement]) -> Measurement | None:
    """Returns the same work on one device: under jit, else under the same parallelism. None: it was not measured."""
    single = [other for other in others if other.work_key == measurement.work_key and other.setting.devices == 1]
    ones = {other.setting.parallelism: other for other in single}
    return ones.get("jit", ones.get(measurement.setting.parallelism))


def speedup(measurement: Measurement, others: Sequence[Measurement]) -> float | None:
    """Returns the speed relative to one device with the same batch: the median of the rounds."""
    one = one_device(measurement, others)
    return one and median_ratio([a.wall_s for a in one.rounds], [b.wall_s for b in measurement.rounds])


def cpu_ratio(measurement: Measurement, others: Sequence[Measurement]) -> float | None:
    """Returns the CPU time relative to one device with the same batch: the median of the rounds."""
    one = one_device(measurement, others)
    return one and median_ratio([b.cpu_s for b in measurement.rounds], [a.cpu_s for a in one.rounds])


def ideal_speedup(devices: int) -> int:
    """Returns the best speed-up of so many devices. It is 1 on a CPU, where virtual devices share the cores."""
    return 1 if jax.default_backend() == "cpu" else devices


def measurement_row(measurement: Measurement, others: Sequence[Measurement]) -> dict[str, Any]:
    """Returns the row of a measurement, without the fields that all rows of a benchmark share."""
    times = speedup(measurement, others)
    cpu = cpu_ratio(measurement, others)
    amount = "audio_s_per_s" if measurement.work.shape.samples else "tokens_per_s"
    return _setting_row(measurement) | {
        "s": round(measurement.wall_s, 6),
        "cpu_s": round(measurement.cpu_s, 6),
        "rounds_s": [round(call.wall_s, 6) for call in measurement.rounds],
        amount: round(measurement.rate, 3),
        "speedup": times and round(times, 4),
        "cpu_ratio": cpu and round(cpu, 4),
        "ideal_speedup": ideal_speedup(measurement.setting.devices),
        "efficiency": times and round(times / ideal_speedup(measurement.setting.devices), 4),
    }


def failed_row(measurement: Measurement, why: str) -> dict[str, Any]:
    """Returns the row of a measurement that failed, with the reason."""
    return _setting_row(measurement) | {"refused": why}


def table(measured: Sequence[Measurement]) -> str:
    """Returns the measurements as a Markdown table."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    header = ("part", "batch", "parallelism", "devices", "s", unit, "speed-up", "efficiency", "CPU s", "x one")
    return report.markdown(header, [_cells(measurement, measured) for measurement in measured])


def picture(measured: Sequence[Measurement], path: Path, title: str) -> None:
    """Draws throughput and efficiency over the number of devices."""
    unit = "audio s/s" if measured[0].work.shape.samples else "tokens/s"
    report.scaling([_point(measurement, measured) for measurement in measured], path=path, title=title, unit=unit)


def _setting_row(measurement: Measurement) -> dict[str, Any]:
    return {
        "part": measurement.setting.part,
        "parallelism": measurement.setting.parallelism,
        "devices": measurement.setting.devices,
        "samples": measurement.work.shape.samples,
        "tokens": measurement.work.shape.tokens,
        "examples": measurement.work.examples,
    }


def _point(measurement: Measurement, others: Sequence[Measurement]) -> report.ScalingPoint:
    times = speedup(measurement, others)
    setting = measurement.setting
    name = (
        f"{setting.parallelism}, " if setting.part == "step" else ""
    )  # evaluations differ in the number of devices only
    efficiency = None if times is None else times / ideal_speedup(setting.devices)
    return report.ScalingPoint(
        setting.part, f"{name}{_batch_text(measurement.work)}", setting.devices, measurement.rate, efficiency
    )


def _cells(measurement: Measurement, others: Sequence[Measurement]) -> list[str]:
    times = speedup(measurement, others)
    cpu = cpu_ratio(measurement, others)
    setting = measurement.setting
    shown = ["", ""] if times is None else [f"{times:.2f}", f"{times / ideal_speedup(setting.devices):.0%}"]
    shown += [f"{measurement.cpu_s:.4g}", "" if cpu is None else f"{cpu:.2f}"]
    return [
        setting.part,
        _batch_text(measurement.work),
        setting.parallelism,
        f"{setting.devices}",
        f"{measurement.wall_s:.4g}",
        f"{measurement.rate:,.1f}",
        *shown,
    ]


def _batch_text(work: Workload) -> str:
    length = f"{work.shape.samples / work.rate_hz:.2f} s" if work.shape.samples else f"{work.shape.tokens} tokens"
    return f"{work.examples} x {length}"
