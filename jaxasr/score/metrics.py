"""Metrics of transcripts: error rates, BLEU and ROUGE of reference and hypothesis texts.

Only white space is normalised here; the normaliser of the experiment decides which words are equal. All rates are fractions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import sacrebleu
from jaxtyping import Float, Int

from jaxasr.score.alignment import Counts, count_characters, count_words, total
from jaxasr.score.scripts import SPACED, mixed_units, tokenizer_of_script

NGRAMS = 4  # the longest of BLEU
ErrorRate = Literal["wer", "cer", "cer_no_spaces", "mer"]


@dataclass(frozen=True)
class UtteranceScores:
    """The counts of one utterance, which are added to sums over a set."""

    words: Counts
    characters: Counts
    letters: Counts  # characters without the spaces
    units: Counts  # words, and characters of scripts without spaces (`mixed_units`)
    ngrams: tuple[int, ...]  # of BLEU: matches of 1 to 4 tokens, hypothesis n-grams of 1 to 4, lengths of both
    rouge_1: float  # F measures
    rouge_2: float
    rouge_l: float

    def counts(self, rate: ErrorRate) -> Counts:
        """Returns the errors and references of which this rate is the quotient."""
        return {"wer": self.words, "cer": self.characters, "cer_no_spaces": self.letters, "mer": self.units}[rate]


@dataclass(frozen=True)
class Scores:
    """The numbers of a set of utterances; each can be recomputed for any part of it.

    An empty reference is an utterance like any other: what the hypothesis holds counts as insertions.
    """

    utterances: tuple[UtteranceScores, ...]
    tokenizer: str = SPACED  # of BLEU, by its name in sacrebleu; "13a": ROUGE takes the words between spaces

    @cached_property
    def words(self) -> Counts:
        """The word errors of the set."""
        return total(utterance.words for utterance in self.utterances)

    @cached_property
    def characters(self) -> Counts:
        """The character errors of the set; spaces between words are characters."""
        return total(utterance.characters for utterance in self.utterances)

    @property
    def wer(self) -> float:
        """The word error rate: all errors over all reference words (infinite if there are only insertions)."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """The character error rate, spaces between words counted as characters."""
        return self.characters.rate

    @property
    def ser(self) -> float:
        """The fraction of utterances with at least one word error."""
        return sum(utterance.words.errors > 0 for utterance in self.utterances) / len(self.utterances)

    @property
    def cer_no_spaces(self) -> float:
        """The character error rate without the spaces between words."""
        return total(utterance.letters for utterance in self.utterances).rate

    @property
    def mer(self) -> float:
        """The mixed error rate: of words, and of single characters of scripts without spaces (`mixed_units`)."""
        return total(utterance.units for utterance in self.utterances).rate

    @property
    def applicable(self) -> frozenset[str]:
        """The names of BLEU and ROUGE scores that apply: some reference is long enough to have their n-grams."""
        longest = max(utterance.ngrams[-1] for utterance in self.utterances)
        words = max(utterance.words.references for utterance in self.utterances)
        tokens = words if self.tokenizer == SPACED else longest
        needed = {"bleu": NGRAMS, "rouge_1": 1, "rouge_2": 2, "rouge_l": 1}
        return frozenset(name for name, n in needed.items() if (longest if name == "bleu" else tokens) >= n)

    @cached_property
    def bleu(self) -> float | None:
        """Corpus BLEU from 0 to 1 by sacrebleu (tokenizer by script, case kept, exponential smoothing).

        None if no reference has four tokens: it has no 4-gram that a hypothesis could match.
        """
        if "bleu" not in self.applicable:
            return None
        return bleu(np.sum([utterance.ngrams for utterance in self.utterances], axis=0))

    @cached_property
    def rouge_1(self) -> float:
        """The mean F measure of single words by rouge-score on words between spaces; two empty texts agree (1)."""
        return float(np.mean([utterance.rouge_1 for utterance in self.utterances]))

    @cached_property
    def rouge_2(self) -> float:
        """The mean F measure of pairs of words; a text of one word has none and gets 0, also if it is correct."""
        return float(np.mean([utterance.rouge_2 for utterance in self.utterances]))

    @cached_property
    def rouge_l(self) -> float:
        """The mean F measure of the longest common subsequence of words."""
        return float(np.mean([utterance.rouge_l for utterance in self.utterances]))


def measure(references: Sequence[str], hypotheses: Sequence[str]) -> Scores:
    """Compares hypotheses to references, pair by pair.

    Raises:
        ValueError: no utterance at all, or not one hypothesis for each reference.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(
            f"{len(references)} references and {len(hypotheses)} hypotheses came; scores need the same number of both, "
            "and one at least"
        )
    # takes a second to import, and most commands count no error
    from rouge_score import rouge_scorer  # pyright: ignore[reportMissingTypeStubs]

    by_rate = [count_errors(rate, references, hypotheses) for rate in ("wer", "cer", "cer_no_spaces", "mer")]
    tokenizer = tokenizer_of_script(references)
    # the effective order doesn't matter for the counts
    counter = sacrebleu.BLEU(effective_order=True, max_ngram_order=NGRAMS, tokenize=tokenizer)
    rouge_words = str if tokenizer == SPACED else counter.tokenizer
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_WordCounts(rouge_words))
    counts = zip(*by_rate, strict=True)
    rows = zip(references, hypotheses, counts, strict=True)
    return Scores(tuple(_utterance(*row, counter, rouge) for row in rows), tokenizer)


