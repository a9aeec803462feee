"""Reliability diagrams: confidences against the fraction of correct words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxasr.report.pictures import COLOURS, FAINT, axes_frame, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[int, float, float]  # words of a bin, their mean confidence, the share of them that is right


def reliability(series: Mapping[str, Sequence[Point]], *, path: Path, title: str = "") -> "Figure":
    """Draws a line per series, which lies on the diagonal for calibrated confidences, and a histogram of words below it.

    Args:
        series: bins by name, such as "before" and "after", in the order of their confidences.
        path: of the PNG.

    Raises:
        ValueError: there are no words in any.
    """
    if not any(words for points in series.values() for words, _, _ in points):
        raise ValueError("no words to draw the reliability of")
    figure, (above, below) = axes_frame(2, width=6.0, heights=[4.6, 1.6], title=title)
    above.plot([0.0, 1.0], [0.0, 1.0], color=FAINT, linewidth=1.2, zorder=1)
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        words, confidences, right = zip(*points, strict=True)
        above.plot(confidences, right, "o-", color=colour, linewidth=1.6, markersize=5, label=name)
        below.plot(confidences, words, "o-", color=colour, linewidth=1.2, markersize=4)
    above.set_ylabel("share of words that are right")
    above.set_xlim(-0.02, 1.02)
    above.set_ylim(-0.02, 1.02)
    above.legend(fontsize=9, edgecolor="none", loc="upper left")
    below.set_yscale("log")
    below.set_ylabel("words")
    below.set_xlabel("confidence")
    for axes in (above, below):
        axes.grid(color=FAINT, linewidth=0.6)
    return save_figure(figure, path)
