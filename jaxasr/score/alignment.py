"""Which words of a hypothesis stand for which words of its reference, and how many stand for none."""

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
    """Errors, and what they are counted against. Sums of counts are the counts of a set."""

    substitutions: int
    deletions: int
    insertions: int
    references: int  # words (or characters) of the reference

    @property
    def errors(self) -> int:
        """All three kinds."""
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
    """The counts of a set."""
    return sum(counts, start=Counts(0, 0, 0, 0))


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[tuple[Edit, ...]]:
    """An alignment with the fewest word errors for each pair. Words are what stands between white space.

    Example: "a b c" against "a x" is equal a, substitute b by x, delete c.
    """
    return _edits(jiwer.process_words(_spaced(references), _spaced(hypotheses)))


def align_characters(references: Sequence[str], hypotheses: Sequence[str]) -> list[tuple[Edit, ...]]:
    """The same for characters. The space between words is one of them, as in ESPnet; runs of white space are one space."""
    return _edits(jiwer.process_characters(_spaced(references), _spaced(hypotheses)))


def count(edits: Iterable[Edit]) -> Counts:
    """The errors of an alignment."""
    kinds = [edit.kind for edit in edits]
    return Counts(
        substitutions=kinds.count("substitute"),
        deletions=kinds.count("delete"),
        insertions=kinds.count("insert"),
        references=len(kinds) - kinds.count("insert"),
    )


def _spaced(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()) for text in texts]


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> list[tuple[Edit, ...]]:
    rows = zip(output.references, output.hypotheses, output.alignments, strict=True)
    return [tuple(_columns(reference, hypothesis, chunks)) for reference, hypothesis, chunks in rows]


def _columns(
    reference: Sequence[str], hypothesis: Sequence[str], chunks: Iterable[jiwer.AlignmentChunk]
) -> Iterable[Edit]:
    for chunk in chunks:
        said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for i in range(max(len(said), len(heard))):
            yield Edit(chunk.type, said[i] if said else "", heard[i] if heard else "")  # pyright: ignore[reportArgumentType]
