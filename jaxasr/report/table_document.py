"""A document of tables as Markdown, LaTeX (booktabs) and HTML."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from jaxasr.report import tables

_WIDTH = 120  # of notes in Markdown
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#2b2f33;max-width:90rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;border-top:2px solid;border-bottom:2px solid;margin:.5em 0}"
    "th{border-bottom:1px solid;text-align:left}td,th{padding:.15em .9em .15em 0;font-variant-numeric:tabular-nums}"
    ".figure{text-align:right}.proxy{background:#fdf6e3;border-left:4px solid #e08e0b;padding:.1em 1em}"
)
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


@dataclass(frozen=True)
class Grid:
    """One table: a header and rows of cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""  # above it


@dataclass(frozen=True)
class TableSection:
    """The tables under one heading."""

    title: str
    grids: tuple[Grid, ...]
    remarks: tuple[str, ...] = ()  # below the first table
    is_proxy: bool = False


@dataclass(frozen=True)
class TableDocument:
    """A title, sections of tables, and notes on all of them."""

    title: str
    sections: tuple[TableSection, ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """Returns the document as Markdown, without a line end."""
        lines = [f"# {self.title}"]
        for section in self.sections:
            lines += ["", f"## {section.title}", ""]
            for index, grid in enumerate(section.grids):
                lines += ["", grid.note, ""] if grid.note else []
                lines.append(tables.markdown(grid.header, grid.rows))
                lines += [f"\n{remark}" for remark in section.remarks] if not index else []
        wrapped = (textwrap.fill(note, _WIDTH, subsequent_indent="  ") for note in map("* {}".format, self.notes))
        return "\n".join([*lines, "", *wrapped])

    def latex(self) -> str:
        r"""Returns the document as `table` environments of LaTeX for \input; they need \usepackage{booktabs}."""
        lines = [f"% {self.title}", r"% \usepackage{booktabs}"]
        for section in self.sections:
            for grid in section.grids:
                lines += ["", *_latex_table(section, grid)]
        lines += ["", *(f"% {line}" for note in self.notes for line in textwrap.wrap(note, _WIDTH))]
        return "\n".join(lines)

    def html(self) -> str:
        """Returns the document as a page that loads nothing else."""
        body = "\n".join(map(_html_section, self.sections))
        notes = "".join(f"<li>{escape(note)}</li>\n" for note in self.notes)
        return (
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f"<style>{_STYLE}</style>\n<h1>{escape(self.title)}</h1>\n{body}\n<ul>\n{notes}</ul></html>"
        )


def _latex_table(section: TableSection, grid: Grid) -> Iterator[str]:
    places = "".join("r" if right else "l" for right in _right(grid))
    caption = " ".join(filter(None, (f"{section.title}.", grid.note, *section.remarks)))
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{latex_escaped(caption)}}}"
    yield rf"\begin{{tabular}}{{{places}}}"
    yield r"\toprule"
    yield _latex_row(grid.header)
    yield r"\midrule"
    yield from map(_latex_row, grid.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _latex_row(cells: Sequence[str]) -> str:
    """Returns a line; a cell that begins with "[" is put into braces, because it may follow a line break."""
    escaped = (latex_escaped(cell) for cell in cells)
    return " & ".join(f"{{{cell}}}" if cell.startswith("[") else cell for cell in escaped) + r" \\"


def latex_escaped(text: str) -> str:
    """Returns a text in which no character has a meaning to LaTeX."""
    return re.sub(r"[\\~^<>&%$#_{}]", lambda found: _LATEX_ESCAPES[found[0]], text.replace("\n", " "))


def _html_section(section: TableSection) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    for index, grid in enumerate(section.grids):
        parts += [f"<p>{escape(grid.note)}</p>"] if grid.note else []
        head = _html_row(grid.header, _right(grid), "th")
        body = "".join(_html_row(row, _right(grid), "td") for row in grid.rows)
        parts.append(f"<table>\n<thead>{head}</thead>\n<tbody>{body}</tbody>\n</table>")
        parts += [f"<p>{escape(remark)}</p>" for remark in section.remarks] if not index else []
    kind = ' class="proxy"' if section.is_proxy else ""
    return f"<section{kind}>\n" + "\n".join(parts) + "\n</section>"


def _html_row(cells: Sequence[str], right: Sequence[bool], tag: str) -> str:
    return (
        "<tr>"
        + "".join(
            f"<{tag}{' class=figure' if is_figure else ''}>{escape(cell)}</{tag}>"
            for cell, is_figure in zip(cells, right, strict=True)
        )
        + "</tr>\n"
    )


def _right(grid: Grid) -> list[bool]:
    return tables.figure_columns(grid.rows) or [False] * len(grid.header)
