"""Pictures of a run as PNG files: attention over time, learning curves, lengths.

Figures are made without pyplot, so nothing global is set and no window opens. Each function writes its file and returns
the figure (for TensorBoard). Matplotlib is imported when the first picture is drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1f5fa8", "#d1495b", "#2e8b57", "#e08e0b", "#7a4fa3", "#5c6670")
INK = "#2b2f33"
FAINT = "#d9dde1"
_DPI = 110


def curves(rows: Iterable[Mapping[str, int | float]], *, path: Path, title: str = "") -> "Figure":
    """Loss, error rates in percent, perplexity, attention and learning rate over the steps, a panel each where there are any.

    Args:
        rows: lines of a metrics.jsonl: "step", and metrics by names that end in `loss`, `wer`, `cer`, `cer_no_spaces`,
            `mer`, `perplexity`, `learning_rate`, `attention_diffuse`, `attention_behind` or `attention_collapsed`, such as
            "train/loss" and "dev/wer" (a fraction). Others are left out.
        path: of the PNG.

    Raises:
        ValueError: no such metric in any row.
    """
    series = _series(rows)
    panels = [(kind, {n: xy for n, xy in series.items() if _is_of(n, kind)}) for kind in _PANELS]
    panels = [(kind, found) for kind, found in panels if found]
    if not panels:
        raise ValueError(
            f"no metric to draw: none of {sorted(series)} ends in loss, wer, cer, perplexity or learning_rate"
        )
    heights = [1.4 if kind == ("learning_rate",) else 2.8 for kind, _ in panels]
    figure, every = axes_frame(len(panels), width=9.0, heights=heights, title=title)
    for axes, (kind, found) in zip(every, panels, strict=True):
        _PANELS[kind](axes, found)
        axes.grid(color=FAINT, linewidth=0.6)
        if kind != ("learning_rate",):
            _legend(axes)
    every[-1].set_xlabel("step")
    every[-1].locator_params(axis="x", integer=True)
    every[-1].xaxis.set_major_formatter("{x:,.0f}")
    return save_figure(figure, path)


def error_table(
    errors_rc: Float[np.ndarray, "r c"], *, rows: Sequence[str], columns: Sequence[str], path: Path, title: str = ""
) -> "Figure":
    """Draws error rates as a coloured table, in percent: white without errors, darkest from 100 % on.

    Args:
        errors_rc: shares.
        rows: names, from top to bottom.
        columns: names, from left to right.
        path: of the PNG.

    Raises:
        ValueError: another number of names than of rows or columns.
    """
    if errors_rc.shape != (len(rows), len(columns)):
        raise ValueError(f"errors of shape {errors_rc.shape} for {len(rows)} rows and {len(columns)} columns")
    height = 0.27 * len(rows) + 0.5
    figure, (axes,) = axes_frame(1, width=4.0 + 0.8 * len(columns), heights=[height], title=title)
    axes.imshow(np.sqrt(np.clip(errors_rc, 0.0, 1.0)), aspect="auto", cmap="Reds", vmin=0.0, vmax=1.15)
    for r, c in np.ndindex(*errors_rc.shape):
        error = 100 * errors_rc[r, c]
        text = f"{error:.0f}" if error >= 10 else f"{error:.1f}"
        axes.text(c, r, text, ha="center", va="center", fontsize=8.5, color="white" if error > 60 else INK)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.grid(visible=False)
    return save_figure(figure, path)


def histogram(
    values: Float[np.ndarray, " _"] | Int[np.ndarray, " _"],
    *,
    path: Path,
    unit: str,
    title: str = "",
    edges: Sequence[int | float] = (),
) -> "Figure":
    """Draws a histogram with the median and the largest value; `edges`, of buckets for example, are drawn as lines.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values to draw a histogram of")
    figure, (axes,) = axes_frame(1, width=8.0, heights=[3.2], title=title)
    axes.hist(values, bins=60, color=COLOURS[0], alpha=0.85)
    for number, edge in enumerate(edges):
        axes.axvline(edge, color=COLOURS[1], linewidth=1.0, label="" if number else "edges of the buckets")
    if edges:
        _legend(axes)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel(f"{unit} (median {np.median(values):.3g}, largest {np.max(values):.3g})")
    axes.set_ylabel("number")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return save_figure(figure, path)


