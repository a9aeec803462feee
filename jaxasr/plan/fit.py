"""The search for the numbers of examples that fill the memory of a device, for each batch shape: `jaxasr plan --fit`.

Each number that is tried is compiled, and the compiler tells the memory. Memory grows nearly linearly with the examples, so a
line through the last two numbers gives the next one, within bounds that are known to fit and not to fit. NeMo's OOMptimizer
does the same on the device itself.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from jaxasr.plan.records import BucketForecast, MeshCandidate

FILL = 0.95  # of the memory that JAX may take; the rest is for fragmentation, and for the other programs of the run
_NEAR = 0.02  # the search ends if so much more does not fit
_MOST = 12  # compilations for one shape


def fill_memory(
    candidate: MeshCandidate,
    forecast: Callable[[MeshCandidate, int], BucketForecast],
    *,
    memory_bytes: int,
    multiple: int,
    jobs: int = 1,
) -> MeshCandidate:
    """Returns a candidate whose batch shapes have as many examples as `FILL` of the memory holds.

    Args:
        candidate: the mesh and the shapes to start from. Lengths and token limits of the shapes stay.
        forecast: compiles a shape of a candidate, given by its place.
        memory_bytes: of a device.
        multiple: the numbers of examples are multiples of it.
        jobs: shapes whose search runs at the same time.

    Raises:
        ValueError: not even `multiple` examples of a shape fit.
    """
    limit = int(FILL * memory_bytes)

    def filled(place: int) -> int:
        def memory(groups: int) -> int | None:
            shapes = list(candidate.shapes)
            shapes[place] = replace(shapes[place], examples=groups * multiple)
            program = forecast(replace(candidate, shapes=tuple(shapes)), place).program
            return None if program.out_of_memory else program.memory_bytes

        return most_that_fit(memory, max(1, candidate.shapes[place].examples // multiple), limit) * multiple

    with ThreadPoolExecutor(jobs) as pool:
        examples = list(pool.map(filled, range(len(candidate.shapes))))
    if 0 in examples:
        shape = candidate.shapes[examples.index(0)]
        raise ValueError(
            f"{multiple} examples of {shape.samples} samples and {shape.tokens} tokens need more than "
            f"{limit / 2**30:.2f} GiB on mesh {candidate.layout}; give a --mesh with more fsdp or tensor, or more chips"
        )
    falling = itertools.accumulate(examples, min)  # a plan of batches needs it
    shapes = [replace(shape, examples=count) for shape, count in zip(candidate.shapes, falling, strict=True)]
    return replace(candidate, shapes=tuple(shapes), bucket=None)


def most_that_fit(memory: Callable[[int], int | None], first: int, limit: int) -> int:
    """Returns the largest number n with memory(n) <= limit, or one of which 2 % more do not fit; 0 if none fits.

    Args:
        memory: bytes for a number of at least 1, non-decreasing; None: more than the compiler accepts.
        first: the number that is tried first.
    """
    known: dict[int, int] = {}
    low = 0
    high: int | None = None
    tried: int | None = first
    for _ in range(_MOST):
        if tried is None:
            break
        used = memory(tried)
        if used is not None:
            known[tried] = used
        if used is not None and used <= limit:
            low = tried
        else:
            high = tried
        tried = _next(known, low, high, limit)
    return low


def _next(known: dict[int, int], low: int, high: int | None, limit: int) -> int | None:
    """Returns the number to try after these, or None if `low` is near enough to `high`."""
    step = max(1, int(low * _NEAR))
    if high is not None and high - low <= step:
        return None
    guess = max(_on_line(known, limit), low + step)
    if high is None:
        return min(guess, 8 * low)
    return guess if guess < high else max(low + 1, (low + high) // 2)


def _on_line(known: dict[int, int], limit: int) -> int:
    """Returns the number whose memory is the limit, on the line through the two numbers of nearest memory; 0 if unknown."""
    near = sorted(known, key=lambda number: abs(known[number] - limit))[:2]
    if not near:
        return 0
    if len(near) == 1:
        return near[0] * limit // known[near[0]]
    slope = (known[near[0]] - known[near[1]]) / (near[0] - near[1])
    return int(near[0] + (limit - known[near[0]]) / slope) if slope > 0 else 2 * max(known)
