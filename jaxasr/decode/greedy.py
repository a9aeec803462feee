"""Greedy search: the most likely token at every step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.decode.search import MaxTokens, encode_batch
from jaxasr.records import END, Batch, Decodable, Hypotheses, pytree


@dataclass(frozen=True)
class Greedy:
    """A search that takes the most likely token until the end symbol; one hypothesis per example with its log probability.

    The result equals that of `Beam(1)`. It is cheaper, because nothing is sorted and no state is moved.
    """

    max_tokens: MaxTokens = MaxTokens()

    def __call__(self, decodable: Decodable, batch: Batch) -> Hypotheses:
        """Returns the greedy transcript of each example; padding rows come back empty and finished.

        Args:
            decodable: model with its parameters bound.
            batch: waves; tokens are not read.
        """
        here = encode_batch(decodable, batch, self.max_tokens)
        heads_positions = here.shapes.weights_bhs.shape[1:]
        path = _begin(here.limits_b, here.start.state, cap=here.tokens, heads_positions=heads_positions)

        def step(path: _Path) -> _Path:
            return _step(decodable, here.start.memory, here.limits_b, path)

        path = jax.lax.while_loop(lambda path: jnp.any(~path.done_b), step, path)
        return Hypotheses(
            tokens_bwu=path.tokens_ub.T[:, None, :],
            token_lengths_bw=path.lengths_b[:, None],
            scores_bw=path.log_probs_b[:, None],
            log_probs_bw=path.log_probs_b[:, None],
            weights_buhs=jnp.moveaxis(path.weights_ubhs, 0, 1),
            finished_bw=path.finished_b[:, None],
        )


@pytree
@dataclass(frozen=True)
class _Path:
    """The carry of the loop. The token axis leads where one entry is written per step, so the update is in place."""

    i: Int[Array, ""]  # steps taken
    state: Any
    previous_b: Int[Array, " b"]
    tokens_ub: Int[Array, "u b"]
    weights_ubhs: Float[Array, "u b h s"]
    lengths_b: Int[Array, " b"]
    log_probs_b: Float[Array, " b"]
    finished_b: Bool[Array, " b"]
    done_b: Bool[Array, " b"]  # finished or cut


def _begin(limits_b: Int[Array, " b"], state: Any, *, cap: int, heads_positions: tuple[int, ...]) -> _Path:
    examples = limits_b.shape[0]
    return _Path(
        i=jnp.int32(0),
        state=state,
        previous_b=jnp.full(examples, END, jnp.int32),
        tokens_ub=jnp.zeros((cap, examples), jnp.int32),
        weights_ubhs=jnp.zeros((cap, examples, *heads_positions)),
        lengths_b=jnp.zeros(examples, jnp.int32),
        log_probs_b=jnp.zeros(examples),
        finished_b=limits_b == 0,
        done_b=limits_b == 0,
    )


def _step(decodable: Decodable, memory: Any, limits_b: Int[Array, " b"], path: _Path) -> _Path:
    step = decodable.step(memory, path.state, path.previous_b)
    log_probs_bv = step.log_probs_bv.astype(jnp.float32)
    best_b = jnp.argmax(log_probs_bv, axis=-1).astype(jnp.int32)
    ended_b = ~path.done_b & (best_b == END)
    writes_b = ~path.done_b & (best_b != END)
    weights_bhs = jnp.where(writes_b[:, None, None], step.weights_bhs, 0.0)
    return _Path(
        i=path.i + 1,
        state=step.state,
        previous_b=best_b,
        tokens_ub=path.tokens_ub.at[path.i].set(jnp.where(writes_b, best_b, 0)),
        weights_ubhs=path.weights_ubhs.at[path.i].set(weights_bhs.astype(jnp.float32)),
        lengths_b=path.lengths_b + writes_b,
        log_probs_b=path.log_probs_b + jnp.where(path.done_b, 0.0, jnp.max(log_probs_bv, axis=-1)),
        finished_b=path.finished_b | ended_b,
        done_b=path.done_b | ended_b | (path.i + 1 >= limits_b),
    )
