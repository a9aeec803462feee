"""Beam search over a batch, in one compiled loop.

Each step runs the model once for all live hypotheses (the memory of an utterance is not repeated for them), takes the best
of all continuations, moves those that end to the n best and keeps `width` others alive. A step stores tokens, parents and
attention rows; the sequences are read from them backwards after the loop.

Sources: Sutskever et al. 2014, section 3.2 (an ending must be among the `width` best continuations, and then leaves the
beam); Huang et al. 2017, "When to Finish?", EMNLP (when to stop); Hannun et al. 2019, arXiv:1904.02619 (end threshold).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxasr.decode import merging
from jaxasr.decode.merging import MergeScorer
from jaxasr.decode.scorers import CombinedScorer, CtcPrefixScorer, DecoderScorer, Scorer, combine_scorers
from jaxasr.decode.search import EncodedBatch, MaxTokens, encode_batch
from jaxasr.decode.trace import along, trace
from jaxasr.records import END, Batch, Decodable, Hypotheses, pytree
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.tree import check_numbers

MERGE_MARGIN = 1_000.0  # ratio of the n-th best one's probability to that of all hypotheses that could still be merged


@dataclass(frozen=True)
class Beam:
    """A beam search that keeps the `width` best unfinished hypotheses and returns the `nbest` best finished ones.

    The log probability of a hypothesis is (1 - ctc_weight) times the model's, plus ctc_weight times CTC's, plus the scores of
    `scorers`. A hypothesis of n tokens has the score log_prob / (n + 1) ** length_norm: the end counts; 0 gives the log
    probability and 1 its mean. Hypotheses that were cut at `max_tokens` come after all that ended, and only where fewer than
    `nbest` ended.
    """

    width: int
    nbest: int = 1
    length_norm: float = 0.0
    end_threshold: float | None = None  # >= 1: the end must have log p > threshold * the best other log p (Hannun: 1.5)
    ctc_weight: float = 0.0  # share of the exact CTC prefix score in the log probability; needs a model with a CTC head
    max_tokens: MaxTokens = MaxTokens()
    # proven: stop when no live hypothesis could enter the n best at any length; likely: at its present length
    # (both are the same at length_norm 0; above it, a poor model searches to max_tokens before the proof holds)
    stop: Literal["proven", "likely"] = "proven"
    scorers: tuple[Scorer, ...] = ()  # language models (fusion.py), rewards, constraints, hotwords
    # hypotheses of the same text are merged into the best of them, with the sum of their probabilities. "proven" then means
    # that all live hypotheses together have less than 1 / MERGE_MARGIN of the n-th best one's probability
    merge: Tokenizer | None = None
    alignments: bool = True  # False: no attention is stored, and that of the hypotheses has an empty axis s

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.width < 1 or not 1 <= self.nbest <= self.width:
            raise ValueError(f"Beam has width {self.width} and nbest {self.nbest}; 1 <= nbest <= width is needed")
        if self.length_norm < 0:
            raise ValueError(f"Beam has length_norm {self.length_norm}; 0 (none) to about 1 (the mean) is needed")
        if self.end_threshold is not None and self.end_threshold < 1:
            raise ValueError(f"Beam has end_threshold {self.end_threshold}; None or >= 1 is needed")
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"Beam has ctc_weight {self.ctc_weight}; a share from 0 to 1 is needed")
        if self.stop not in ("proven", "likely"):
            raise ValueError(f"Beam has stop {self.stop!r}; 'proven' or 'likely' is needed")
        if len(set(self.scorer_names)) < len(self.scorer_names):
            raise ValueError(f"Beam has scorers of the same name: {', '.join(self.scorer_names)}; each needs its own")

    @property
    def scorer_names(self) -> tuple[str, ...]:
        """The names of the scorers, in the order of `Hypotheses.scores_by_scorer_bwk`."""
        return tuple(scorer.name for scorer in self._all)

    @property
    def _all(self) -> tuple[Scorer, ...]:
        ctc = (CtcPrefixScorer(self.ctc_weight),) if self.ctc_weight else ()
        merged = (MergeScorer(),) if self.merge else ()
        return (DecoderScorer(1 - self.ctc_weight), *ctc, *self.scorers, *merged)

    def __call__(self, decodable: Decodable, batch: Batch) -> Hypotheses:
        """Returns the n best of each example; padding rows come back empty and finished.

        Args:
            decodable: model with its parameters bound.
            batch: waves; tokens are not read.

        Raises:
            ValueError: ctc_weight > 0 and the model has no CTC head, or it lacks what a scorer reads.
        """
        return self.of(encode_batch(decodable, batch, self.max_tokens))

    def of(self, here: EncodedBatch) -> Hypotheses:
        """Returns the n best of each example of an encoded batch."""
        scorer = combine_scorers(here, self._all, end_threshold=self.end_threshold)
        heads, positions = here.shapes.weights_bhs.shape[1:]
        weights_hs = (heads, positions if self.alignments else 0)
        found = jax.lax.while_loop(
            lambda carry: jnp.any(~carry.done_b),
            lambda carry: _step(self, scorer, here.limits_b, carry),
            _begin(self, scorer, here.limits_b, cap=here.tokens, weights_hs=weights_hs),
        )
        return _read(self, found, here.limits_b)


@pytree
@dataclass(frozen=True)
class _FinishedHypotheses:
    """The best finished hypotheses so far, best first. An empty slot has -inf."""

    scores_bw: Float[Array, "b w"]
    by_scorer_bwk: Float[Array, "b w k"]  # of the log probability, one a scorer
    lengths_bw: Int[Array, "b w"]  # tokens, without the end
    codes_bw: UInt32[Array, "b w"]  # of the text, where hypotheses are merged
    slots_bw: Int[Array, "b w"]  # the slot of the last token


@pytree
@dataclass(frozen=True)
class _BeamState:
    """The carry of the loop. The tables lead with the token axis, so that one entry per step is written in place."""

    i: Int[Array, ""]  # steps taken
    state: Any  # leaves b w ...
    log_probs_bw: Float[Array, "b w"]  # of the live hypotheses, best first; -inf: none
    by_scorer_bwk: Float[Array, "b w k"]  # what each scorer added to them
    previous_bw: Int[Array, "b w"]
    codes_bw: UInt32[Array, "b w"]  # as in `_Best`
    tokens_ubw: Int[Array, "u b w"]
    parents_ubw: Int[Array, "u b w"]
    weights_ubwhs: Float[Array, "u b w h s"]
    best: _FinishedHypotheses
    cut_bw: Float[Array, "b w"]  # log probabilities of the hypotheses that were alive at the limit
    cut_by_scorer_bwk: Float[Array, "b w k"]
    done_b: Bool[Array, " b"]


def _begin(
    beam: Beam, scorer: CombinedScorer, limits_b: Int[Array, " b"], *, cap: int, weights_hs: tuple[int, ...]
) -> _BeamState:
    b = limits_b.shape[0]
    w = beam.width
    zeros_bwk = jnp.zeros((b, w, len(scorer.scorers)))
    nothing_bw = jnp.full((b, w), -jnp.inf)
    zeros_bw = jnp.zeros((b, w), jnp.int32)
    codes_bw = jnp.zeros((b, w), jnp.uint32)
    # an example without positions is finished: its only hypothesis, the empty one, has probability 1
    certain_bw = nothing_bw.at[:, 0].set(jnp.where(limits_b == 0, 0.0, -jnp.inf))
    return _BeamState(
        i=jnp.int32(0),
        state=jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], w, axis=1), scorer.state),
        log_probs_bw=nothing_bw.at[:, 0].set(0.0),
        by_scorer_bwk=zeros_bwk,
        previous_bw=jnp.full((b, w), END, jnp.int32),
        codes_bw=codes_bw,
        tokens_ubw=jnp.zeros((cap, b, w), jnp.int32),
        parents_ubw=jnp.zeros((cap, b, w), jnp.int32),
        weights_ubwhs=jnp.zeros((cap, b, w, *weights_hs)),
        best=_FinishedHypotheses(certain_bw, zeros_bwk, zeros_bw, codes_bw, zeros_bw),
        cut_bw=nothing_bw,
        cut_by_scorer_bwk=zeros_bwk,
        done_b=limits_b == 0,
    )


def _step(beam: Beam, scorer: CombinedScorer, limits_b: Int[Array, " b"], carry: _BeamState) -> _BeamState:
    """Extends every live hypothesis by one token."""
    b, w = carry.log_probs_bw.shape
    scored = jax.vmap(scorer.step, in_axes=(None, 1, 1), out_axes=1)(scorer.memory, carry.state, carry.previous_bw)
    extended_bwv = carry.log_probs_bw[:, :, None] + jnp.sum(scored.scores_bkv, axis=2)  # b w k v: vmap has put w in
    extended_bwv = jnp.where(carry.done_b[:, None, None], -jnp.inf, extended_bwv)
    v = extended_bwv.shape[-1]

    # 2 w candidates always include w that continue, because each hypothesis has only one way to end
    candidates_bc, flat_bc = jax.lax.top_k(extended_bwv.reshape(b, w * v), 2 * w)
    tokens_bc = flat_bc % v
    parents_bc = flat_bc // v
    by_scorer_bck = _rows(carry.by_scorer_bwk, parents_bc) + _added(scored.scores_bkv, parents_bc, tokens_bc)
    codes_bc = _rows(carry.codes_bw, parents_bc)
    goes_on_bc = tokens_bc != END
    ended_bw = jnp.where(goes_on_bc, -jnp.inf, candidates_bc)[:, :w]
    scores_bw = ended_bw / (carry.i + 1.0) ** beam.length_norm
    lengths_bw = jnp.broadcast_to(carry.i, (b, w))
    ending = _FinishedHypotheses(scores_bw, by_scorer_bck[:, :w], lengths_bw, codes_bc[:, :w], parents_bc[:, :w])
    best = _better(beam, carry.best, ending)
    going_bc = jnp.where(goes_on_bc, candidates_bc, -jnp.inf)
    if beam.merge:
        codes_bc = merging.read(codes_bc, tokens_bc, beam.merge)
        gains_bc = merging.merge_gains(going_bc, going_bc, codes_bc)
        going_bc += gains_bc
        by_scorer_bck = by_scorer_bck.at[:, :, -1].add(gains_bc)
    log_probs_bw, picked_bw = jax.lax.top_k(going_bc, w)
    leaves = (tokens_bc, parents_bc, codes_bc, by_scorer_bck)
    tokens_bw, parents_bw, codes_bw, by_scorer_bwk = (_rows(leaf, picked_bw) for leaf in leaves)
    state = jax.tree.map(lambda leaf: _rows(leaf, parents_bw), scored.state)

    attainable_b = _best_attainable(beam, scorer, state, log_probs_bw, limits_b, carry.i)
    proven_b = best.scores_bw[:, beam.nbest - 1] >= attainable_b
    cut_b = ~carry.done_b & ~proven_b & (carry.i + 1 >= limits_b)
    done_b = carry.done_b | proven_b | cut_b
    weights_bwhs = scored.weights_bhs[..., : carry.weights_ubwhs.shape[-1]].astype(jnp.float32)
    return _BeamState(
        i=carry.i + 1,
        state=state,
        log_probs_bw=jnp.where(done_b[:, None], -jnp.inf, log_probs_bw),
        by_scorer_bwk=by_scorer_bwk,
        previous_bw=tokens_bw,
        codes_bw=codes_bw,
        tokens_ubw=carry.tokens_ubw.at[carry.i].set(tokens_bw),
        parents_ubw=carry.parents_ubw.at[carry.i].set(parents_bw),
        weights_ubwhs=carry.weights_ubwhs.at[carry.i].set(weights_bwhs),
        best=best,
        cut_bw=jnp.where(cut_b[:, None], log_probs_bw, carry.cut_bw),
        cut_by_scorer_bwk=jnp.where(cut_b[:, None, None], by_scorer_bwk, carry.cut_by_scorer_bwk),
        done_b=done_b,
    )


def _rows(leaf: Array, places_bq: Int[Array, "b q"]) -> Array:
    """Returns the given rows of each example."""
    return jax.vmap(lambda rows, places: rows[places])(leaf, places_bq)


def _added(
    scores_bwkv: Float[Array, "b w k v"], parents_bc: Int[Array, "b c"], tokens_bc: Int[Array, "b c"]
) -> Float[Array, "b c k"]:
    """Returns the score of each candidate by each scorer."""
    return jax.vmap(lambda scores, parents, tokens: scores[parents, :, tokens])(scores_bwkv, parents_bc, tokens_bc)


def _better(beam: Beam, best: _FinishedHypotheses, ending: _FinishedHypotheses) -> _FinishedHypotheses:
    """Returns the best of the hypotheses that ended before and those that end now (-inf: does not end)."""
    both = jax.tree.map(lambda *pair: jnp.concatenate(pair, axis=1), best, ending)
    if beam.merge:
        log_probs_bq = jnp.where(both.scores_bw > -jnp.inf, jnp.sum(both.by_scorer_bwk, axis=-1), -jnp.inf)
        gains_bq = merging.merge_gains(log_probs_bq, both.scores_bw, both.codes_bw)
        scores_bq = (log_probs_bq + gains_bq) / (both.lengths_bw + 1.0) ** beam.length_norm
        both = replace(both, scores_bw=scores_bq, by_scorer_bwk=both.by_scorer_bwk.at[:, :, -1].add(gains_bq))
    _, picked_bw = jax.lax.top_k(both.scores_bw, beam.width)
    return jax.tree.map(lambda leaf: _rows(leaf, picked_bw), both)


def _best_attainable(
    beam: Beam,
    scorer: CombinedScorer,
    state: Any,
    log_probs_bw: Float[Array, "b w"],
    limits_b: Int[Array, " b"],
    i: Int[Array, ""],
) -> Float[Array, " b"]:
    """Returns the best score that a live hypothesis may still reach, now or at the limit, by the scorers' upper bounds."""
    if beam.stop == "likely":
        return log_probs_bw[:, 0] / (i + 1) ** beam.length_norm
    left_b = jnp.maximum(limits_b - i, 1)
    most_bw = jax.vmap(scorer.upper_bound, in_axes=(None, 1, None), out_axes=1)(scorer.memory, state, left_b)
    sum_b = jnp.max(log_probs_bw + most_bw, axis=1)
    if beam.merge:
        sum_b = jax.nn.logsumexp(log_probs_bw + most_bw, axis=1) + math.log(MERGE_MARGIN)
    soon_b = sum_b / (i + 2.0) ** beam.length_norm
    late_b = sum_b / jnp.maximum(limits_b, i + 2) ** beam.length_norm
    return jnp.maximum(soon_b, late_b)


