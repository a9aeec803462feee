"""Pictures of a measurement over settings: a map of two settings, otherwise a profile of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxasr.report import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class RateBounds(NamedTuple):
    """The interval of a rate."""

    low: float
    high: float


class SurfacePoint(NamedTuple):
    """A rate at one setting."""

    setting: Mapping[str, float]
    rate: float
    bounds: RateBounds


def surface(points: Sequence[SurfacePoint], *, path: Path, title: str = "") -> "Figure":
    """Rates in percent over their settings.

    Two settings make a map, a cell a point. Of any other number each has a panel: at each of its values the best rate that
    any values of the others gave, with the interval of that point.

    Args:
        points: at least one, all with the same settings.
        path: of the PNG.

    Raises:
        ValueError: no point, or points of different settings.
    """
    names = {tuple(point.setting) for point in points}
    if len(names) != 1:
        raise ValueError(f"points of the settings {sorted(names)}; one point at least, and the same settings for all")
    (every_name,) = names
    varied = [name for name in every_name if len({point.setting[name] for point in points}) > 1]
    axes_names = tuple(varied or every_name[:1])  # what has one value throughout is no axis
    if len(axes_names) == 2:
        return _map(points, axes_names, path, title)
    figure, panels = pictures.axes_frame(
        len(axes_names), width=7.0, heights=[2.4] * len(axes_names), title=title, shared=False
    )
    for axes, name in zip(panels, axes_names, strict=True):
        _profile(axes, points, name)
    return pictures.save_figure(figure, path)


def _map(points: Sequence[SurfacePoint], names: tuple[str, ...], path: Path, title: str) -> "Figure":
    rows, columns = (sorted({point.setting[name] for point in points}) for name in names)
    rates = np.full((len(rows), len(columns)), np.nan)
    for point in points:
        rates[rows.index(point.setting[names[0]]), columns.index(point.setting[names[1]])] = 100 * point.rate
    size = (max(5.0, 1.2 + 0.85 * len(columns)), max(1.8, 0.55 * len(rows)))
    figure, (axes,) = pictures.axes_frame(1, width=size[0], heights=[size[1]], title=title)
    axes.imshow(rates, aspect="auto", cmap="Blues_r")
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.set_xlabel(names[1])
    axes.set_ylabel(names[0])
    middle = np.nanmean([np.nanmin(rates), np.nanmax(rates)])
    best = np.nanmin(rates)
    for (row, column), rate in np.ndenumerate(rates):
        weight = "bold" if rate == best else "normal"
        colour = "white" if rate < middle else pictures.INK
        axes.text(column, row, f"{rate:.2f}", ha="center", va="center", fontsize=9, color=colour, weight=weight)
    return pictures.save_figure(figure, path)


def _profile(axes: "Axes", points: Sequence[SurfacePoint], name: str) -> None:
    values = sorted({point.setting[name] for point in points})
    best = [min((p for p in points if p.setting[name] == value), key=lambda p: p.rate) for value in values]
    low, rates, high = (np.array([100 * number for number in row]) for row in zip(*map(_numbers, best), strict=True))
    axes.fill_between(values, low, high, color=pictures.COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(values, rates, color=pictures.COLOURS[0], marker="o", markersize=4)
    axes.set_xlabel(name)
    axes.set_ylabel("%")
    axes.grid(color=pictures.FAINT)


def _numbers(point: SurfacePoint) -> tuple[float, float, float]:
    return point.bounds.low, point.rate, point.bounds.high
