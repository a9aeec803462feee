"""Where a step stops scaling: the forecast of one batch shape on fewer and on more chips than it was compiled for.

strong   the global batch stays. Arithmetic is shared out; what a chip reads and writes is fixed + shared / chips, through
         the programs compiled for two numbers of chips (beyond them neither part is below 0: with few examples more may
         stay on the chip); kernels stay; collectives over data spread over all.
weak     the batch grows with the chips. A chip's program stays, and only its collectives spread further.
"""

from dataclasses import dataclass

from jaxasr.cost.roofline import Assumptions, Limits, Work, forecast, over

_DOUBLINGS = 7  # beyond the chips that were asked for


@dataclass(frozen=True)
class ScalingForecast:
    """A number of devices."""

    devices: int
    strong_s: float | None  # of a step; None: nothing smaller could be compiled to fit it to
    strong: float | None  # efficiency: speed for each device, of that on the fewest
    weak_s: float
    weak: float


def extrapolate_scaling(
    work: Work, devices: int, smaller: tuple[Work, int] | None, limits: Limits, assumed: Assumptions
) -> tuple[ScalingForecast, ...]:
    """Points from the fewest devices that were compiled for, by doublings.

    Args:
        work: of a step on each of the `devices`.
        smaller: the same global batch on fewer devices.
    """
    fewest = smaller[1] if smaller else devices
    counts = [fewest]
    while counts[-1] < devices * 2**_DOUBLINGS:
        counts.append(counts[-1] * 2)
    weak = [_weak_s(work, devices, count, limits, assumed) for count in counts]
    strong = [_strong_s(work, devices, smaller, count, limits, assumed) if smaller else None for count in counts]
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
    """The fewest devices at which the efficiency is under the share; None: it is not, as far as the points go."""
    found = ((each.devices, getattr(each, which)) for each in points)
    return next((count for count, efficiency in found if efficiency is not None and efficiency < share), None)


def _weak_s(work: Work, devices: int, count: int, limits: Limits, assumed: Assumptions) -> float:
    spread = Work(
        work.flops,
        work.memory_bytes,
        work.kernels,
        over(work.collectives, count, was=devices, node_devices=limits.node_devices),
    )
    return forecast(spread, limits, assumed).step_s


def _strong_s(
    work: Work, devices: int, smaller: tuple[Work, int] | None, count: int, limits: Limits, assumed: Assumptions
) -> float | None:
    if smaller is None:
        return None
    spread = Work(
        flops=work.flops * devices / count,
        memory_bytes=_strong_bytes(work, devices, *smaller, count),
        kernels=work.kernels,
        collectives=over(work.collectives, count, was=devices, node_devices=limits.node_devices),
    )
    return forecast(spread, limits, assumed).step_s


def _strong_bytes(work: Work, devices: int, less: Work, few: int, count: int) -> float:
    shared = (less.memory_bytes - work.memory_bytes) / (1 / few - 1 / devices)
    fixed = work.memory_bytes - shared / devices
    if count <= devices:
        return fixed + shared / count
    fixed = min(max(fixed, 0.0), work.memory_bytes)
    return fixed + (work.memory_bytes - fixed) * devices / count
