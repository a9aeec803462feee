"""How far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.progress

T = TypeVar("T")
_LINE_EVERY_S = 15.0


def track(items: Iterable[T], *, what: str, expected: int | None, unit: str) -> Iterator[T]:
    """Gives the items on, and shows how many there were, the rate and (if `expected` is known) the time left."""
    yield from (_bar if sys.stderr.isatty() else _lines)(items, what, expected, unit)


def _bar(items: Iterable[T], what: str, expected: int | None, unit: str) -> Iterator[T]:
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn(unit + " {task.fields[rate]}"),
        rich.progress.TimeRemainingColumn(),
    )
    start = time.monotonic()
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as progress:
        task = progress.add_task(what, total=expected, rate="")
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done, rate=f"{done / (time.monotonic() - start + 1e-9):.0f}/s")


def _lines(items: Iterable[T], what: str, expected: int | None, unit: str) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _LINE_EVERY_S:
            rate, last = done / (now - start), now
            left = f" of {expected}, {(expected - done) / rate:.0f} s left" if expected else ""
            print(f"{what}: {done}{left}, {rate:.0f} {unit}/s", file=sys.stderr, flush=True)
