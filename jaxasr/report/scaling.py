"""Pictures of scaling over devices: throughput and efficiency as curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jaxasr.report import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ScalingPoint(NamedTuple):
    """One measurement."""

    panel: str  # what was measured: each has its own panel of throughput
    line: str  # points of the same panel and line are joined
    devices: int
    rate: float  # amount a second
    efficiency: float | None  # speed-up over the speed-up that there could be; None: one device was not measured


def scaling(points: Sequence[ScalingPoint], *, path: Path, title: str = "", unit: str = "audio s/s") -> "Figure":
    """Draws throughput over the number of devices, a panel per kind of work, and below them the efficiencies.

    Args:
        unit: of the rates.
        path: of the PNG.

    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError("no points to draw; measure one number of devices at least")
    panels = list(dict.fromkeys(point.panel for point in points))
    styles = _styles(points)
    judged = [point for point in points if point.efficiency is not None]
    heights = [2.6] * len(panels) + [2.2] * bool(judged)
    figure, every = pictures.axes_frame(len(heights), width=9.0, heights=heights, title=title)
    for axes, panel in zip(every, panels, strict=False):
        _lines(axes, [(p, p.rate) for p in points if p.panel == panel], styles)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{panel}, {unit}")
    if judged:
        _lines(every[-1], [(p, 100 * p.efficiency) for p in judged if p.efficiency is not None], styles)
        every[-1].axhline(100, color=pictures.INK, linewidth=0.8, linestyle=":")
        every[-1].set_ylim(bottom=0)
        every[-1].set_ylabel("efficiency, %")
    counts = sorted({point.devices for point in points})
    every[-1].set_xscale("log", base=2)
    every[-1].set_xticks(counts, [str(count) for count in counts])
    every[-1].minorticks_off()
    every[-1].set_xlabel("devices")
    return pictures.save_figure(figure, path)


Style = tuple[str, str]  # colour and dashes
_DASHES = ("-", "--", "-.", ":")


def _styles(points: Sequence[ScalingPoint]) -> dict[tuple[str, str], Style]:
    """Returns one for each panel and line, the same in every panel it is drawn in."""
    lines = list(dict.fromkeys((point.panel, point.line) for point in points))
    colours = pictures.COLOURS
    dashes = _DASHES
    return {
        line: (colours[place % len(colours)], dashes[place // len(colours) % len(dashes)])
        for place, line in enumerate(lines)
    }


def _lines(axes: "Axes", measured: Sequence[tuple[ScalingPoint, float]], styles: dict[tuple[str, str], Style]) -> None:
    drawn = list(dict.fromkeys((point.panel, point.line) for point, _ in measured))
    for line in drawn:
        own = sorted((point.devices, value) for point, value in measured if (point.panel, point.line) == line)
        colour, dashes = styles[line]
        axes.plot(
            *zip(*own, strict=True), dashes, color=colour, marker="o", markersize=4.5, linewidth=1.6, label=line[1]
        )
    axes.legend(
        fontsize=8.5,
        labelcolor=pictures.INK,
        facecolor="white",
        edgecolor="none",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    axes.grid(color=pictures.FAINT, linewidth=0.6)
