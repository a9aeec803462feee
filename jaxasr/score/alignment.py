"""Alignment of hypotheses with references, and counts of substitutions, deletions and insertions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

Kind = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class Edit:
    """One column of an alignment; the side that has nothing there is empty."""

    kind: Kind
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Counts:
    """The errors of an utterance or a set, and the length of the reference. Counts can be added."""

    substitutions: int
    deletions: int
    insertions: int
    references: int  # words (or characters) of the reference

    @property
    def errors(self) -> int:
        """The sum of all three kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over reference words. Without any reference word: 0 if nothing was inserted, otherwise infinite."""
        if self.references:
            return self.errors / self.references
        return float("inf") if self.errors else 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.references + other.references,
        )


def total(counts: Iterable[Counts]) -> Counts:
    """Returns the counts of a set."""
    return sum(counts, start=Counts(0, 0, 0, 0))


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[tuple[Edit, ...]]:
    """Returns an alignment with the fewest word errors for each pair. Words are what stands between white space.

    Example: "a b c" against "a x" is equal a, substitute b by x, delete c.
    """
    output = jiwer.process_words(_spaced(references), _spaced(hypotheses))
    rows = zip(output.references, output.hypotheses, output.alignments, strict=True)
    return [tuple(_columns(reference, hypothesis, chunks)) for reference, hypothesis, chunks in rows]


def count_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Returns the word errors of each pair."""
    output = jiwer.process_words(_spaced(references), _spaced(hypotheses))
    return [_count(chunks) for chunks in output.alignments]


def count_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Returns the character errors of each pair. The space between words is a character, as in ESPnet; several count once."""
    output = jiwer.process_characters(_spaced(references), _spaced(hypotheses))
    return [_count(chunks) for chunks in output.alignments]


def _spaced(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()) for text in texts]


def _count(chunks: Iterable[jiwer.AlignmentChunk]) -> Counts:
    lengths = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        said = chunk.ref_end_idx - chunk.ref_start_idx
        heard = chunk.hyp_end_idx - chunk.hyp_start_idx
        lengths[chunk.type] += max(said, heard)
    equal, substituted, deleted, inserted = lengths.values()
    return Counts(substituted, deleted, inserted, references=equal + substituted + deleted)


def _columns(
    reference: Sequence[str], hypothesis: Sequence[str], chunks: Iterable[jiwer.AlignmentChunk]
) -> Iterable[Edit]:
    for chunk in chunks:
        said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for i in range(max(len(said), len(heard))):
            yield Edit(chunk.type, said[i] if said else "", heard[i] if heard else "")  # pyright: ignore[reportArgumentType]
