"""The forecast of one batch shape on fewer and on more chips than it was compiled for.

strong   The global batch is constant. Arithmetic is divided by the number of chips. The memory traffic of a chip is
         fixed + shared / chips, fitted to the programs compiled for two numbers of chips. Beyond these numbers neither part
         is below 0, because with few examples more may stay on the chip. The number of kernels is constant. Collectives
         over the data axis span all chips.
weak     The batch grows with the chips. The program of a chip is constant, and only its collectives span more chips.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxasr.cost.roofline import Assumptions, Limits, ProgramWork, forecast, over

_DOUBLINGS = 7  # beyond the number of chips in the request


@dataclass(frozen=True)
class ScalingForecast:
    """The forecast of a step on a number of devices, with strong and with weak scaling."""

    devices: int
    strong_s: float | None  # of a step; None: no smaller program could be compiled
    strong: float | None  # efficiency: speed per device relative to the fewest devices
    weak_s: float
    weak: float


def extrapolate_scaling(
    work: ProgramWork,
    devices: int,
    smaller: tuple[ProgramWork, int] | None,
    limits_at: Callable[[int], Limits],
    assumed: Assumptions,
) -> tuple[ScalingForecast, ...]:
    """Returns forecasts from the fewest compiled devices on, each for twice as many devices as the one before.

    Args:
        work: the work of a step on each of the `devices`.
        smaller: the work of the same global batch on fewer devices, and their number.
        limits_at: returns the limits of one of so many devices: a larger slice of a TPU pod may have more links.
        assumed: the shares of the limits that programs reach.
    """
    fewest = smaller[1] if smaller else devices
    counts = [fewest]
    while counts[-1] < devices * 2**_DOUBLINGS:
        counts.append(counts[-1] * 2)
    weak = [_weak_s(work, devices, count, limits_at(count), assumed) for count in counts]
    strong = [
        _strong_s(work, devices, smaller, count, limits_at(count), assumed) if smaller else None for count in counts
    ]
    first = strong[0]
    return tuple(
        ScalingForecast(
            count,
            strong_s,
            None if strong_s is None or first is None else first * fewest / (strong_s * count),
            weak_s,
            weak[0] / weak_s,
        )
        for count, strong_s, weak_s in zip(counts, strong, weak, strict=True)
    )


def first_inefficient(points: tuple[ScalingForecast, ...], which: str, share: float) -> int | None:
    """Returns the fewest devices with an efficiency below the share, or None if no point is below it.

    Args:
        which: "strong" or "weak".
    """
    found = ((point.devices, getattr(point, which)) for point in points)
    return next((count for count, efficiency in found if efficiency is not None and efficiency < share), None)


def _weak_s(work: ProgramWork, devices: int, count: int, limits: Limits, assumed: Assumptions) -> float:
    spread = ProgramWork(
        work.flops,
        work.memory_bytes,
        work.kernels,
        over(work.collectives, count, was=devices, node_devices=limits.node_devices),
    )
    return forecast(spread, limits, assumed).step_s


def _strong_s(
    work: ProgramWork,
    devices: int,
    smaller: tuple[ProgramWork, int] | None,
    count: int,
    limits: Limits,
    assumed: Assumptions,
) -> float | None:
    if smaller is None:
        return None
    spread = ProgramWork(
        flops=work.flops * devices / count,
        memory_bytes=_strong_bytes(work, devices, *smaller, count),
        kernels=work.kernels,
        collectives=over(work.collectives, count, was=devices, node_devices=limits.node_devices),
    )
    return forecast(spread, limits, assumed).step_s


def _strong_bytes(work: ProgramWork, devices: int, less: ProgramWork, few: int, count: int) -> float:
    shared = (less.memory_bytes - work.memory_bytes) / (1 / few - 1 / devices)
    fixed = work.memory_bytes - shared / devices
    if count <= devices:
        return fixed + shared / count
    fixed = min(max(fixed, 0.0), work.memory_bytes)
    return fixed + (work.memory_bytes - fixed) * devices / count
