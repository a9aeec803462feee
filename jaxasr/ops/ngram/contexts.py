"""The contexts of an n-gram model as the states of an automaton: what ops/ngram/backoff.py lays on the device. NumPy only.

A context is some words that may be read further: those an n-gram of the model goes on from. After any words the model knows
nothing but the longest of its contexts that they end with. An arc is an n-gram: it goes from the context of its first
words, bears its last word, and leads to the context that it is itself, if it is one.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int32, Int64

from jaxasr.text.ngram import BEGIN, LOG10_MISSING, NGram, gram_keys

LN10 = float(np.log(10.0))


@dataclass(frozen=True, eq=False)
class Contexts:
    """The contexts of a model from short to long, 0 the empty one; arcs by context and label. Logarithms are natural."""

    starts: tuple[int, ...]  # the first context of each length; their number at last
    firsts: Int64[np.ndarray, " contexts_and_one"]  # the first arc of each
    shorter: Int64[np.ndarray, " contexts"]  # the longest context that it ends with; of 0: 0
    back_offs: Float64[np.ndarray, " contexts"]
    labels: Int64[np.ndarray, " arcs"]
    log_probs: Float64[np.ndarray, " arcs"]
    leads: Int64[np.ndarray, " arcs"]  # to which context; -1: none
    begin: int  # the context <s>

    @property
    def sources(self) -> Int64[np.ndarray, " arcs"]:
        """The context that each arc goes from."""
        return np.repeat(np.arange(len(self.shorter)), np.diff(self.firsts))


def contexts_of(model: NGram) -> Contexts:
    """Returns the automaton of a model. Labels are its words."""
    numbers = [np.zeros(1, np.int64)]  # of the n-grams that are contexts; -1 of the others
    starts = [0, 1]
    for grams, longer in zip(model.orders, [*model.orders[1:], None], strict=True):
        used = np.zeros(len(grams), np.bool_)
        if longer is not None:
            used = grams.log10_back_offs != 0.0
            used[longer.contexts] = True
        numbers.append(np.where(used, starts[-1] + np.cumsum(used) - 1, -1))
        starts.append(starts[-1] + int(used.sum()))
    sources = np.concatenate([place[grams.contexts] for place, grams in zip(numbers, model.orders, strict=False)])
    leads = np.concatenate(numbers[1:])
    firsts = np.searchsorted(sources, np.arange(starts[-1] + 1))
    labels = np.concatenate([grams.words for grams in model.orders]).astype(np.int64)
    log10_probs = np.concatenate([grams.log10_probs for grams in model.orders])
    back_offs = np.concatenate([np.zeros(1), *(grams.log10_back_offs for grams in model.orders)])
    back_offs = back_offs[np.concatenate(numbers) >= 0]
    shorter = _shorter(sources, labels, leads, starts)
    begin = max(int(numbers[1][model.ids[BEGIN]]), 0) if BEGIN in model.ids else 0
    return Contexts(tuple(starts[:-1]), firsts, shorter, back_offs * LN10, labels, log10_probs * LN10, leads, begin)


def _shorter(sources: np.ndarray, labels: np.ndarray, leads: np.ndarray, starts: list[int]) -> np.ndarray:
    """Returns for each context the longest shorter one with such an arc, from the back-off context of its prefix."""
    keys = gram_keys(sources, labels)
    shorter = np.zeros(starts[-1], np.int64)
    makers = np.full(starts[-1], -1)  # the arc that leads to each
    makers[leads[leads >= 0]] = np.flatnonzero(leads >= 0)
    for start, stop in pairwise(starts[2:]):
        arcs = makers[start:stop]
        tried = sources[arcs]
        found = np.full(stop - start, -1)
        while (found < 0).any():
            at_root = tried == 0
            tried = shorter[tried]
            wanted = gram_keys(tried, labels[arcs])
            places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            lead = np.where(keys[places] == wanted, leads[places], -1)
            found = np.where(found >= 0, found, np.where(at_root, 0, lead))
        shorter[start:stop] = found
    return shorter


def labelled(contexts: Contexts, words: Int64[np.ndarray, " v"]) -> Contexts:
    """Returns the contexts with new labels, each for one word (-1: for none); arcs of other words are removed."""
    order = np.argsort(words, kind="stable")
    lows, highs = (np.searchsorted(words[order], contexts.labels, side) for side in ("left", "right"))
    arcs = np.repeat(np.arange(len(lows)), highs - lows)
    nth = np.arange(len(arcs)) - np.repeat(np.cumsum(highs - lows) - (highs - lows), highs - lows)
    labels = order[lows[arcs] + nth]
    sources = contexts.sources[arcs]
    by_label = np.argsort(gram_keys(sources, labels), kind="stable")
    arcs = arcs[by_label]
    return replace(
        contexts,
        firsts=np.searchsorted(sources[by_label], np.arange(len(contexts.shorter) + 1)),
        labels=labels[by_label],
        log_probs=contexts.log_probs[arcs],
        leads=contexts.leads[arcs],
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """The dense rows of the first contexts, back-off included: log probability and next context of each token."""

    log_probs: Float64[np.ndarray, "contexts v"]
    leads: Int32[np.ndarray, "contexts v"]


def rows(contexts: Contexts, vocab: int, lengths: int) -> Rows:
    """Returns the rows of all contexts of fewer than so many words."""
    last = contexts.starts[lengths]
    log_probs = np.full((last, vocab), LOG10_MISSING * LN10)
    leads = np.zeros((last, vocab), np.int32)
    sources = contexts.sources
    for length in range(lengths):
        some = slice(contexts.starts[length], contexts.starts[length + 1])
        if length:
            shorter = contexts.shorter[some]
            log_probs[some] = log_probs[shorter] + contexts.back_offs[some, None]
            leads[some] = leads[shorter]
        arcs = np.arange(contexts.firsts[some.start], contexts.firsts[some.stop])
        log_probs[sources[arcs], contexts.labels[arcs]] = contexts.log_probs[arcs]
        arcs = arcs[contexts.leads[arcs] >= 0]
        leads[sources[arcs], contexts.labels[arcs]] = contexts.leads[arcs]
    return Rows(log_probs, leads)
