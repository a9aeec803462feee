"""Parts of an evaluation: errors by speaker and by length, and what was taken for what."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxasr.score.alignment import Counts, Edit, total
from jaxasr.score.evaluate import EvalOutput

MOST_CONFUSIONS = 20  # listed
LENGTHS = (0, 1, 3, 7, 15, 31)  # words of the reference, the most of each group but the last


@dataclass(frozen=True)
class Group:
    """The errors of some of the utterances."""

    name: str
    utterances: int
    words: Counts

    @property
    def cells(self) -> list[str]:
        """The group as a row of a table: name, utterances, words, error rate, substitutions, deletions, insertions."""
        words = self.words
        rate = f"{words.rate:.2%}" if words.references else "-"
        counts = (words.references, words.substitutions, words.deletions, words.insertions)
        references, *errors = (f"{count:,}" for count in counts)
        return [self.name, f"{self.utterances:,}", references, rate, *errors]


GROUP_HEADER = ("utterances", "words", "WER", "S", "D", "I")  # of the cells behind the name


def by_speaker(evaluation: EvalOutput) -> list[Group]:
    """Returns the errors of each speaker, the highest error rate first; nothing if fewer than two are known."""
    speakers = [utterance.speaker for utterance in evaluation.utterances]
    if len(set(speakers)) < 2:
        return []
    groups = _grouped(evaluation, speakers)
    return sorted(groups, key=lambda group: (-group.words.rate, group.name))


def by_length(evaluation: EvalOutput) -> list[Group]:
    """Returns the errors of utterances with 0, 1, 2 to 3, 4 to 7, ... words of the reference."""
    lengths = [sum(score.words.references > most for most in LENGTHS) for score in evaluation.scores.utterances]
    names = [*(_span(low + 1, high) for low, high in zip((-1, *LENGTHS), LENGTHS, strict=False)), f"{LENGTHS[-1] + 1}+"]
    by_name = {group.name: group for group in _grouped(evaluation, [names[length] for length in lengths])}
    return [by_name[name] for name in names if name in by_name]


def confusions(alignments: Iterable[tuple[Edit, ...]]) -> list[tuple[str, str, int]]:
    """Returns the most frequent errors: words of the reference and of the hypothesis, and how often; `*` is nothing."""
    counted = Counter(
        (edit.reference or "*", edit.hypothesis or "*")
        for edits in alignments
        for edit in edits
        if edit.kind != "equal"
    )
    return [(*pair, times) for pair, times in counted.most_common(MOST_CONFUSIONS)]


def _grouped(evaluation: EvalOutput, names: Sequence[str]) -> list[Group]:
    found: dict[str, list[Counts]] = {}
    for name, scores in zip(names, evaluation.scores.utterances, strict=True):
        found.setdefault(name, []).append(scores.words)
    return [Group(name, len(counts), total(counts)) for name, counts in found.items()]


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"
