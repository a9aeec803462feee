"""Errors counted on the device: words of token sequences by their spelling, and the edit distance between sequences."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from jaxasr.ops.masks import valid_from_lengths


class Spelling(NamedTuple):
    """The spelling of the tokens of a vocabulary, as hashes of letters that do not depend on how a word is split into tokens.

    A token with letters c_1 ... c_n has hash = sum_i c_i P^(n - i) and power = P^n, modulo 2^32. Two tokens in sequence have
    hash_1 power_2 + hash_2.
    """

    hash_v: UInt32[Array, " v"]
    power_v: UInt32[Array, " v"]
    begins_v: Bool[Array, " v"]  # a word begins with it


class Sequences(NamedTuple):
    """The sequences to compare element by element: tokens, or words by their hash. Zero after the length."""

    ids_bu: Int[Array, "b u"] | UInt32[Array, "b u"]
    lengths_b: Int[Array, " b"]


def words_of(tokens_bu: Int[Array, "b u"], lengths_b: Int[Array, " b"], spelling: Spelling) -> Sequences:
    """Returns the words of token sequences, each by a 32-bit hash of its letters (two words in 4 billion share one).

    A word ends before a token that begins one, and at the end; what spells nothing is no word.
    """
    valid_bu = valid_from_lengths(lengths_b, tokens_bu.shape[1])
    begins_bu = spelling.begins_v[tokens_bu] & valid_bu
    ends_bu = valid_bu & jnp.concatenate([begins_bu[:, 1:] | ~valid_bu[:, 1:], jnp.ones_like(valid_bu[:, :1])], axis=1)
    one = jnp.uint32(1)
    nothing = jnp.uint32(0)
    hash_bu = jnp.where(valid_bu, spelling.hash_v[tokens_bu], nothing)
    power_bu = jnp.where(valid_bu, spelling.power_v[tokens_bu], one)
    power_bu = jnp.where(begins_bu, nothing, power_bu)  # forgets what was before

    def join(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] * right[0], left[1] * right[0] + right[1]

    _, word_bu = jax.lax.associative_scan(join, (power_bu, hash_bu), axis=1)
    ends_bu = ends_bu & (word_bu != nothing)
    place_bu = jnp.where(ends_bu, jnp.cumsum(ends_bu, axis=1) - 1, tokens_bu.shape[1])
    rows_bu = jnp.broadcast_to(jnp.arange(tokens_bu.shape[0])[:, None], tokens_bu.shape)
    ids_bu = jnp.zeros_like(word_bu).at[rows_bu, place_bu].set(word_bu, mode="drop")
    return Sequences(ids_bu, jnp.sum(ends_bu, axis=1))


def edit_distance(references: Sequences, hypotheses: Sequences) -> Int[Array, " b"]:
    """Returns the fewest substitutions, deletions and insertions that turn each reference into its hypothesis.

    One row of the table a step, over the elements of the hypothesis; the chain of deletions along a row is a running
    minimum. Sequences may be padded to different widths.

    Source: Levenshtein 1966; Wagner and Fischer 1974.
    """
    references_bq = references.ids_bu
    b, q = references_bq.shape
    places_q = jnp.arange(q + 1)[None]

    def row(before_bq: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        heard_b, number = now
        different_bq = (references_bq != heard_b[:, None]).astype(jnp.int32)
        inserted_b1 = before_bq[:, :1] + 1
        best_bq = jnp.minimum(before_bq[:, 1:] + 1, before_bq[:, :-1] + different_bq)
        best_bq = jnp.concatenate([inserted_b1, best_bq], axis=1)
        best_bq = jax.lax.cummin(best_bq - places_q, axis=1) + places_q
        return jnp.where((number < hypotheses.lengths_b)[:, None], best_bq, before_bq), None

    first_bq = jnp.broadcast_to(places_q, (b, q + 1)).astype(jnp.int32)
    heard_kb = hypotheses.ids_bu.swapaxes(0, 1)
    last_bq, _ = jax.lax.scan(row, first_bq, (heard_kb, jnp.arange(heard_kb.shape[0])))
    return jnp.take_along_axis(last_bq, references.lengths_b[:, None], axis=1)[:, 0]
