"""Parts of a table file, and tables in Markdown, aligned so that they read well as text too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

Mark = Literal["C", "C2", "D", "M"]
MARKS = {
    "C": "read in a primary source",
    "C2": "read in a secondary source only",
    "D": "derived by arithmetic from figures marked [C]",
    "M": "from memory, not confirmed: shown as unconfirmed and compared with nothing",
}


@dataclass(frozen=True)
class Cell:
    """A published figure, and how certain it is that it was published."""

    percent: str  # as it is printed there: "10.0"
    mark: Mark

    def __post_init__(self):
        if self.mark not in get_args(Mark):
            raise ValueError(f"Cell({self.percent!r}, {self.mark!r}): the mark is one of {', '.join(MARKS)}")
        try:
            float(self.percent)
        except ValueError:
            raise ValueError(f"Cell({self.percent!r}, ...): a figure in percent is needed, such as '6.8'") from None

    @property
    def confirmed(self) -> float | None:
        """The value in percent; None if it is unconfirmed."""
        return None if self.mark == "M" else float(self.percent)

    @property
    def shown(self) -> str:
        """The text of the cell."""
        return f"unconfirmed ({self.percent}?)" if self.mark == "M" else f"{self.percent} [{self.mark}]"


@dataclass(frozen=True)
class Column:
    """A figure that a table has of each row: an error rate on a split."""

    name: str  # in the table, and in `Row.paper`
    split: str = ""  # of our rows; the name if empty
    metric: Literal["wer", "cer", "cer_no_spaces", "mer", "ser"] = "wer"
    other_data: str = ""  # what the published figures were measured on, where it isn't this split: no difference then
    proxy: str = (
        ""  # the corpus that stands in for the published one: the runs are `Row.proxy_runs`, with no difference
    )
    proxy_of: str = ""  # the column whose published order the proxy is compared with

    def __post_init__(self):
        texts = (self.name, self.split, self.other_data, self.proxy, self.proxy_of)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"Column({self.name!r}, ...): name, split, other_data, proxy and proxy_of are texts")
        if self.proxy_of and not self.proxy:
            raise ValueError(
                f"Column({self.name!r}, proxy_of={self.proxy_of!r}): name the corpus of the proxy (proxy=...)"
            )


@dataclass(frozen=True)
class Row:
    """A system: what was published, and which of our runs stand for it."""

    label: str
    runs: str | tuple[str, ...] = ()  # names, with * and ? as in a shell; one run a seed
    paper: Mapping[str, Cell | None] = field(default_factory=dict)  # by column; None: the paper has no figure
    baseline: bool = False  # True: the other rows are compared with this one
    proxy_runs: str | tuple[str, ...] = ()  # names of the runs in the columns with a proxy

    def __post_init__(self):
        runs = (*_as_tuple(self.runs), *_as_tuple(self.proxy_runs))
        if not isinstance(self.label, str) or not all(isinstance(run, str) for run in runs):
            raise ValueError(f"Row({self.label!r}, {self.runs!r}, ...): a label and the names of runs are texts")
        if not isinstance(self.paper, Mapping) or not all(isinstance(c, Cell | None) for c in self.paper.values()):
            raise ValueError(f"Row({self.label!r}, ...): paper is {self.paper!r}; a Cell or None by column is needed")

    def patterns(self, column: Column) -> tuple[str, ...]:
        """Returns the names of its runs in a column."""
        return _as_tuple(self.proxy_runs if column.proxy else self.runs)


def cells(columns: Sequence[Column], percents: str, mark: Mark) -> dict[str, Cell]:
    """Returns the published figures of a row, in the order of the columns: `cells(COLUMNS, "2.1 4.3", "C2")`.

    Raises:
        ValueError: there are more or fewer than columns.
    """
    return {column.name: Cell(percent, mark) for column, percent in zip(columns, percents.split(), strict=True)}


def _as_tuple(runs: str | tuple[str, ...]) -> tuple[str, ...]:
    return (runs,) if isinstance(runs, str) else runs


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table whose columns are aligned; a column of figures only (an empty cell counts as one) stands to the right.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} cells under a header of {len(header)}: {list(row)}")
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    right = figure_columns(rows) or [False] * len(header)
    rule = ["-" * (width - 1) + (":" if to_right else "-") for width, to_right in zip(widths, right, strict=True)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(
        "| " + " | ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)) + " |"
        for line in lines
    )


def figure_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Returns True for each column of figures only, which stands to the right; an empty cell counts as a figure."""
    return [any(column) and all(map(_is_figure, column)) for column in zip(*rows, strict=True)]


def _is_figure(cell: str) -> bool:
    return not cell or cell.lstrip("+-~<>≤≥ ")[:1].isdecimal()