def _read(beam: Beam, found: _BeamState, limits_b: Int[Array, " b"]) -> Hypotheses:
    """Returns the n best: hypotheses that ended, followed by those that were cut."""
    slots_bw = jnp.broadcast_to(jnp.arange(beam.width), found.cut_bw.shape)
    cut_lengths_bw = jnp.broadcast_to(limits_b[:, None], found.cut_bw.shape)
    cut_scores_bw = found.cut_bw / jnp.maximum(cut_lengths_bw, 1) ** beam.length_norm
    ended_bw = found.best.scores_bw > -jnp.inf
    behind_b = beam.width - jnp.sum(ended_bw, axis=1)
    picked_bw = (slots_bw + jnp.where(ended_bw, 0, behind_b[:, None]))[:, : beam.nbest]  # places in ended + cut

    def pick(ended_bw: Array, cut_bw: Array) -> Array:
        return _rows(jnp.concatenate([ended_bw, cut_bw], axis=1), picked_bw)

    scores_bw = pick(found.best.scores_bw, cut_scores_bw)
    lengths_bw = jnp.where(scores_bw > -jnp.inf, pick(found.best.lengths_bw, cut_lengths_bw), 0)
    by_scorer_bwk = pick(found.best.by_scorer_bwk, found.cut_by_scorer_bwk)
    by_scorer_bwk = jnp.where(scores_bw[:, :, None] > -jnp.inf, by_scorer_bwk, 0.0)
    slots_bw = pick(found.best.slots_bw, slots_bw)
    tokens_ubw, sources_ubw = trace(found.tokens_ubw, found.parents_ubw, lengths_bw, slots_bw)
    return Hypotheses(
        tokens_bwu=jnp.moveaxis(tokens_ubw, 0, -1),
        token_lengths_bw=lengths_bw,
        scores_bw=scores_bw,
        log_probs_bw=jnp.where(scores_bw > -jnp.inf, jnp.sum(by_scorer_bwk, axis=-1), scores_bw),  # else -inf or NaN
        scores_by_scorer_bwk=by_scorer_bwk,
        weights_buhs=along(found.weights_ubwhs, sources_ubw[:, :, 0], lengths_bw[:, 0]),
        finished_bw=ended_bw[:, : beam.nbest],
    )
