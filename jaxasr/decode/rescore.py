"""Rescoring: a second pass over the n best of a search with scorers that are too slow, or too sparse, for the first."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.decode.beam import Beam
from jaxasr.decode.scorers import CombinedScorer, Scorer, combine_scorers
from jaxasr.decode.search import MaxTokens, encode_batch
from jaxasr.records import END, Batch, Decodable, Hypotheses


@dataclass(frozen=True)
class Rescoring:
    """A search that runs `first`, adds the scores of `scorers` to each of its n best, and sorts them again.

    Scores are normalised for length as in `first`. Hypotheses that were cut stay behind all that ended.
    """

    first: Beam
    scorers: tuple[Scorer, ...]

    def __post_init__(self) -> None:
        if self.first.nbest < 2 or not self.scorers:
            raise ValueError(
                f"Rescoring has {len(self.scorers)} scorers for nbest {self.first.nbest}; 1 and 2 are needed"
            )
        if len(set(self.scorer_names)) < len(self.scorer_names):
            raise ValueError(
                f"Rescoring has scorers of the same name: {', '.join(self.scorer_names)}; each needs its own"
            )

    @property
    def scorer_names(self) -> tuple[str, ...]:
        """The names of the scorers of the first pass, then of the second."""
        return (*self.first.scorer_names, *(scorer.name for scorer in self.scorers))

    @property
    def max_tokens(self) -> MaxTokens:
        """The limit of tokens of the first pass."""
        return self.first.max_tokens

    def __call__(self, decodable: Decodable, batch: Batch) -> Hypotheses:
        """Returns the n best of each example in their new order, in the form of `Beam`."""
        here = encode_batch(decodable, batch, self.max_tokens)
        found = self.first.of(here)
        added_bwk, weights_bwuhs = _forced(combine_scorers(here, self.scorers, end_threshold=None), found)
        there_bw = found.scores_bw > -jnp.inf
        by_scorer_bwk = jnp.where(there_bw[:, :, None], added_bwk, 0.0)
        log_probs_bw = found.log_probs_bw + jnp.sum(by_scorer_bwk, axis=-1)
        lengths_bw = found.token_lengths_bw + found.finished_bw
        scores_bw = log_probs_bw / jnp.maximum(lengths_bw, 1) ** self.first.length_norm
        order_bw = jnp.lexsort((-scores_bw, ~found.finished_bw), axis=1)

        def ordered(leaf: Array) -> Array:
            return jax.vmap(lambda rows, places: rows[places])(leaf, order_bw)

        positions = found.weights_buhs.shape[-1]
        return Hypotheses(
            tokens_bwu=ordered(found.tokens_bwu),
            token_lengths_bw=ordered(found.token_lengths_bw),
            scores_bw=ordered(scores_bw),
            log_probs_bw=ordered(log_probs_bw),
            weights_buhs=ordered(weights_bwuhs)[:, 0, ..., :positions],
            finished_bw=ordered(found.finished_bw),
            scores_by_scorer_bwk=ordered(jnp.concatenate([_by_scorer(found), by_scorer_bwk], axis=-1)),
        )


def _by_scorer(found: Hypotheses) -> Float[Array, "b w k"]:
    return found.log_probs_bw[..., None] if found.scores_by_scorer_bwk is None else found.scores_by_scorer_bwk


def _forced(scorer: CombinedScorer, found: Hypotheses) -> tuple[Float[Array, "b w k"], Float[Array, "b w u h s"]]:
    """Returns the sum of each scorer along each hypothesis, and the attention along it."""
    b, w, u = found.tokens_bwu.shape
    before_bwk = jnp.pad(found.tokens_bwu, ((0, 0), (0, 0), (1, 0)), constant_values=END)
    after_bwk = jnp.pad(found.tokens_bwu, ((0, 0), (0, 0), (0, 1)), constant_values=END)
    counted_bw = found.token_lengths_bw + found.finished_bw

    def step(carry: tuple[Any, Array], at: tuple[Array, Array, Array]) -> tuple[tuple[Any, Array], Array]:
        state, sums_bwk = carry
        i, before_bw, after_bw = at
        scored = jax.vmap(scorer.step, in_axes=(None, 1, 1), out_axes=1)(scorer.memory, state, before_bw)
        scores_bwk = jnp.take_along_axis(scored.scores_bkv, after_bw[:, :, None, None], axis=-1)[..., 0]
        sums_bwk += jnp.where((i < counted_bw)[:, :, None], scores_bwk, 0.0)
        weights_bwhs = jnp.where((i < found.token_lengths_bw)[:, :, None, None], scored.weights_bhs, 0.0)
        return (scored.state, sums_bwk), weights_bwhs

    state = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], w, axis=1), scorer.state)
    begin = state, jnp.zeros((b, w, len(scorer.scorers)))
    steps = jnp.arange(u + 1), jnp.moveaxis(before_bwk, 2, 0), jnp.moveaxis(after_bwk, 2, 0)
    (_, sums_bwk), weights_ubwhs = jax.lax.scan(step, begin, steps)
    return sums_bwk, jnp.moveaxis(weights_ubwhs[:u].astype(jnp.float32), 0, 2)
