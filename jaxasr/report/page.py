"""The page of a run as one HTML file that loads nothing: results, warnings, curves, errors with sound, speed, experiment."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

MOST_BYTES = 5_000_000  # of a page; sounds and then pictures that do not fit are left out, and named

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#2b2f33;max-width:64rem;margin:1rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:1.6em 0 .4em}"
    "img{max-width:100%;height:auto}audio{width:100%;max-width:28rem;height:2.2em}"
    ".wide{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.15em 1.2em .15em 0;font-weight:400;white-space:nowrap}th{color:#6b7378}"
    "td{font-variant-numeric:tabular-nums}.warning{background:#fdecea;border-left:4px solid #d1495b;padding:.3em 1em}"
    ".utterance{border-top:1px solid #dfe3e6;padding:.5em 0}.utterance p{margin:.2em 0;overflow-wrap:anywhere}"
    ".faint{color:#6b7378}pre{font-size:12px;overflow-x:auto}"
)
_VIEWPORT = '<meta name="viewport" content="width=device-width,initial-scale=1">'


@dataclass(frozen=True)
class Table:
    """A table of a page."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_open: bool = True  # False: it opens on a click


@dataclass(frozen=True)
class AudibleUtterance:
    """An utterance on a page, with its sound."""

    heading: str
    reference: str
    hypothesis: str
    flac: bytes = b""  # a whole FLAC file; empty: without sound


@dataclass(frozen=True)
class PageContents:
    """The parts of a page, from top to bottom."""

    title: str
    lines: Sequence[str] = ()  # about the run as a whole
    warnings: Sequence[str] = ()  # one paragraph each, highlighted
    tables: Sequence[Table] = ()
    pictures: Sequence[Path] = ()  # PNG files; the caption is the name
    utterances: Sequence[AudibleUtterance] = ()
    links: Mapping[str, str] = field(default_factory=dict)  # texts by path relative to the page
    experiment: str = ""  # the flattened text


def page(contents: PageContents, *, most_bytes: int = MOST_BYTES) -> str:
    """Returns the page as HTML. Pictures and sounds are in it; only links lead out of it."""
    room = most_bytes - len(contents.experiment.encode()) - 200_000  # for the texts
    pictures: list[str] = []
    for path in contents.pictures:
        data = base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
        if data and len(data) <= room:
            room -= len(data)
            name = escape(path.stem)
            pictures.append(f'<h2>{name}</h2>\n<img src="data:image/png;base64,{data}" alt="{name}">\n')
        elif data:
            pictures.append(f'<p class="faint">{escape(path.name)} is left out: the page would be too large</p>\n')
    spoken: list[str] = []
    for utterance in contents.utterances:
        data = base64.b64encode(utterance.flac).decode()
        if len(data) > room:
            sound = '<p class="faint">its sound is left out: the page would be too large</p>'
        else:
            room -= len(data)
            sound = f'<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio>' if data else ""
        spoken.append(_utterance(utterance, sound))
    title = escape(contents.title)
    lines = "".join(f"<p>{escape(line)}</p>\n" for line in contents.lines)
    warnings = "".join(f'<p class="warning">{escape(warning)}</p>\n' for warning in contents.warnings)
    links = " \u00b7 ".join(f'<a href="{escape(path)}">{escape(text)}</a>' for path, text in contents.links.items())
    tables = [_table(table) for table in contents.tables]
    shown = [text for text, table in zip(tables, contents.tables, strict=True) if table.is_open]
    folded = [text for text, table in zip(tables, contents.tables, strict=True) if not table.is_open]
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{_VIEWPORT}<title>{title}</title><style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n{lines}{warnings}{''.join(shown)}{f'<p>{links}</p>' if links else ''}\n"
        f"{''.join(pictures)}{'<h2>most errors</h2>' if spoken else ''}\n{''.join(spoken)}{''.join(folded)}"
        f"<details><summary>experiment</summary><pre>{escape(contents.experiment)}</pre></details></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows)
    inner = f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>\n'
    if table.is_open:
        return f"<h2>{escape(table.title)}</h2>\n{inner}"
    return f"<details><summary>{escape(table.title)}</summary>{inner}</details>\n"


def _utterance(utterance: AudibleUtterance, sound: str) -> str:
    return (
        f'<div class="utterance"><p class="faint">{escape(utterance.heading)}</p>'
        f"<p>{escape(utterance.reference)}</p><p><b>{escape(utterance.hypothesis) or '(nothing)'}</b></p>{sound}</div>\n"
    )
