"""The page of a run: where it stands, what it was warned of, its curves and alignments, and what it is. One HTML file."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#2b2f33;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%}td,th{text-align:left;padding:0 1.5em 0 0}td{font-variant-numeric:tabular-nums}"
    ".warning{background:#fdecea;border-left:4px solid #d1495b;padding:.3em 1em}pre{font-size:12px}"
)


def page(
    title: str,
    *,
    metrics: Sequence[Mapping[str, int | float]],
    warnings: Sequence[str],
    pictures: Sequence[Path],
    experiment: str,
    summary: str = "",
) -> str:
    """The page as HTML. It loads nothing but the pictures.

    Args:
        metrics: lines of a metrics.jsonl; the last value of each metric is shown, and its step.
        warnings: what a reader must not miss, one paragraph each.
        pictures: their paths as the page sees them; the caption is the file's name.
        experiment: the flattened text.
        summary: a line on the run as a whole.
    """
    latest = {name: (row["step"], value) for row in metrics for name, value in row.items() if name != "step"}
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:.4g}</td><td>{step:,}</td></tr>"
        for name, (step, value) in sorted(latest.items())
    )
    images = "".join(
        f'<h3>{escape(path.stem)}</h3>\n<img src="{escape(path.as_posix())}" alt="{escape(path.stem)}">\n'
        for path in pictures
    )
    summary = f"<p>{escape(summary)}</p>\n" if summary else ""
    told = "".join(f'<p class="warning">{escape(each)}</p>\n' for each in warnings)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>\n'
        f"<h1>{escape(title)}</h1>\n{summary}{told}{images}"
        f"<h3>metrics, last values</h3>\n<table><tr><th>metric</th><th>value</th><th>step</th></tr>{rows}</table>\n"
        f"<details><summary>experiment</summary><pre>{escape(experiment)}</pre></details></html>\n"
    )
