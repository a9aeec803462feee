"""The page of a run as one HTML file: latest metrics, warnings, curves, alignments and the experiment."""

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
    """Returns the page as HTML. It loads only the pictures.

    Args:
        metrics: lines of a metrics.jsonl; the last value of each metric is shown with its step.
        warnings: one paragraph each, highlighted.
        pictures: paths relative to the page; the caption is the file's name.
        experiment: the flattened text.
        summary: a line on the whole run.
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
    highlighted = "".join(f'<p class="warning">{escape(warning)}</p>\n' for warning in warnings)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>\n'
        f"<h1>{escape(title)}</h1>\n{summary}{highlighted}{images}"
        f"<h3>metrics, last values</h3>\n<table><tr><th>metric</th><th>value</th><th>step</th></tr>{rows}</table>\n"
        f"<details><summary>experiment</summary><pre>{escape(experiment)}</pre></details></html>\n"
    )
