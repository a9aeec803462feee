"""Self-attention that stores no scores: each block of queries meets all keys, in the forward pass and again in the backward.

The largest array has the scores of one block of queries. The backward pass saves queries, keys, values, the output and the
logarithms of the softmax's denominators, and computes the scores of a block again.

XLA keeps blocks that are small enough in a TPU's vector memory: 128 queries of 4 examples on a v5e. On a GPU it writes the
scores of each block to the main memory, so blocks save memory there and not time (experiments/plans/README.md).

Sources: Rabe and Staats 2021, arXiv:2112.05682; Dao et al. 2022, FlashAttention, arXiv:2205.14135, section 3.1.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention.positions import shift_relative
from jaxasr.ops.products import wide

Sees = Callable[[Int[Array, " q"], Int[Array, " k"]], Bool[Array, "q k"]]  # True where position q may see position k

_TILE = 8  # blocks are multiples of it
_LOWEST = -1e30  # the peak of a query that sees no key
_LEAST = 1e-30  # of a denominator


class ByDistance(NamedTuple):
    """The relative-position term of the scores: query q meets the row of the distance q - k."""

    queries_bqhe: Float[Array, "b q h e"]
    rows_rhe: Float[Array, "r h e"]  # of `positions.distances(q)`


class _Settings(NamedTuple):
    """The static settings of a call."""

    side: int  # queries in a block
    sees: Sees | None


class _Queries(NamedTuple):
    """The queries of a block; or of all blocks, along a leading axis."""

    q: Float[Array, "*n h b q e"]
    by_distance: Float[Array, "*n h b q e"] | None


class _Keys(NamedTuple):
    """The keys and values that all blocks of queries meet."""

    k: Float[Array, "h b k e"]
    v: Float[Array, "h b k e"]
    rows: (
        Float[Array, "h r e"] | None
    )  # of the distances, with rows for the positions that fill the last block and tile


class _Read(NamedTuple):
    """The output of the forward pass that the backward pass needs."""

    read: Float[Array, "*n h b q e"]
    log_total: Float[Array, "*n h b q"]  # logarithm of the sum of exp(score)


def blockwise_attention(
    q_bqhe: Float[Array, "b q h e"],
    k_bqhe: Float[Array, "b q h e"],
    v_bqhe: Float[Array, "b q h e"],
    valid_bq: Bool[Array, "b q"],
    *,
    by_distance: ByDistance | None = None,
    sees: Sees | None = None,
    block: int,
) -> Float[Array, "b q h e"]:
    """Returns softmax(q k + scores by distance) v over the visible keys of each query; zero where none is visible.

    Products have the operands' precision and sums of at least float32, as in `energies.attention_weights`.

    Args:
        q_bqhe: queries, scaled already.
        valid_bq: True at keys that are real.
        sees: True where a position may see another; hashable. None: everywhere.
        block: the largest number of queries in a block.
    """
    b, positions, heads, e = q_bqhe.shape
    count = math.ceil(positions / block)
    side = _in_tiles(math.ceil(positions / count))
    last_query = count * side - positions  # positions that fill the last block
    last_key = _in_tiles(positions) - positions

    def of_heads(x_bthe: Array, beyond: int) -> Float[Array, "h b t e"]:
        return jnp.pad(x_bthe, ((0, 0), (0, beyond), (0, 0), (0, 0))).transpose(2, 0, 1, 3)

    def in_blocks(x_bqhe: Array) -> Float[Array, "n h b q e"]:
        return jnp.moveaxis(of_heads(x_bqhe, last_query).reshape(heads, b, count, side, e), 2, 0)

    queries = _Queries(in_blocks(q_bqhe), None)
    keys = _Keys(of_heads(k_bqhe, last_key), of_heads(v_bqhe, last_key), None)
    if by_distance is not None:
        rows_rhe = jnp.pad(by_distance.rows_rhe, ((last_query, last_key + 1), (0, 0), (0, 0)))
        queries = _Queries(queries.q, in_blocks(by_distance.queries_bqhe))
        keys = _Keys(keys.k, keys.v, rows_rhe.swapaxes(0, 1))
    valid_bk = jnp.pad(valid_bq, ((0, 0), (0, last_key)))
    read_nhbqe: Array = _attend(_Settings(side, sees), queries, keys, valid_bk)
    return read_nhbqe.transpose(2, 0, 3, 1, 4).reshape(b, count * side, heads, e)[:, :positions]


def _in_tiles(positions: int) -> int:
    return math.ceil(positions / _TILE) * _TILE


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: _Settings, queries: _Queries, keys: _Keys, valid_bk: Array) -> Float[Array, "n h b q e"]:
    return _forward(settings, queries, keys, valid_bk)[0]


def _forward(settings: _Settings, queries: _Queries, keys: _Keys, valid_bk: Array):
    def attend(numbered: tuple[Array, _Queries]) -> _Read:
        scores = _scores(settings, *numbered, keys, valid_bk)
        peak = jnp.max(scores, axis=-1, keepdims=True, initial=_LOWEST)
        exp = jnp.exp(scores - peak)
        total = jnp.maximum(jnp.sum(exp, axis=-1, keepdims=True), _LEAST)
        read = _product("hbqk,hbke->hbqe", exp.astype(keys.v.dtype), keys.v) / total
        return _Read(read.astype(keys.v.dtype), (peak + jnp.log(total))[..., 0])

    result = jax.lax.map(attend, (jnp.arange(queries.q.shape[0]), queries))
    return result.read, (queries, keys, valid_bk, result)


def _backward(settings: _Settings, saved: tuple[_Queries, _Keys, Array, _Read], d_read: Array):
    queries, keys, valid_bk, result = saved
    dtype = wide(keys.k.dtype)

    def attend(sums: _Keys, here: tuple[Array, _Queries, _Read, Array]):
        number, block, result, d_read = here
        d_k, d_v, d_rows = sums
        weights = jnp.exp(_scores(settings, number, block, keys, valid_bk) - result.log_total[..., None])
        d_mean = jnp.sum(result.read.astype(dtype) * d_read.astype(dtype), axis=-1, keepdims=True)
        d_weights = _product("hbqe,hbke->hbqk", d_read, keys.v)
        d_scores = (weights * (d_weights - d_mean)).astype(keys.k.dtype)
        d_q = _product("hbqk,hbke->hbqe", d_scores, keys.k)
        d_k += _product("hbqk,hbqe->hbke", d_scores, block.q)
        d_v += _product("hbqk,hbqe->hbke", weights.astype(keys.v.dtype), d_read)
        d_by_distance = None
        if block.by_distance is not None and keys.rows is not None and d_rows is not None:
            d_shifted = _unshift(d_scores)
            rows = _rows_of_block(settings, keys.rows, number, keys.k.shape[2])
            d_by_distance = _product("hbqr,hre->hbqe", d_shifted, rows).astype(dtype)
            more = _product("hbqr,hbqe->hre", d_shifted, block.by_distance)
            d_rows = _add_to_block(settings, d_rows, more, number)
        narrow = jax.tree.map(lambda x: x.astype(keys.k.dtype), (d_q, d_by_distance))
        return _Keys(d_k, d_v, d_rows), _Queries(*narrow)

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), keys)
    sums, d_queries = jax.lax.scan(attend, zeros, (jnp.arange(queries.q.shape[0]), queries, result, d_read))
    return d_queries, jax.tree.map(lambda x: x.astype(keys.k.dtype), sums), None


_attend.defvjp(_forward, _backward)


def _scores(
    settings: _Settings, number: Array, block: _Queries, keys: _Keys, valid_bk: Array
) -> Float[Array, "h b q k"]:
    """Returns the scores of a block of queries: minus infinity where a key is not visible."""
    scores = _product("hbqe,hbke->hbqk", block.q, keys.k)
    positions = keys.k.shape[2]
    if block.by_distance is not None and keys.rows is not None:
        rows = _rows_of_block(settings, keys.rows, number, positions)
        scores += _shift(_product("hbqe,hre->hbqr", block.by_distance, rows))
    visible = valid_bk[None, :, None]
    if settings.sees is not None:
        at_q = number * settings.side + jnp.arange(settings.side)
        visible &= settings.sees(at_q, jnp.arange(positions))[None, None]
    return jnp.where(visible, scores, -jnp.inf)


def _first_row(settings: _Settings, rows: Array, number: Array, count: int) -> Array:
    """Returns the row of the largest distance of a block, that of its last query to the first key."""
    return rows.shape[1] - count - number * settings.side


def _rows_of_block(settings: _Settings, rows: Array, number: Array, positions: int) -> Float[Array, "h r e"]:
    """Returns the rows of the distances from the queries of a block to all keys."""
    count = settings.side + positions
    return jax.lax.dynamic_slice_in_dim(rows, _first_row(settings, rows, number, count), count, axis=1)


def _add_to_block(settings: _Settings, rows: Array, more: Float[Array, "h r e"], number: Array) -> Array:
    """Returns the rows with some more on those of a block."""
    first = _first_row(settings, rows, number, more.shape[1])
    old = jax.lax.dynamic_slice_in_dim(rows, first, more.shape[1], axis=1)
    return jax.lax.dynamic_update_slice_in_dim(rows, old + more, first, axis=1)


def _shift(scores_hbqr: Array) -> Float[Array, "h b q k"]:
    """Returns scores by key. The last of the r = q + k distances fills a tile."""
    return shift_relative(scores_hbqr)[..., :-1]


def _unshift(d_scores_hbqk: Array) -> Float[Array, "h b q r"]:
    """Returns the gradient of `_shift`."""
    *rest, queries, keys = d_scores_hbqk.shape
    shape = jax.ShapeDtypeStruct((*rest, queries, queries + keys), d_scores_hbqk.dtype)
    return jax.linear_transpose(_shift, shape)(d_scores_hbqk)[0]


def _product(equation: str, x: Array, y: Array) -> Array:
    return jnp.einsum(equation, x, y, preferred_element_type=wide(x.dtype))
