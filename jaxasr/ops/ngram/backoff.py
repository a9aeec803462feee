"""N-gram models on the device: the log probabilities of all tokens after every hypothesis of a batch, by array lookups.

The state of a hypothesis is one integer: the longest context of the model that its tokens end with (ops/ngram/contexts.py).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int64

from jaxasr.ops.ngram.contexts import Contexts, contexts_of, labelled, rows
from jaxasr.text.ngram import STOP, NGram

END = 0  # the token, as in records.py
ROW_BYTES = 2**26  # that rows may take in all


class Arcs(NamedTuple):
    """The contexts of one length, whose arcs are searched."""

    firsts: Int[Array, " contexts_and_one"]
    shorter: Int[Array, " contexts"]  # the longest context that it ends with
    back_offs: Float[Array, " contexts"]
    labels: Int[Array, " arcs"]  # tokens, rising in each context
    log_probs: Float[Array, " arcs"]
    leads: Int[Array, " arcs"]  # to which context; -1: none
    nth: Int[Array, " most"]  # 0, 1, ... as many as the most arcs of a context


class Backoff(NamedTuple):
    """An n-gram model of tokens (records.LanguageModel): p(token | all before), exactly as the ARPA file has it.

    The shorter contexts have a row of all v tokens each, with the back-off worked out, as far as `ROW_BYTES` allows; of an
    n-gram model of letters those are often all contexts. A step then costs one row a hypothesis. Of longer contexts the
    arcs are kept: a step takes the row of the context's ending, and from short to long adds a back-off and puts in the
    log probabilities of the arcs, as many writes a hypothesis and length as the most arcs that a context of the length
    has; its context is found by bisection, one for each length. Memory: 12 bytes an n-gram, 12 a context, 8 v a row.
    """

    log_probs_kv: Float[Array, "k v"]  # of the contexts that have a row
    leads_kv: Int[Array, "k v"]  # the context after each token
    longer: tuple[Arcs, ...]  # all other contexts by their length, counted on from k
    begin: Int[Array, ""]  # the context <s>

    @property
    def vocab(self) -> int:
        """Tokens, the end included."""
        return self.log_probs_kv.shape[1]

    def start(self, examples: int) -> Int[Array, " b"]:
        """Contexts before the first token."""
        return jnp.broadcast_to(self.begin, (examples,))

    def step(self, state: Int[Array, " b"], tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Int[Array, " b"]]:
        """Returns natural log probabilities of all next tokens, and the contexts. END always begins a sentence."""
        contexts_b = jnp.where(tokens_b == END, self.begin, self.look_up(state, tokens_b).contexts_b)
        chain, ending_b = self._chain(contexts_b)
        log_probs_bv = _at(self.log_probs_kv, ending_b)
        for link in reversed(chain):
            log_probs_bv = _overlaid(log_probs_bv, link)
        return log_probs_bv, contexts_b

    def look_up(self, contexts_b: Int[Array, " b"], tokens_b: Int[Array, " b"]) -> "BackoffScores":
        """Returns one token after each context: how probable it is, and the context after it."""
        chain, ending_b = self._chain(contexts_b)
        log_probs_b = self.log_probs_kv[ending_b, tokens_b]
        leads_b = self.leads_kv[ending_b, tokens_b]
        for link in reversed(chain):
            if not link.arcs.labels.shape[0]:
                log_probs_b = log_probs_b + link.back_offs_b
                continue
            places_b, there_b = _bisected(link, tokens_b)
            longer_b = _at(link.arcs.log_probs, places_b)
            lead_b = _at(link.arcs.leads, places_b)
            log_probs_b = jnp.where(there_b, longer_b, log_probs_b + link.back_offs_b)
            leads_b = jnp.where(there_b & (lead_b >= 0), lead_b, leads_b)
        return BackoffScores(log_probs_b, leads_b)

    def _chain(self, contexts_b: Int[Array, " b"]) -> tuple[list["_Link"], Int[Array, " b"]]:
        """Returns each context, what it ends with, and so on: those without a row from long to short, and the row at last."""
        chain = []
        stop = self.log_probs_kv.shape[0] + sum(arcs.shorter.shape[0] for arcs in self.longer)
        for arcs in reversed(self.longer):
            stop -= arcs.shorter.shape[0]
            here_b = contexts_b >= stop
            places_b = jnp.where(here_b, contexts_b - stop, 0)
            chain.append(_Link(arcs, here_b, places_b))
            contexts_b = jnp.where(here_b, _at(arcs.shorter, places_b), contexts_b)
        return chain, contexts_b


class BackoffScores(NamedTuple):
    """The result of `Backoff.look_up`."""

    log_probs_b: Float[Array, " b"]
    contexts_b: Int[Array, " b"]


class _Link(NamedTuple):
    """One length of the contexts that hypotheses end with."""

    arcs: Arcs
    here_b: Bool[Array, " b"]  # False: the hypothesis has no context of this length
    places_b: Int[Array, " b"]  # the context

    @property
    def back_offs_b(self) -> Float[Array, " b"]:
        return jnp.where(self.here_b, _at(self.arcs.back_offs, self.places_b), 0.0)


def _overlaid(log_probs_bv: Float[Array, "b v"], link: _Link) -> Float[Array, "b v"]:
    """Returns the rows of the contexts from those of what they end with."""
    log_probs_bv = log_probs_bv + link.back_offs_b[:, None]
    arcs = link.arcs
    nth_k = link.arcs.nth[None, :]
    if not arcs.labels.shape[0]:
        return log_probs_bv
    places_bk = _at(arcs.firsts, link.places_b)[:, None] + nth_k
    there_bk = link.here_b[:, None] & (places_bk < _at(arcs.firsts, link.places_b + 1)[:, None])
    places_bk = jnp.where(there_bk, places_bk, 0)
    # what isn't there is written behind the end, each in a place of its own, and so dropped
    tokens_bk = jnp.where(there_bk, _at(arcs.labels, places_bk), log_probs_bv.shape[1] + nth_k)
    rows_b1 = jnp.arange(log_probs_bv.shape[0])[:, None]
    return log_probs_bv.at[rows_b1, tokens_bk].set(_at(arcs.log_probs, places_bk), mode="drop", unique_indices=True)


def _bisected(link: _Link, tokens_b: Int[Array, " b"]) -> tuple[Int[Array, " b"], Bool[Array, " b"]]:
    """Returns the arc with the token's label, and whether there is one."""
    arcs = link.arcs
    last = arcs.labels.shape[0] - 1

    def halved(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low_b, high_b = ends
        middle_b = (low_b + high_b) // 2
        less_b = (low_b < high_b) & (_at(arcs.labels, jnp.minimum(middle_b, last)) < tokens_b)
        return jnp.where(less_b, middle_b + 1, low_b), jnp.where(less_b, high_b, middle_b)

    start_b = _at(arcs.firsts, link.places_b)
    stop_b = _at(arcs.firsts, link.places_b + 1)
    low_b, _ = jax.lax.fori_loop(0, arcs.nth.shape[0].bit_length(), halved, (start_b, stop_b))
    place_b = jnp.minimum(low_b, last)
    return place_b, link.here_b & (low_b < stop_b) & (_at(arcs.labels, place_b) == tokens_b)


def _at(array: Array, places: Array) -> Array:
    """Gathers at places that are known to be inside, without checks and wrapping, which compile slowly."""
    return array.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)


