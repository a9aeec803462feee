"""The estimation of n-gram models with interpolated modified Kneser-Ney smoothing.

Sources: Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", TR-10-98, section 3;
Heafield et al. 2013, "Scalable modified Kneser-Ney language model estimation", ACL, section 3 (the counts of n-grams that
begin a sentence, the unigrams, and pruning as in KenLM).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64, Int64

from jaxasr.text.ngram import BEGIN, STOP, UNKNOWN, Grams, NGram, gram_keys

LOG10_NEVER = -99.0  # log10 probability of <s>, which is never predicted; SRILM's value


@dataclass(frozen=True, eq=False)
class _GramCounts:
    """A table of the distinct n-grams of one order and their counts, sorted as in Grams."""

    contexts: Int64[np.ndarray, " grams"]
    words: Int64[np.ndarray, " grams"]
    counts: Int64[np.ndarray, " grams"]  # number of occurrences
    suffixes: Int64[np.ndarray, " grams"]  # index of the last n - 1 words in the order below
    adjusted: Int64[np.ndarray, " grams"]  # the counts a(g) that probabilities are computed from


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int,
    *,
    vocabulary: Sequence[str] | None = None,
    prune: Sequence[int] = (),
    fallback: tuple[float, float, float] = (0.5, 1.0, 1.5),
) -> NGram:
    """Estimates a model of the sentences, each between <s> and </s>.

    a(g) is the number of different words before an n-gram g; in the highest order, and if g begins a sentence, it is the
    number of occurrences of g. D(a) is the discount of the order. h' is h without its first word:

        p(w | h) = (a(h w) - D(a(h w))) / sum_x a(h x) + back_off(h) p(w | h'),     1 / |V| under single words
        back_off(h) = sum_x D(a(h x)) / sum_x a(h x),     D(j) = j - (j + 1) Y t(j + 1) / t(j),  Y = t1 / (t1 + 2 t2)

    for j = 1, 2 and 3 (3 also for all larger counts), where t(j) is the number of n-grams of the order with a = j.

    Args:
        sentences: sequences of words; a sentence may be empty.
        order: number of words of the longest n-grams.
        vocabulary: all words, whether they occur or not. None: the words of the sentences, and <unk> for any other word.
        prune: one threshold for each order from 1 on; the last one also holds for all higher orders. (0, 0, 1) drops the
            n-grams of order 3 and above that occur at most once. Their probability goes to the back-off. Empty: keep all.
        fallback: D(1), D(2) and D(3) for orders in which t(1), t(2) or t(3) is 0 or a discount is not in (0, j]. This
            happens with few different words (letters) or little text. KenLM's `--discount_fallback`.

    Raises:
        ValueError: there is no sentence, a word is not in the vocabulary or is a reserved symbol, or an option is out of
            range.
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
    """Returns the vocabulary, the word ids of all sentences, and a mask of the sentence begins."""
    special = (UNKNOWN, BEGIN, STOP) if vocabulary is None else (BEGIN, STOP)
    numbers = {word: number for number, word in enumerate((*special, *(vocabulary or ())))}
    if len(numbers) < len(special) + len(vocabulary or ()):
        raise ValueError(
            f"the vocabulary has a word twice, or one of {BEGIN} and {STOP}, which are there of themselves"
        )
    forbidden = {UNKNOWN, BEGIN, STOP}
    begin = numbers[BEGIN]
    stop = numbers[STOP]
    ids: list[int] = []
    starts: list[int] = []
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
    """Counts every n-gram of every order."""
    none = np.zeros(words, np.int64)
    counted = [_GramCounts(none, np.arange(words), np.bincount(ids, minlength=words), none, none)]
    gram_ids = ids  # the n-grams of the current order, by occurrence
    starts = np.arange(len(ids))  # the positions of these occurrences; no n-gram crosses a sentence begin
    for n in range(2, order + 1):
        extends = (starts + n - 1 < len(ids)) & ~firsts[np.minimum(starts + n - 1, len(ids) - 1)]
        shorter = np.full(len(ids) + 1, -1)  # the n-gram of the order below that begins at each position
        shorter[starts] = gram_ids
        starts = starts[extends]
        keys, first_seen, gram_ids, counts = np.unique(
            gram_keys(gram_ids[extends], ids[starts + n - 1]),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        suffixes = shorter[starts[first_seen] + 1]
        counted.append(_GramCounts(keys >> 32, keys & 0xFFFFFFFF, counts, suffixes, counts))
    return counted


def _adjust_counts(counted: list[_GramCounts], *, begin: int) -> list[_GramCounts]:
    """Replaces counts by the number of different words before the n-gram (Heafield 2013, section 3.1)."""
    adjusted: list[_GramCounts] = []
    begins = np.arange(len(counted[0].words)) == begin
    for grams, longer in zip(counted, [*counted[1:], None], strict=True):
        if grams is not counted[0]:
            begins = begins[grams.contexts]
        counts = grams.counts
        if longer is not None:
            counts = np.where(begins, counts, np.bincount(longer.suffixes, minlength=len(counts)))
        if grams is counted[0]:
            counts = np.where(begins, 0, counts)  # <s> is never predicted
        adjusted.append(_GramCounts(grams.contexts, grams.words, grams.counts, grams.suffixes, counts))
    return adjusted


def _smooth(
    orders: list[_GramCounts], words: tuple[str, ...], thresholds: tuple[int, ...], fallback: tuple[float, float, float]
) -> list[Grams]:
    predicted = np.array([word != BEGIN for word in words])
    lower = np.full(1, 1.0 / predicted.sum())
    smoothed: list[Grams] = []
    for grams, threshold in zip(orders, thresholds, strict=True):
        share, back_off = _discount(grams, len(lower) if smoothed else 1, grams.counts > threshold, fallback)
        if smoothed:
            smoothed[-1] = _with_back_offs(smoothed[-1], back_off)
        lower = share + back_off[grams.contexts] * lower[grams.suffixes]
        if not smoothed:
            lower = np.where(predicted, lower, 10.0**LOG10_NEVER)
        smoothed.append(
            Grams(
                contexts=grams.contexts.astype(np.int32),
                words=grams.words.astype(np.int32),
                log10_probs=np.log10(lower),
                log10_back_offs=np.zeros(len(lower)),
            )
        )
    return smoothed


def _discount(
    grams: _GramCounts, contexts: int, kept: Bool[np.ndarray, " grams"], fallback: tuple[float, float, float]
) -> tuple[Float64[np.ndarray, " grams"], Float64[np.ndarray, " contexts"]]:
    """Returns the discounted probability of each n-gram in its context, and the back-off weight of each context."""
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
    """Removes rare n-grams. The context of a kept n-gram occurs at least as often, so it is kept as well."""
    kept = np.ones(1, np.bool_)
    pruned: list[Grams] = []
    for counted, grams, threshold in zip(orders, smoothed, thresholds, strict=True):
        new_ids = np.cumsum(kept) - 1  # index of each context among the kept ones
        kept = (counted.counts > threshold) | (threshold == 0)
        contexts = new_ids[grams.contexts[kept]].astype(np.int32)
        pruned.append(Grams(contexts, grams.words[kept], grams.log10_probs[kept], grams.log10_back_offs[kept]))
    return tuple(pruned)
