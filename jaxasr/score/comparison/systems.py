"""Comparison of two systems on one test set with every test that applies."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from jaxasr.score.alignment import Edit, align_words
from jaxasr.score.comparison.paired_tests import (
    approximate_randomisation,
    block_sums,
    detectable_difference,
    mapsswe_segments,
    mcnemar,
)
from jaxasr.score.comparison.seeds import TTest, VarianceParts, t_test, variance_parts
from jaxasr.score.comparison.slices import FEWEST_BLOCKS, Slice, changed_words, slices
from jaxasr.score.comparison.transcripts import HypothesisRow, check_same_references, read_transcripts
from jaxasr.score.significance import RESAMPLES, Comparison, Interval, compare, matched_pairs


@dataclass(frozen=True)
class System:
    """A recogniser, or a recipe that was trained several times: the transcripts of each run."""

    name: str
    runs: tuple[dict[str, HypothesisRow], ...]  # by utterance id

    @classmethod
    def read(cls, name: str, paths: Sequence[Path], reference: Path | None = None) -> "System":
        """Returns the system of the given files, one a run. Errors are those of `read_transcripts`."""
        runs = tuple(read_transcripts(path, reference) for path in paths)
        for path, run in zip(paths[1:], runs[1:], strict=True):
            check_same_references(paths[0], runs[0], path, run)
        return cls(name, runs)

    @property
    def transcripts(self) -> list[HypothesisRow]:
        """The transcripts of the first run. Ids, speakers and references are those of every run."""
        return list(self.runs[0].values())

    @cached_property
    def alignments(self) -> list[list[tuple[Edit, ...]]]:
        """The alignment of each utterance with its reference, by run, in the order of `transcripts`."""
        references = [row.reference for row in self.transcripts]
        return [align_words(references, [run[row.id].hypothesis for row in self.transcripts]) for run in self.runs]

    @cached_property
    def errors(self) -> Float64[np.ndarray, "runs utterances"]:
        """The word errors of each run in each utterance."""
        counts = [[sum(edit.kind != "equal" for edit in edits) for edits in run] for run in self.alignments]
        return np.array(counts, np.float64)

    def in_order_of(self, other: "System") -> "System":
        """Returns this system with its utterances in the order of another's."""
        return System(self.name, tuple({id: run[id] for id in other.runs[0]} for run in self.runs))


@dataclass(frozen=True)
class SystemComparison:
    """The comparison of a system b with the baseline a. Rates and differences are errors over words of the reference.

    A p-value is two-sided. Tests of single runs (MAPSSWE, McNemar) are None if a system has several.
    """

    baseline: str
    system: str
    runs: tuple[int, int]  # of both
    utterances: int
    words: int
    blocks: str  # what is drawn and exchanged together: "speakers" or "utterances"
    block_count: int
    rate_a: float
    rate_b: float
    bootstrap: Comparison
    randomisation: float  # p-value
    mapsswe: float | None  # p-value
    segments: int  # that MAPSSWE counts
    mcnemar: float | None  # p-value
    detectable: float  # the smallest difference that is shown with a probability of 80 %
    t_test: TTest  # over blocks, and over the seeds of a system with several runs
    variance: VarianceParts | None  # of one run of b (of a if b has one); None: it cannot be split
    slices: tuple[Slice, ...]
    words_changed: dict[str, int]  # how much more often b misses a word, over all runs; empty if runs differ in number

    @property
    def difference(self) -> float:
        """The error rate of b less that of a."""
        return self.rate_b - self.rate_a

    @property
    def interval(self) -> Interval:
        """The interval of the difference, of the t test."""
        return self.t_test.interval

    @property
    def better(self) -> float:
        """The share of resampled test sets on which b makes fewer errors: the probability of improvement."""
        return self.bootstrap.better

    @property
    def p_value(self) -> float:
        """The p-value that decides, of the t test."""
        return self.t_test.p_value


