"""Parts of a test set on which two systems are compared: by length, by speaker, by a field of the lines, by word."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64

from jaxasr.score.alignment import Edit
from jaxasr.score.comparison.transcripts import HypothesisRow
from jaxasr.score.significance import Comparison, compare

FEWEST_BLOCKS = 5  # fewer are too few to be drawn
LENGTH_GROUPS = 3

Column = Float64[np.ndarray, " utterances"]


@dataclass(frozen=True)
class Slice:
    """The comparison on a part of the test set."""

    name: str
    utterances: int
    rate_a: float
    rate_b: float
    comparison: Comparison | None  # None: too few utterances to be drawn


def slices(
    rows: Sequence[HypothesisRow],
    errors_a: Column,
    errors_b: Column,
    words: Column,
    blocks: Sequence[Hashable],
    fields: Sequence[str] = (),
) -> tuple[Slice, ...]:
    """Returns the comparison on each slice: thirds by length, values of the given fields, speakers.

    Args:
        rows: the utterances.
        errors_a: of the baseline, one number an utterance.
        errors_b: of the other system.
        words: of the references.
        blocks: what is drawn together; a slice with fewer than FEWEST_BLOCKS of them is drawn by utterance.
        fields: of the lines, such as "snr_db".

    Raises:
        ValueError: a line lacks a field.
    """
    groups = {**_by_length(words), **_by_field(rows, fields), **_by_speaker(rows)}
    return tuple(
        _slice(name, members, errors_a, errors_b, words, [blocks[index] for index in members])
        for name, members in groups.items()
    )


def changed_words(a: Sequence[Sequence[Edit]], b: Sequence[Sequence[Edit]]) -> dict[str, int]:
    """Returns by word of the references how much more often b misses it than a (negative: less often).

    Args:
        a: alignments of the baseline.
        b: alignments of the other system, of the same utterances.
    """
    changes: dict[str, int] = {}
    for alignments, sign in ((a, -1), (b, 1)):
        for edits in alignments:
            for edit in edits:
                if edit.kind in ("substitute", "delete"):
                    changes[edit.reference] = changes.get(edit.reference, 0) + sign
    return {word: change for word, change in changes.items() if change}


def _slice(
    name: str, members: list[int], errors_a: Column, errors_b: Column, words: Column, blocks: Sequence[Hashable]
) -> Slice:
    in_a = errors_a[members]
    in_b = errors_b[members]
    total = float(words[members].sum())
    drawn = blocks if len(set(blocks)) >= FEWEST_BLOCKS else members
    drawable = len(set(drawn)) >= FEWEST_BLOCKS and total > 0
    comparison = compare(in_a, in_b, words[members], blocks=drawn) if drawable else None
    return Slice(name, len(members), _rate(in_a, total), _rate(in_b, total), comparison)


def _rate(errors: Column, words: float) -> float:
    count = float(errors.sum())
    return count / words if words else (float("inf") if count else 0.0)


def _by_length(words: Column) -> dict[str, list[int]]:
    limits = np.unique(np.quantile(words, np.arange(1, LENGTH_GROUPS) / LENGTH_GROUPS, method="lower"))
    limits = limits[limits < words.max()]
    bounds = [-1, *limits.astype(int).tolist(), int(words.max())]
    groups: dict[str, list[int]] = {}
    for low, high in pairwise(bounds):
        members = np.flatnonzero((words > low) & (words <= high)).tolist()
        groups[f"{low + 1} to {high} words" if low + 1 < high else f"{high} words"] = members
    return groups


def _by_field(rows: Sequence[HypothesisRow], fields: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for field in fields:
        missing = [row.id for row in rows if field not in row.fields]
        if missing:
            there = sorted({name for row in rows for name in row.fields})
            raise ValueError(
                f"{len(missing)} lines, such as {missing[0]}, have no field {field}; there are: {', '.join(there)}"
            )
        values: set[Any] = {row.fields[field] for row in rows}
        for value in sorted(values, key=lambda value: (type(value).__name__, value)):
            groups[f"{field} {value}"] = [index for index, row in enumerate(rows) if row.fields[field] == value]
    return groups


def _by_speaker(rows: Sequence[HypothesisRow]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(f"speaker {row.speaker or '(not known)'}", []).append(index)
    return groups if len(groups) > 1 else {}