def count_errors(rate: ErrorRate, references: Sequence[str], hypotheses: Sequence[str]) -> list[Counts]:
    """Counts the errors that a rate is made of, pair by pair: of words, characters, letters or mixed units."""
    pairs = (references, hypotheses)
    if rate == "cer_no_spaces":
        pairs = tuple(["".join(text.split()) for text in texts] for texts in pairs)
    elif rate == "mer":
        pairs = tuple([mixed_units(text) for text in texts] for texts in pairs)
    return count_words(*pairs) if rate in ("wer", "mer") else count_characters(*pairs)


def bleu(ngrams: Float[np.ndarray, " counts"] | Int[np.ndarray, " counts"]) -> float:
    """Corpus BLEU, from 0 to 1, of summed `UtteranceScores.ngrams`."""
    *counts, hypothesis_words, reference_words = (int(value) for value in ngrams)
    found = sacrebleu.BLEU.compute_bleu(  # pyright: ignore[reportUnknownMemberType]
        correct=counts[:NGRAMS],
        total=counts[NGRAMS:],
        sys_len=hypothesis_words,
        ref_len=reference_words,
        smooth_method="exp",
        max_ngram_order=NGRAMS,
    )
    return min(found.score / 100, 1.0)  # it computes by logarithms, which can end a hair above


class _WordCounts:
    """The tokenizer of ROUGE: its own keeps nothing but a-z and 0-9."""

    def __init__(self, separate: Callable[[str], str]):
        self._separate = separate

    def tokenize(self, text: str) -> list[str]:
        return self._separate(text).split()


def _utterance(
    reference: str,
    hypothesis: str,
    counts: tuple[Counts, Counts, Counts, Counts],  # words, characters, letters, units
    counter: sacrebleu.BLEU,
    rouge: Any,  # a rouge_scorer.RougeScorer
) -> UtteranceScores:
    found = counter.sentence_score(hypothesis, [reference])
    ngrams = (*found.counts, *found.totals, found.sys_len, found.ref_len)
    if not reference.split() and not hypothesis.split():
        return UtteranceScores(*counts, ngrams, 1.0, 1.0, 1.0)
    scores = rouge.score(reference, hypothesis)
    return UtteranceScores(*counts, ngrams, *(float(scores[name].fmeasure) for name in ("rouge1", "rouge2", "rougeL")))
