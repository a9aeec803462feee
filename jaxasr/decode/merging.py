"""Hypotheses that write the same text, cut into tokens in another way, are one: recombination of a beam."""

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
    """A scorer that says nothing: its share is what a hypothesis has taken over from others."""

    name: str = "merged"

    def init(self, encoded: EncodedBatch) -> ScorerState:
        """As in `Scorer`."""

        def score(memory: Any, state: Any, heard: DecoderOutput) -> tuple[Array, Any]:
            return jnp.zeros_like(heard.log_probs_bv), state

        return ScorerState((), (), score)


def read(codes_bq: UInt32[Array, "b q"], tokens_bq: Int[Array, "b q"], tokenizer: Tokenizer) -> UInt32[Array, "b q"]:
    """The hash of each text with a token more; the end writes nothing."""
    hashes, powers = _written(tokenizer)
    return codes_bq * jnp.asarray(powers)[tokens_bq] + jnp.asarray(hashes)[tokens_bq]


def merge_gains(
    log_probs_bq: Float[Array, "b q"], ranks_bq: Float[Array, "b q"], codes_bq: UInt32[Array, "b q"]
) -> Float[Array, "b q"]:
    """What each gains if of those with the same code the best takes over the probabilities of all; -inf: it was taken over.

    Args:
        ranks_bq: the best has the largest; of equal ones the first is the best. -inf: there is none, and it stays so.
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
    """The hash of what each token writes, and the factor that it moves a hash on by."""
    hashes, powers = np.zeros(tokenizer.size, np.uint32), np.ones(tokenizer.size, np.uint32)
    for token, letters in enumerate(text.piece_texts(tokenizer)):
        code, power = 0, 1
        for letter in letters:
            code, power = (code * _FACTOR + ord(letter) + 1) % 2**32, power * _FACTOR % 2**32
        hashes[token], powers[token] = code, power
    return hashes, powers
