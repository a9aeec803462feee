"""Recombination of a beam: hypotheses that spell the same text with different tokens are merged."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from jaxasr import text
from jaxasr.decode.scorers import DecoderOutput, ScorerState
from jaxasr.decode.search import EncodedBatch
from jaxasr.text.tokenizer import Tokenizer

_FACTOR = 0x01000193  # of the polynomial that texts are hashed by, modulo 2 ** 32


@dataclass(frozen=True)
class MergeScorer:
    """A scorer of zeros. Its entry among the scores of a hypothesis holds what was gained by merging others into it."""

    name: str = "merged"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """Returns the state of the scorer for a batch (`Scorer.init`)."""

        def score(memory: Any, state: Any, output: DecoderOutput) -> tuple[Array, Any]:
            return jnp.zeros_like(output.log_probs_bv), state

        return ScorerState((), (), score)


def read(codes_bq: UInt32[Array, "b q"], tokens_bq: Int[Array, "b q"], tokenizer: Tokenizer) -> UInt32[Array, "b q"]:
    """Returns the hash of each text after one more token; the end adds no text."""
    hashes, powers = _written(tokenizer)
    return codes_bq * jnp.asarray(powers)[tokens_bq] + jnp.asarray(hashes)[tokens_bq]


def merge_gains(
    log_probs_bq: Float[Array, "b q"], ranks_bq: Float[Array, "b q"], codes_bq: UInt32[Array, "b q"]
) -> Float[Array, "b q"]:
    """Returns the gain of each hypothesis if, among those of one code, the best takes over the probability of all.

    The others get -inf.

    Args:
        ranks_bq: the best has the largest rank; among equal ones, the first is the best. -inf: an empty slot, which stays so.
    """
    there_bq = ranks_bq > -jnp.inf
    same_bqq = (codes_bq[:, :, None] == codes_bq[:, None, :]) & there_bq[:, :, None] & there_bq[:, None, :]
    best_bq = jnp.argmax(jnp.where(same_bqq, ranks_bq[:, None, :], -jnp.inf), axis=-1)
    sums_bq = jax.nn.logsumexp(jnp.where(same_bqq, log_probs_bq[:, None, :], -jnp.inf), axis=-1)
    leads_bq = best_bq == jnp.arange(codes_bq.shape[1])[None, :]
    gains_bq = jnp.where(there_bq, sums_bq - jnp.where(there_bq, log_probs_bq, 0.0), 0.0)
    return jnp.where(leads_bq | ~there_bq, gains_bq, -jnp.inf)


@lru_cache(maxsize=8)
def _written(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hash of the text of each token, and the factor by which it advances the hash before it."""
    hashes = np.zeros(tokenizer.size, np.uint32)
    powers = np.ones(tokenizer.size, np.uint32)
    for token, letters in enumerate(text.piece_texts(tokenizer)):
        code = 0
        for letter in letters:
            code = (code * _FACTOR + ord(letter) + 1) % 2**32
        hashes[token] = code
        powers[token] = pow(_FACTOR, len(letters), 2**32)
    return hashes, powers