def backoff(model: NGram, words: Sequence[str], *, row_bytes: int = ROW_BYTES) -> Backoff:
    """Returns the model on the device, as one of tokens.

    Args:
        words: the word of the model that each token stands for, the first </s>. One that the model does not have is <unk>;
            in a model without it, its log10 probability is -100 (KenLM's) and no context goes on from it.
        row_bytes: what the rows may take. The empty context always has one.

    Raises:
        ValueError: the first is another word, or the model has no </s>.
    """
    if words[END] != STOP or STOP not in model.ids:
        raise ValueError(f"token {END} ends a sentence, so {STOP} is needed, as the first of `words` and in the model")
    return laid_out(contexts_of(model), np.array([model.id(word) for word in words]), row_bytes=row_bytes)


def laid_out(contexts: Contexts, words: Int64[np.ndarray, " v"], *, row_bytes: int) -> Backoff:
    """Contexts on the device; each token stands for a word by its number, -1 for none."""
    contexts = labelled(contexts, words)
    vocab = len(words)
    starts = contexts.starts
    fitting = [n for n, stop in enumerate(starts) if n and 8 * vocab * stop <= row_bytes]
    lengths = max(fitting, default=1)
    dense = rows(contexts, vocab, lengths)
    return Backoff(
        log_probs_kv=jnp.asarray(dense.log_probs, jnp.float32),
        leads_kv=jnp.asarray(dense.leads),
        longer=tuple(_arcs(contexts, start, stop) for start, stop in pairwise(starts[lengths:]) if start < stop),
        begin=jnp.int32(contexts.begin),
    )


def _arcs(contexts: Contexts, start: int, stop: int) -> Arcs:
    firsts = contexts.firsts[start : stop + 1]
    some = slice(firsts[0], firsts[-1])
    return Arcs(
        firsts=jnp.asarray(firsts - firsts[0], jnp.int32),
        shorter=jnp.asarray(contexts.shorter[start:stop], jnp.int32),
        back_offs=jnp.asarray(contexts.back_offs[start:stop], jnp.float32),
        labels=jnp.asarray(contexts.labels[some], jnp.int32),
        log_probs=jnp.asarray(contexts.log_probs[some], jnp.float32),
        leads=jnp.asarray(contexts.leads[some], jnp.int32),
        nth=jnp.arange(np.diff(firsts).max(initial=0)),
    )
