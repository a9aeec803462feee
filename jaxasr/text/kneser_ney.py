"""Estimating n-gram models: modified Kneser-Ney smoothing, interpolated.

Sources: Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", TR-10-98, section 3;
Heafield et al. 2013, "Scalable modified Kneser-Ney language model estimation", ACL, section 3 (the counts of n-grams that
begin a sentence, the unigrams, and pruning as KenLM does it).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jaxasr.text.ngram import BEGIN, STOP, UNKNOWN, Grams, NGram, gram_keys

LOG10_NEVER = -99.0  # the begin of a sentence is never predicted; as SRILM writes it


@dataclass(frozen=True, eq=False)
class _GramCounts:
    """The distinct n-grams of one order, sorted as in Grams."""

    contexts: Int64[np.ndarray, " grams"]
    words: Int64[np.ndarray, " grams"]
    counts: Int64[np.ndarray, " grams"]  # how often it occurs
    suffixes: Int64[np.ndarray, " grams"]  # place of the last n - 1 words in the order below
    adjusted: Int64[np.ndarray, " grams"]  # what probabilities are made of


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int,
    *,
    vocabulary: Sequence[str] | None = None,
    prune: Sequence[int] = (),
    fallback: tuple[float, float, float] = (0.5, 1.0, 1.5),
) -> NGram:
    """The model of the sentences, each between <s> and </s>.

    With a(g) the number of different words seen before an n-gram g (below the highest order, and not for what begins a
    sentence; else how often g occurs), D(a) the discount of its order, and h' = h without its first word:

        p(w | h) = (a(h w) - D(a(h w))) / sum_x a(h x) + back_off(h) p(w | h'),     1 / |V| under single words
        back_off(h) = sum_x D(a(h x)) / sum_x a(h x),     D(j) = j - (j + 1) Y t(j + 1) / t(j),  Y = t1 / (t1 + 2 t2)

    for j = 1, 2 and 3 (3 for all above), t(j) the number of n-grams of the order with a = j.

    Args:
        sentences: words; an empty sentence is one that ends at once.
        order: of the longest n-grams.
        vocabulary: all words there are, seen or not. None: those of the sentences, and <unk> for any other.
        prune: (0, 0, 1) leaves out the 3-grams and longer ones that occur once or less: one number an order from 1 on,
            the last for all above it as well. Their share goes to the back-off. Nothing given: all are kept.
        fallback: D(1), D(2) and D(3) of an order whose t(1), t(2) or t(3) is 0, or whose discounts aren't in (0, j]: few
            different words (letters), or little text. KenLM's `--discount_fallback`.

    Raises:
        ValueError: no sentence, a word that is not in the vocabulary or has a meaning of its own, or options out of range.
    """
    thresholds = _thresholds(prune, order)
    _check_discounts(fallback)
    words, ids, firsts = _read_sentences(sentences, vocabulary)
    orders = _adjust_counts(_count_grams(ids, firsts, len(words), order), begin=words.index(BEGIN))
    return NGram(words, _prune(orders, _smooth(orders, words, thresholds, fallback), thresholds))


def _thresholds(prune: Sequence[int], order: int) -> tuple[int, ...]:
    if order < 1:
        raise ValueError(f"order {order}: 1 (single words) or more is needed")
    prune = tuple(prune)[:order] or (0,)
    prune += (prune[-1],) * (order - len(prune))
    if prune[0] != 0 or any(low > high for low, high in pairwise(prune)):
        raise ValueError(f"prune {prune}: one number an order is needed, the first 0 and none smaller than that before")
    return prune


def _check_discounts(fallback: tuple[float, float, float]) -> None:
    if not all(0 < discount <= j for j, discount in enumerate(fallback, start=1)):
        raise ValueError(f"fallback {fallback}: discounts of 1, 2 and 3 are needed, each above 0 and at most that")


def _read_sentences(
    sentences: Iterable[Sequence[str]], vocabulary: Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The words there are, those of all sentences by number, and where sentences begin."""
    special = (UNKNOWN, BEGIN, STOP) if vocabulary is None else (BEGIN, STOP)
    numbers = {word: number for number, word in enumerate((*special, *(vocabulary or ())))}
    if len(numbers) < len(special) + len(vocabulary or ()):
        raise ValueError(
            f"the vocabulary has a word twice, or one of {BEGIN} and {STOP}, which are there of themselves"
        )
    forbidden, begin, stop = {UNKNOWN, BEGIN, STOP}, numbers[BEGIN], numbers[STOP]
    ids, starts = [], []
    for sentence in sentences:
        if not forbidden.isdisjoint(sentence):
            raise ValueError(f"a sentence has one of the words {sorted(forbidden)}, which it may not: {sentence[:10]}")
        starts.append(len(ids))
        if vocabulary is None:
            ids += [begin, *(numbers.setdefault(word, len(numbers)) for word in sentence), stop]
        else:
            ids += [begin, *(_known(numbers, word) for word in sentence), stop]
    if not starts:
        raise ValueError("there is no sentence to estimate an n-gram model of")
    firsts = np.zeros(len(ids), np.bool_)
    firsts[starts] = True
    return tuple(numbers), np.array(ids, np.int64), firsts


def _known(numbers: dict[str, int], word: str) -> int:
    if word not in numbers:
        raise ValueError(
            f"{word!r} is not in the vocabulary that was given; give none, and <unk> stands for the others"
        )
    return numbers[word]


def _count_grams(ids: np.ndarray, firsts: np.ndarray, words: int, order: int) -> list[_GramCounts]:
    """Every n-gram of every order up to the highest, and how often it occurs."""
    none = np.zeros(words, np.int64)
    counted = [_GramCounts(none, np.arange(words), np.bincount(ids, minlength=words), none, none)]
    places, starts = ids, np.arange(len(ids))  # of the n-grams that occur, and where; no n-gram crosses a begin
    for n in range(2, order + 1):
        goes_on = (starts + n - 1 < len(ids)) & ~firsts[np.minimum(starts + n - 1, len(ids) - 1)]
        before = np.full(len(ids) + 1, -1)
        before[starts] = places
        starts = starts[goes_on]
        keys, seen, places, counts = np.unique(
            gram_keys(places[goes_on], ids[starts + n - 1]), return_index=True, return_inverse=True, return_counts=True
        )
        suffixes = before[starts[seen] + 1]
        counted.append(_GramCounts(keys >> 32, keys & 0xFFFFFFFF, counts, suffixes, counts))
    return counted


def _adjust_counts(counted: list[_GramCounts], *, begin: int) -> list[_GramCounts]:
    """What a word follows says more of it than how often it comes: Heafield 2013, section 3.1."""
    adjusted, begins = [], np.arange(len(counted[0].words)) == begin
    for grams, longer in zip(counted, [*counted[1:], None], strict=True):
        if grams is not counted[0]:
            begins = begins[grams.contexts]
        counts = grams.counts
        if longer is not None:
            counts = np.where(begins, counts, np.bincount(longer.suffixes, minlength=len(counts)))
        if grams is counted[0]:
            counts = np.where(begins, 0, counts)  # a begin is never predicted
        adjusted.append(_GramCounts(grams.contexts, grams.words, grams.counts, grams.suffixes, counts))
    return adjusted


def _smooth(
    orders: list[_GramCounts], words: tuple[str, ...], thresholds: tuple[int, ...], fallback: tuple[float, float, float]
) -> list[Grams]:
    predicted = np.array([word != BEGIN for word in words])
    lower, smoothed = np.full(1, 1.0 / predicted.sum()), []
    for grams, threshold in zip(orders, thresholds, strict=True):
        share, back_off = _discount(grams, len(lower) if smoothed else 1, grams.counts > threshold, fallback)
        if smoothed:
            smoothed[-1] = _with_back_offs(smoothed[-1], back_off)
        lower = share + back_off[grams.contexts] * lower[grams.suffixes]
        if not smoothed:
            lower = np.where(predicted, lower, 10.0**LOG10_NEVER)
        contexts, last = grams.contexts.astype(np.int32), grams.words.astype(np.int32)
        smoothed.append(Grams(contexts, last, np.log10(lower), np.zeros(len(lower))))
    return smoothed


def _discount(
    grams: _GramCounts, contexts: int, kept: Bool[np.ndarray, " grams"], fallback: tuple[float, float, float]
) -> tuple[Float64[np.ndarray, " grams"], Float64[np.ndarray, " contexts"]]:
    """The share of each n-gram in its context after the discount, and what is left in each context for shorter ones."""
    discounts = np.array([0.0, *_discounts(grams.adjusted, fallback)])[np.minimum(grams.adjusted, 3)]
    taken = np.where(kept, discounts, grams.adjusted)
    totals = np.bincount(grams.contexts, grams.adjusted, contexts)
    left = np.bincount(grams.contexts, taken, contexts)
    back_off = np.divide(left, totals, out=np.ones(contexts), where=totals > 0)
    totals = np.maximum(totals, 1)
    return (grams.adjusted - discounts) / totals[grams.contexts], back_off


def _discounts(adjusted: Int64[np.ndarray, " grams"], fallback: tuple[float, float, float]) -> tuple[float, ...]:
    t1, t2, t3, t4 = (int((adjusted == j).sum()) for j in (1, 2, 3, 4))
    if not (t1 and t2 and t3):
        return fallback
    y = t1 / (t1 + 2 * t2)
    discounts = (1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3)
    return discounts if all(0 < discount <= j for j, discount in enumerate(discounts, start=1)) else fallback


def _with_back_offs(grams: Grams, back_offs: Float64[np.ndarray, " grams"]) -> Grams:
    return Grams(grams.contexts, grams.words, grams.log10_probs, np.log10(back_offs))


def _prune(orders: list[_GramCounts], smoothed: list[Grams], thresholds: tuple[int, ...]) -> tuple[Grams, ...]:
    """Without what is rare: an n-gram that is kept occurs no oftener than its context, so that is kept as well."""
    kept, pruned = np.ones(1, np.bool_), []
    for counted, grams, threshold in zip(orders, smoothed, thresholds, strict=True):
        places = np.cumsum(kept) - 1  # of the contexts among those that are kept
        kept = (counted.counts > threshold) | (threshold == 0)
        contexts = places[grams.contexts[kept]].astype(np.int32)
        pruned.append(Grams(contexts, grams.words[kept], grams.log10_probs[kept], grams.log10_back_offs[kept]))
    return tuple(pruned)
