"""Histograms drawn with characters."""

import itertools
import math
import shutil
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

_EIGHTHS = " ▏▎▍▌▋▊▉"


def text_histogram(
    values: Float[np.ndarray, " _"] | Int[np.ndarray, " _"],
    *,
    bins: int | Sequence[int | float] = 12,
    unit: str = "",
    width: int | None = None,
) -> list[str]:
    """Lines such as ` 2 -  4 s  ██████▌      1,234  12.3 %`, one a bin.

    Args:
        values: finite numbers.
        bins: their edges, rising; or about how many there should be, with edges at round numbers. Values outside of
            given edges are counted in a line before or after. A value on an edge is in the upper bin, but for the last.
        unit: of the values.
        width: columns of a line; those of the terminal if left out.

    Raises:
        ValueError: a value isn't finite, or the edges don't rise.
    """
    if not len(values):
        return ["no values"]
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite")
    edges = np.asarray(_round_edges(values, bins) if isinstance(bins, int) else bins, dtype=float)
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise ValueError(f"edges of bins must rise, and be two at least; these are {edges.tolist()}")
    counts = np.histogram(values, edges)[0].tolist()
    texts = [f"{edge:.10g}" for edge in edges]
    size = max(map(len, texts))
    labels = [f"{low:>{size}} - {high:>{size}} {unit}" for low, high in itertools.pairwise(texts)]
    below = int((values < edges[0]).sum())
    above = int((values > edges[-1]).sum())
    if below:
        counts = [below, *counts]
        labels = [f"{'<':>{size + 2}} {texts[0]:>{size}} {unit}", *labels]
    if above:
        counts = [*counts, above]
        labels = [*labels, f"{'>':>{size + 2}} {texts[-1]:>{size}} {unit}"]
    return _lines(labels, counts, width or shutil.get_terminal_size().columns)


def _lines(labels: list[str], counts: list[int], width: int) -> list[str]:
    figures = [f"{count:,}" for count in counts]
    size = max(map(len, figures))
    room = max(8, width - len(labels[0]) - size - len("      100.0 %"))
    full = max(counts)
    total = sum(counts)
    return [
        f"{label}  {_bar(count / full, room)}  {figure:>{size}}  {count / total:6.1%}".replace("%", " %")
        for label, count, figure in zip(labels, counts, figures, strict=True)
    ]


def _bar(share: float, room: int) -> str:
    """Returns a bar in steps of an eighth of a character; whatever isn't nothing shows."""
    eighths = max(round(share * room * 8), int(share > 0))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(room)[:room]


def _round_edges(values: Float[np.ndarray, " _"] | Int[np.ndarray, " _"], bins: int) -> list[float]:
    """Edges at multiples of 1, 2 or 5 times a power of ten."""
    low = float(values.min())
    high = float(values.max())
    finest = max(1e-12, 1e-9 * max(abs(low), abs(high)))  # edges have to differ when written
    rough = max((high - low) / bins or 1.0, finest)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step)
    last = math.floor(high / step) + 1
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
