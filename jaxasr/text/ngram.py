"""N-gram models with back-off (Katz 1987): the contents of an ARPA file as sorted arrays, and their evaluation.

If h w is an n-gram of the model, the probability of word w after history h is p(w | h) = prob(h w). Otherwise p(w | h) =
back_off(h) p(w | h without its first word). The back-off of a history that is no context is 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, Int64

UNKNOWN = "<unk>"
BEGIN = "<s>"
STOP = "</s>"
UNKNOWNS = (UNKNOWN, "<UNK>")  # spellings in files
LOG10_MISSING = -100.0  # log10 probability of an unknown word in a model without <unk>; KenLM's value


@dataclass(frozen=True, eq=False)
class Grams:
    """A table of the n-grams of one order, sorted by context and then by word: one level of a trie."""

    contexts: Int32[np.ndarray, " grams"]  # index of the first n - 1 words in the order below; 0 for single words
    words: Int32[np.ndarray, " grams"]  # the last word
    log10_probs: Float64[np.ndarray, " grams"]
    log10_back_offs: Float64[np.ndarray, " grams"]  # of the n-gram as a context

    def __len__(self) -> int:
        return len(self.words)

    def find(
        self, contexts: Int[np.ndarray, " wanted"], words: Int[np.ndarray, " wanted"]
    ) -> Int64[np.ndarray, " wanted"]:
        """Returns the indices of n-grams; -1 if an n-gram is missing, or if its context or word is -1."""
        if not len(self):
            return np.full(len(words), -1, np.int64)
        keys = gram_keys(contexts, words)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self) - 1)
        return np.where((self._keys[places] == keys) & (contexts >= 0) & (words >= 0), places, -1)

    @cached_property
    def _keys(self) -> Int64[np.ndarray, " grams"]:
        return gram_keys(self.contexts, self.words)


def gram_keys(contexts: Int[np.ndarray, " grams"], words: Int[np.ndarray, " grams"]) -> Int64[np.ndarray, " grams"]:
    """Returns one sort key for each n-gram, ordered by context and then by word."""
    return contexts.astype(np.int64) << 32 | words.astype(np.int64)


@dataclass(frozen=True, eq=False)
class NGram:
    """An n-gram model over `words`. `orders[n - 1]` has its n-grams.

    Every context exists: the first n - 1 words of an n-gram are an n-gram of the order below.

    Raises:
        ValueError: there is no order, or the 1-grams are not all words in their order.
    """

    words: tuple[str, ...]
    orders: tuple[Grams, ...]

    def __post_init__(self):
        if not self.orders or not np.array_equal(self.orders[0].words, np.arange(len(self.words))):
            raise ValueError(f"the 1-grams of an NGram are its {len(self.words)} words, in their order")

    @property
    def order(self) -> int:
        """The number of words of the longest n-grams."""
        return len(self.orders)

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of n-grams of each order."""
        return tuple(len(grams) for grams in self.orders)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The index of each word."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def unknown(self) -> int:
        """The index of <unk>, which stands for all other words; -1 if the model has none."""
        return next((self.ids[word] for word in UNKNOWNS if word in self.ids), -1)

    def id(self, word: str) -> int:
        """Returns the index of a word. An unknown word has the index of <unk>, or -1 in a model without <unk>."""
        return self.ids.get(word, self.unknown)


@dataclass(frozen=True, eq=False)
class NGramScores:
    """The scores of sentences under an n-gram model, word by word, the end of each sentence included."""

    log10_probs: Float64[np.ndarray, " words"]
    known: Bool[np.ndarray, " words"]  # False: scored as <unk>
    sentences: int

    @property
    def total(self) -> float:
        """The log10 probability of all sentences."""
        return float(self.log10_probs.sum())

    def perplexity(self, units: int | None = None) -> float:
        """Returns 10 ** (-total / units). By default a unit is a word or the end of a sentence."""
        units = len(self.log10_probs) if units is None else units
        return float(10.0 ** (-self.total / units)) if units else float("nan")


def score(model: NGram, sentences: Iterable[Sequence[str]]) -> NGramScores:
    """Computes the log10 probability of every word given the words before it in its sentence, and of the sentence end.

    An unknown word is scored as <unk>, or with `LOG10_MISSING` in a model without <unk>.
    """
    ids, firsts = _flatten_sentences(model, sentences)
    grams_at = ids  # index of the n-gram that ends at each word
    log10_probs = np.where(ids >= 0, model.orders[0].log10_probs[ids], LOG10_MISSING)
    for shorter, grams in pairwise(model.orders):
        if not len(shorter):
            break  # then there are no longer n-grams either
        contexts = np.where(firsts, -1, np.concatenate([[-1], grams_at[:-1]]))
        back_offs = np.where(contexts >= 0, shorter.log10_back_offs[contexts], 0.0)
        grams_at = grams.find(contexts, ids)
        found = grams_at >= 0
        longer = grams.log10_probs[grams_at] if len(grams) else log10_probs
        log10_probs = np.where(found, longer, log10_probs + back_offs)
    known = (ids >= 0) & (ids != model.unknown)
    return NGramScores(log10_probs[~firsts], known[~firsts], int(firsts.sum()))


def _flatten_sentences(model: NGram, sentences: Iterable[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates sentences, each between <s> and </s>. Returns the word ids and a mask of the sentence begins."""
    begin = model.ids.get(BEGIN, -1)
    stop = model.ids.get(STOP, -1)
    ids: list[int] = []
    starts: list[int] = []
    for sentence in sentences:
        starts.append(len(ids))
        ids += [begin, *map(model.id, sentence), stop]
    firsts = np.zeros(len(ids), np.bool_)
    firsts[starts] = True
    return np.array(ids, np.int64), firsts