def compare_hypotheses(
    a: str | Path, b: str | Path, *, reference: str | Path | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> SystemComparison:
    """Compares the word errors of system b with those of system a on the same utterances.

    Args:
        a: hypotheses of the baseline: a `hypotheses.SPLIT.jsonl`, NeMo's manifest, a trn file or a Kaldi text.
        b: hypotheses of the other system.
        reference: the references, for the formats without them.
        resamples: of the bootstrap.
        seed: of the bootstrap and the randomisation.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is no file of hypotheses, or the two have different utterances or references.
    """
    references = None if reference is None else Path(reference)
    systems = [System.read(str(path), [Path(path)], references) for path in (a, b)]
    return compare_systems(*systems, resamples=resamples, seed=seed)


def compare_systems(
    a: System, b: System, *, slice_by: Sequence[str] = (), resamples: int = RESAMPLES, seed: int = 0
) -> SystemComparison:
    """Compares system b with system a. Errors of several runs are averaged.

    Args:
        a: the baseline.
        b: the other system.
        slice_by: fields of the lines of a by whose values the test set is divided, besides length and speaker.
        resamples: of the bootstrap.
        seed: of the bootstrap and the randomisation.

    Raises:
        ValueError: utterances or references differ, there are fewer than two utterances, or a field is missing.
    """
    check_same_references(a.name, a.runs[0], b.name, b.runs[0])
    b = b.in_order_of(a)
    rows = a.transcripts
    words = np.array([len(row.reference.split()) for row in rows], np.float64)
    if len(rows) < 2 or not words.sum():
        raise ValueError(f"{len(rows)} utterances with {words.sum():g} words; two utterances with words are needed")
    kind, blocks = _blocks(rows)
    errors_a = a.errors.mean(axis=0)
    errors_b = b.errors.mean(axis=0)
    more = block_sums(errors_b - errors_a, blocks)
    single = len(a.runs) == len(b.runs) == 1
    segments = _segments(a, b) if single else []
    return SystemComparison(
        baseline=a.name,
        system=b.name,
        runs=(len(a.runs), len(b.runs)),
        utterances=len(rows),
        words=int(words.sum()),
        blocks=kind,
        block_count=len(more),
        rate_a=float(errors_a.sum() / words.sum()),
        rate_b=float(errors_b.sum() / words.sum()),
        bootstrap=compare(errors_a, errors_b, words, blocks=blocks, resamples=resamples, seed=seed),
        randomisation=approximate_randomisation(more, seed=seed),
        mapsswe=matched_pairs([in_b - in_a for in_a, in_b in segments]) if single else None,
        segments=len(segments),
        mcnemar=mcnemar((a.errors[0] > 0).tolist(), (b.errors[0] > 0).tolist()) if single else None,
        detectable=detectable_difference(more, block_sums(words, blocks)),
        t_test=t_test(a.errors, b.errors, words, blocks),
        variance=_variance(b if len(b.runs) > 1 else a, words, rows),
        slices=slices(rows, errors_a, errors_b, words, blocks, slice_by),
        words_changed=_words_changed(a, b),
    )


def _blocks(rows: Sequence[HypothesisRow]) -> tuple[str, list[Hashable]]:
    """Returns what is drawn together: speakers if all are known and not too few, otherwise utterances."""
    speakers = [row.speaker for row in rows]
    if all(speakers) and len(set(speakers)) >= FEWEST_BLOCKS:
        return "speakers", list(speakers)
    return "utterances", [row.id for row in rows]


def _segments(a: System, b: System) -> list[tuple[int, int]]:
    pairs = zip(a.alignments[0], b.alignments[0], strict=True)
    return [segment for in_a, in_b in pairs for segment in mapsswe_segments(in_a, in_b)]


def _variance(system: System, words: Float64[np.ndarray, " n"], rows: Sequence[HypothesisRow]) -> VarianceParts | None:
    speakers = [row.speaker for row in rows]
    if len(system.runs) < 2 or not all(speakers) or not 1 < len(set(speakers)) < len(rows):
        return None
    return variance_parts(system.errors, words, speakers)


def _words_changed(a: System, b: System) -> dict[str, int]:
    if len(a.runs) != len(b.runs):
        return {}
    in_a, in_b = ([edits for run in system.alignments for edits in run] for system in (a, b))
    return changed_words(in_a, in_b)