Series = dict[str, tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]]  # steps and values, by metric


def _series(rows: Iterable[Mapping[str, int | float]]) -> Series:
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step":
                points.setdefault(name, []).append((float(row["step"]), float(value)))
    arrays = {name: np.array(sorted(pairs)) for name, pairs in points.items()}
    return {name: (steps_values[:, 0], steps_values[:, 1]) for name, steps_values in arrays.items()}


def _is_of(name: str, kind: tuple[str, ...]) -> bool:
    return name.rpartition("/")[2] in kind


def _draw_losses(axes: "Axes", series: Series) -> None:
    """Returns each line as it was, faint, and its moving mean."""
    finite = np.concatenate([values[np.isfinite(values)] for _, values in series.values()])
    for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
        window = len(values) // 40
        if window < 2:
            axes.plot(steps, values, color=colour, linewidth=1.6, label=name, **_dots(len(values)))
            continue
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :], mean, color=colour, linewidth=1.8, label=f"{name}, mean of {window} lines")
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
        axes.locator_params(axis="y", subs=(1.0, 2.0, 5.0))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    axes.set_ylabel("loss")


def _draw_errors(axes: "Axes", series: Series) -> None:
    """Draws error rates in percent and labels the best of each."""
    for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
        percent = 100 * values
        label = name
        if np.isfinite(percent).any():
            best = int(np.nanargmin(np.where(np.isfinite(percent), percent, np.nan)))
            label = f"{name}, best {percent[best]:.1f} % at step {steps[best]:,.0f}"
            axes.plot(steps[best], percent[best], "o", color=colour, markersize=7, markerfacecolor="white", zorder=4)
        axes.plot(steps, percent, color=colour, linewidth=1.6, label=label, **_dots(len(values)))
    shown = 100 * np.concatenate([values[np.isfinite(values)] for _, values in series.values()])
    if len(shown):  # errors over 100 %, as in the beginning, are left out while there are others
        axes.set_ylim(0, max(min(1.1 * shown.max(), max(105.0, 1.3 * shown.min())), 1.0))
    axes.set_ylabel("errors, %")


def _draw_perplexities(axes: "Axes", series: Series) -> None:
    """Perplexities, and the best of each by its figure."""
    for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
        best = int(np.argmin(values))
        label = f"{name}, best {values[best]:.3g} at step {steps[best]:,.0f}"
        axes.plot(steps[best], values[best], "o", color=colour, markersize=7, markerfacecolor="white", zorder=4)
        axes.plot(steps, values, color=colour, linewidth=1.6, label=label, **_dots(len(values)))
    axes.set_ylabel("perplexity")


def _draw_rate(axes: "Axes", series: Series) -> None:
    for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
        axes.plot(steps, values, color=colour, linewidth=1.4, label=name)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning rate")


def _draw_attention(axes: "Axes", series: Series) -> None:
    for (name, (steps, values)), colour in zip(series.items(), _colours(len(series)), strict=True):
        axes.plot(steps, values, color=colour, linewidth=1.6, label=name, **_dots(len(values)))
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("attention, shares")


_PANELS = {
    ("loss",): _draw_losses,
    ("wer", "cer", "cer_no_spaces", "mer"): _draw_errors,
    ("perplexity",): _draw_perplexities,
    ("attention_diffuse", "attention_behind", "attention_collapsed"): _draw_attention,
    ("learning_rate",): _draw_rate,
}


def _dots(points: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if points < 60 else {}


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _legend(axes: "Axes") -> None:
    """Adds a legend above the panel, where it hides no line."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=2,
        fontsize=9,
        labelcolor=INK,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.5,
    )


def axes_frame(
    panels: int, *, width: float, heights: list[float], title: str, shared: bool = True
) -> "tuple[Figure, list[Axes]]":
    """Panels above one another, on one axis if it is shared; heights in inches, labels come on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, sum(heights) + 0.35 * panels + 0.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(panels, 1, sharex=shared, squeeze=False, height_ratios=heights)
    for axes in grid[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        axes.set_axisbelow(True)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, wrap=True, parse_math=False)
    return figure, list(grid[:, 0])


def save_figure(figure: "Figure", path: Path) -> "Figure":
    """Returns the figure, written as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", facecolor="white")
    return figure
