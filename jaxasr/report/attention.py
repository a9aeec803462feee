"""The picture of attention over time, below the spectrogram of the same audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxasr.report.pictures import INK, axes_frame, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def alignment(
    weights_us: Float[np.ndarray, "u s"],
    *,
    tokens: Sequence[str],
    seconds: float,
    path: Path,
    title: str = "",
    levels_ft: Float[np.ndarray, "f t"] | None = None,
) -> "Figure":
    """Draws attention weights: a row per token from top to bottom, time from left to right, dark = large weight.

    With `levels_ft` the spectrogram of the same time stands above it.

    Args:
        weights_us: attention, the mean over heads if there are several.
        tokens: what each row wrote; a blank is drawn as ·.
        seconds: of the whole time axis.
        path: of the PNG.
        levels_ft: the spectrogram in dB, low frequencies first; None: there is no panel of it.

    Raises:
        ValueError: another number of tokens than of rows, or none.
    """
    rows = len(weights_us)
    if len(tokens) != rows or not weights_us.size:
        raise ValueError(f"{len(tokens)} tokens for weights of shape {weights_us.shape}; a row a token is needed")
    row_inch = min(0.17, max(7.0 / rows, 0.12))  # long sentences are written smaller, down to 0.12 inch a row
    height = float(np.clip(row_inch * rows, 1.2, 40.0))
    width = float(np.clip(4.0 + 0.9 * seconds, 7.0, 16.0))
    heights = [height] if levels_ft is None else [1.3, height]
    figure, (*above, axes) = axes_frame(len(heights), width=width, heights=heights, title=title)
    for panel in above:
        _draw_spectrogram(panel, np.asarray(levels_ft, np.float32), float(seconds))
    image = axes.imshow(
        np.asarray(weights_us, np.float32),
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0.0,
        vmax=max(float(weights_us.max()), 1e-6),
        extent=(0.0, float(seconds), rows - 0.5, -0.5),
    )
    every = -(-rows // int(40.0 / row_inch))  # all of them, but where hundreds don't fit
    labels = [token.replace(" ", "·") for token in tokens[::every]]
    axes.set_yticks(range(0, rows, every), labels, fontsize=53 * row_inch, fontfamily="monospace", parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds")
    bar = figure.colorbar(image, ax=axes, pad=0.015, fraction=0.04, aspect=max(10.0, 6 * height))
    bar.set_label("attention", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=9, length=0)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return save_figure(figure, path)


def _draw_spectrogram(axes: "Axes", levels_ft: Float[np.ndarray, "f t"], seconds: float) -> None:
    """Draws levels in dB over time, the loudest 60 dB of them."""
    loudest = float(levels_ft.max())
    axes.imshow(
        levels_ft,
        aspect="auto",
        origin="lower",
        cmap="Greys",
        vmin=loudest - 60.0,
        vmax=loudest,
        extent=(0.0, seconds, 0.0, 1.0),
    )
    axes.set_yticks([])
    axes.set_ylabel("frequency")
