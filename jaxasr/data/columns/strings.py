"""Sequences of texts that are decoded when they are asked for: one of mapped columns, and several in a row."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import overload

import numpy as np

_AT_ONCE = 65_536  # texts that iteration holds


class Strings(Sequence[str]):
    """A sequence of texts whose UTF-8 lies end to end, as `starts` cuts it, or of the rows of them that are picked.

    Pickled, a sequence of mapped columns is the names of their files: a worker maps them itself.
    """

    def __init__(self, content: np.ndarray, starts: np.ndarray, picked: np.ndarray | None = None):
        self._content = content
        self._starts = starts
        self._picked = picked

    def __len__(self) -> int:
        return len(self._starts) - 1 if self._picked is None else len(self._picked)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]  # raises IndexError, and counts negative ones from the end
        row = i if self._picked is None else int(self._picked[i])
        return self._content[self._starts[row] : self._starts[row + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._decoded(start, min(start + _AT_ONCE, len(self)))

    def __getstate__(self):
        return [_file_or_values(values) for values in (self._content, self._starts)], self._picked

    def __setstate__(self, state):
        columns, self._picked = state
        self._content, self._starts = map(_values, columns)

    def _decoded(self, start: int, stop: int) -> list[str]:
        if self._picked is not None:
            return self[start:stop]
        starts = np.asarray(self._starts[start : stop + 1])
        content = self._content[starts[0] : starts[-1]].tobytes()
        cuts = (starts - starts[0]).tolist()
        return [content[a:b].decode() for a, b in pairwise(cuts)]


class ChainedStrings(Sequence[str]):
    """A row of several sequences of texts, none of them copied."""

    def __init__(self, parts: Sequence[Sequence[str]]):
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        part = bisect_right(self._ends, i)
        return self._parts[part][i - (self._ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from part


def chained(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Returns several sequences of texts as one. Lists become a list."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, list) for part in parts):
        return [line for part in parts for line in part]
    return ChainedStrings(parts)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns several arrays as one. A single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _file_or_values(values: np.ndarray) -> Path | np.ndarray:
    file = getattr(values, "filename", None)
    return Path(file) if file is not None and Path(file).is_file() else np.array(values)


def _values(part: Path | np.ndarray) -> np.ndarray:
    return np.load(part, mmap_mode="r") if isinstance(part, Path) else part
