"""The picture of a fitted scaling law: points and curves with bands, and the compute-optimal frontier below them."""
# pyright: standard, reportUnknownMemberType=false

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from jaxasr.report import pictures
from jaxasr.score.scaling_law.bootstrap import LawFit, Prediction
from jaxasr.score.scaling_law.frontier import Frontier
from jaxasr.score.scaling_law.points import MEANINGS, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVE_POINTS = 80
_BEYOND = 1.5  # how far curves reach beyond the points
_MOST_CURVES = 8


def draw_law(
    fit: LawFit, held_out: Sequence[Prediction], optimal: Frontier | None, *, path: Path, title: str = ""
) -> "Figure":
    """Draws the errors over the last variable, a curve for each value of the first; and the frontier over compute.

    Args:
        fit: the law and its points.
        held_out: runs that were predicted: hollow circles, with the band of a new run.
        optimal: of a law of N and D; None: there is no second panel.
        path: of the PNG.
        title: above the panels.
    """
    figure, (axes, *below) = pictures.axes_frame(
        2 if optimal else 1, width=9.0, heights=[4.2, 3.2] if optimal else [4.2], title=title, shared=False
    )
    _draw_curves(axes, fit, held_out)
    for panel in below:
        if optimal:
            _draw_frontier(panel, fit, optimal)
    return pictures.save_figure(figure, path)


def _draw_curves(axes: "Axes", fit: LawFit, held_out: Sequence[Prediction]) -> None:
    *first, last = fit.variables
    points = [*fit.points, *(found.point for found in held_out)]
    values = [point.inputs[last] for point in points]
    grid = np.geomspace(min(values) / _BEYOND, max(values) * _BEYOND, _CURVE_POINTS)
    sizes = sorted({point.inputs[first[0]] for point in points}) if first else [0.0]
    axes.plot(
        [point.inputs[last] for point in fit.points], [point.error for point in fit.points], "o", color=pictures.FAINT
    )
    for size, colour in zip(_some(sizes), _colours(len(sizes)), strict=False):
        inputs = np.stack([np.full(len(grid), size), grid], axis=1) if first else grid[:, None]
        axes.plot(grid, fit.law.error(inputs), color=colour, linewidth=1.6, label=_label(first, size))
        axes.fill_between(grid, *fit.curve(inputs), color=colour, alpha=0.13, linewidth=0)
        own = [point for point in fit.points if not first or point.inputs[first[0]] == size]
        axes.plot([p.inputs[last] for p in own], [p.error for p in own], "o", color=colour, markersize=5)
        for found in held_out:
            if not first or found.point.inputs[first[0]] == size:
                _draw_prediction(axes, found, found.point.inputs[last], colour)
    _finish(axes, f"{last}: {MEANINGS[last]}", "error")
    axes.legend(
        fontsize=8.5,
        labelcolor=pictures.INK,
        facecolor="white",
        edgecolor="none",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )


def _draw_prediction(axes: "Axes", found: Prediction, x: float, colour: str) -> None:
    """Draws a held-out run as a hollow circle, and the band of a new run as a bar."""
    below = found.error - found.new_run.low
    above = found.new_run.high - found.error
    axes.errorbar(
        [x], [found.error], yerr=[[max(below, 0.0)], [max(above, 0.0)]], color=colour, capsize=4, linewidth=1.2
    )
    axes.plot([x], [found.point.error], "o", color=colour, markersize=8, markerfacecolor="white", zorder=4)


def _draw_frontier(axes: "Axes", fit: LawFit, optimal: Frontier) -> None:
    computes = np.array([found.best.compute for found in optimal.allocations])
    best = [found.best.error for found in optimal.allocations]
    low = [found.error.low for found in optimal.allocations]
    high = [found.error.high for found in optimal.allocations]
    axes.plot(computes, best, color=pictures.COLOURS[0], linewidth=1.6)
    axes.fill_between(computes, low, high, color=pictures.COLOURS[0], alpha=0.13, linewidth=0)
    axes.plot(
        _spent(fit.points, optimal.unit.flops), [p.error for p in fit.points], "o", color=pictures.INK, markersize=4
    )
    for found in optimal.allocations[:: max(1, len(computes) // 6)]:
        label = f"N {found.best.parameters:.1e}\nD {found.best.hours:.2g}"
        axes.annotate(
            label,
            (found.best.compute, found.best.error),
            xytext=(0, -24),
            textcoords="offset points",
            fontsize=7.5,
            color=pictures.INK,
            ha="center",
        )
    axes.set_ylim(bottom=0.8 * min(low))  # room for the last label
    unit = "parameter-hours" if optimal.unit.flops == 1 else "FLOPs of training"
    _finish(axes, f"C: {unit}; the line divides it best", "error")


def _finish(axes: "Axes", x: str, y: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    shown = labelled_digits(*axes.get_ylim())
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in shown else "")
    axes.tick_params(axis="y", which="minor", labelsize=7.5)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=pictures.FAINT, linewidth=0.6, which="both")


def labelled_digits(low: float, high: float) -> str:
    """Returns the first digits of the minor ticks that have room for a label on a logarithmic axis."""
    decades = math.log10(high / low)
    return "23456789" if decades < 1.2 else "25" if decades < 3 else ""


def _spent(points: Sequence[Point], unit: float) -> Float64[np.ndarray, " n"]:
    return np.array([point.inputs.get("C", unit * point.inputs["N"] * point.inputs["D"]) for point in points])


def _some(sizes: Sequence[float]) -> list[float]:
    """Returns at most `_MOST_CURVES` of the sizes, the first and the last among them."""
    if len(sizes) <= _MOST_CURVES:
        return list(sizes)
    places = np.unique(np.linspace(0, len(sizes) - 1, _MOST_CURVES).round().astype(int))
    return [sizes[place] for place in places]


def _colours(count: int) -> list[str]:
    return [pictures.COLOURS[index % len(pictures.COLOURS)] for index in range(count)]


def _label(first: Sequence[str], size: float) -> str:
    return f"{first[0]} = {size:.3g}" if first else "law"
