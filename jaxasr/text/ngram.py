"""N-gram models with back-off (Katz 1987): what an ARPA file holds, as sorted arrays.

The probability of a word after a history is that of the longest n-gram there is, p(w | h) = prob(h w); where h w is no
n-gram, p(w | h) = back_off(h) p(w | h without its first word), and the back-off of what is no context is 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, Int64

UNKNOWN, BEGIN, STOP = "<unk>", "<s>", "</s>"
UNKNOWNS = (UNKNOWN, "<UNK>")  # as it is found in files
LOG10_MISSING = -100.0  # of a word that a model without <unk> does not have; KenLM's choice


@dataclass(frozen=True, eq=False)
class Grams:
    """The n-grams of one order, sorted by context and then by word: one level of a trie."""

    contexts: Int32[np.ndarray, " grams"]  # place of the first n - 1 words in the order below; 0 of a single word
    words: Int32[np.ndarray, " grams"]  # the last word
    log10_probs: Float64[np.ndarray, " grams"]
    log10_back_offs: Float64[np.ndarray, " grams"]  # of the n-gram as a context

    def __len__(self) -> int:
        return len(self.words)

    def find(
        self, contexts: Int[np.ndarray, " wanted"], words: Int[np.ndarray, " wanted"]
    ) -> Int64[np.ndarray, " wanted"]:
        """The places of n-grams; -1 of one that is not there, or whose context or word is -1."""
        if not len(self):
            return np.full(len(words), -1, np.int64)
        keys = gram_keys(contexts, words)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self) - 1)
        return np.where((self._keys[places] == keys) & (contexts >= 0) & (words >= 0), places, -1)

    @cached_property
    def _keys(self) -> Int64[np.ndarray, " grams"]:
        return gram_keys(self.contexts, self.words)


def gram_keys(contexts: Int[np.ndarray, " grams"], words: Int[np.ndarray, " grams"]) -> Int64[np.ndarray, " grams"]:
    """One number an n-gram, in the order of context and word."""
    return contexts.astype(np.int64) << 32 | words.astype(np.int64)


@dataclass(frozen=True, eq=False)
class NGram:
    """A model of the words `words[0]`, `words[1]`, ...; `orders[n - 1]` has its n-grams.

    Every context is there: the first n - 1 words of an n-gram are one of the order below.

    Raises:
        ValueError: no order at all, or the single words aren't all there, each at its own place.
    """

    words: tuple[str, ...]
    orders: tuple[Grams, ...]

    def __post_init__(self):
        if not self.orders or not np.array_equal(self.orders[0].words, np.arange(len(self.words))):
            raise ValueError(f"the 1-grams of an NGram are its {len(self.words)} words, in their order")

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return len(self.orders)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of n-grams of each order."""
        return tuple(len(grams) for grams in self.orders)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The place of each word."""
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def unknown(self) -> int:
        """The word that stands for all others; -1 if there is none."""
        return next((self.ids[word] for word in UNKNOWNS if word in self.ids), -1)

    def id(self, word: str) -> int:
        """The place of a word, that of <unk> if it is not known; -1 if that isn't either."""
        return self.ids.get(word, self.unknown)


@dataclass(frozen=True, eq=False)
class NGramScores:
    """What a model says of sentences, word by word, the end of each sentence included."""

    log10_probs: Float64[np.ndarray, " words"]
    known: Bool[np.ndarray, " words"]  # False: scored as <unk>
    sentences: int

    @property
    def total(self) -> float:
        """The log10 probability of all sentences."""
        return float(self.log10_probs.sum())

    def perplexity(self, units: int | None = None) -> float:
        """10 ** (-total / units); by default a unit is a word or the end of a sentence."""
        units = len(self.log10_probs) if units is None else units
        return float(10.0 ** (-self.total / units)) if units else float("nan")


def score(model: NGram, sentences: Iterable[Sequence[str]]) -> NGramScores:
    """The log10 probability of every word after the words of its sentence, and of the end after them all.

    A word that is not known counts as <unk>, or has `LOG10_MISSING` in a model without it.
    """
    ids, firsts = _flatten_sentences(model, sentences)
    places = ids  # of the n-grams that end at each word
    log10_probs = np.where(ids >= 0, model.orders[0].log10_probs[ids], LOG10_MISSING)
    for shorter, grams in pairwise(model.orders):
        if not len(shorter):
            break  # nor is anything longer
        contexts = np.where(firsts, -1, np.concatenate([[-1], places[:-1]]))
        back_offs = np.where(contexts >= 0, shorter.log10_back_offs[contexts], 0.0)
        places = grams.find(contexts, ids)
        found = places >= 0
        longer = grams.log10_probs[places] if len(grams) else log10_probs
        log10_probs = np.where(found, longer, log10_probs + back_offs)
    known = (ids >= 0) & (ids != model.unknown)
    return NGramScores(log10_probs[~firsts], known[~firsts], int(firsts.sum()))


def _flatten_sentences(model: NGram, sentences: Iterable[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all sentences, each between its begin and its end; and where sentences begin."""
    begin, stop = model.ids.get(BEGIN, -1), model.ids.get(STOP, -1)
    ids, starts = [], []
    for sentence in sentences:
        starts.append(len(ids))
        ids += [begin, *map(model.id, sentence), stop]
    firsts = np.zeros(len(ids), np.bool_)
    firsts[starts] = True
    return np.array(ids, np.int64), firsts
