"""Blockwise attention against whole scores, and against the formula in float64."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.hlo import read_program
from jaxasr.ops.attention.blockwise import ByDistance, blockwise_attention
from jaxasr.ops.attention.energies import attention_weights, read_all
from jaxasr.ops.attention.positions import shift_relative
from jaxasr.ops.products import wide_einsum
from tests.reference import attention as reference
from tests.reference.positions import shift_relative as reference_shift

BLOCK = 8
HEADS, WIDTH = 2, 4


def causal(q, k):
    return q[:, None] >= k[None, :]


def chunked(q, k):
    back = q[:, None] // 3 - k[None, :] // 3
    return (back >= 0) & (back <= 1)


def arrays(rng, positions, dtype: Any = np.float64, examples=2):
    """Returns q, k, v, queries by distance and rows by distance."""
    shapes = [(examples, positions, HEADS, WIDTH)] * 4 + [(2 * positions - 1, HEADS, WIDTH)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def blocks(q, k, v, by_distance, rows, *, valid, sees=None, block=BLOCK, relative=True):
    term = ByDistance(by_distance, rows) if relative else None
    return blockwise_attention(q, k, v, valid, by_distance=term, sees=sees, block=block)


def stored(q, k, v, by_distance, rows, *, valid, sees=None, relative=True):
    scores = wide_einsum("bqhe,bkhe->bhqk", q, k)
    if relative:
        scores = scores + shift_relative(wide_einsum("bqhe,rhe->bhqr", by_distance, rows))
    visible = valid[:, None]
    if sees is not None:
        at = jnp.arange(q.shape[1])
        visible = visible & sees(at, at)[None]
    return read_all(attention_weights(scores, visible, v.dtype), v).reshape(q.shape)


def by_formula(q, k, v, by_distance, rows, *, valid, sees=None, relative=True):
    """The formula by loops over examples, heads, queries and visible keys."""
    b, positions, heads, _ = q.shape
    at = np.arange(positions)
    allowed_qk = np.ones((positions, positions), bool) if sees is None else np.asarray(sees(at, at))
    out = np.zeros(q.shape)
    for row in range(b):
        for head in range(heads):
            scores = q[row, :, head] @ k[row, :, head].T
            if relative:
                scores = scores + reference_shift(by_distance[row, :, head] @ rows[:, head].T)
            for query in range(positions):
                keys = np.flatnonzero(allowed_qk[query] & valid[row])
                weights = reference.softmax(scores[query, keys])
                out[row, query, head] = sum(
                    (w * v[row, key, head] for w, key in zip(weights, keys, strict=True)), np.zeros(WIDTH)
                )
    return out


def lengths_mask(positions, *lengths):
    return jnp.arange(positions)[None] < jnp.asarray(lengths)[:, None]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("sees", [None, causal, chunked])
@pytest.mark.parametrize("positions", [1, 2, 8, 9, 21])
def test_outputs_and_all_gradients_are_those_of_whole_scores_and_of_the_formula(rng, positions, sees, relative):
    with jax.enable_x64(True):
        given = arrays(rng, positions)
        settings = {"valid": lengths_mask(positions, positions, positions // 2), "sees": sees, "relative": relative}
        out, backward = jax.vjp(jax.jit(functools.partial(blocks, **settings)), *given)
        expected, expected_backward = jax.vjp(functools.partial(stored, **settings), *given)
        mix = jnp.asarray(rng.normal(size=out.shape))
        gradients, expected_gradients = backward(mix), expected_backward(mix)
    numbers = [np.asarray(x) for x in given]
    formula = by_formula(*numbers, **(settings | {"valid": np.asarray(settings["valid"])}))
    assert out.dtype == jnp.float64
    np.testing.assert_allclose(out, formula, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=2e-6)  # the softmax of whole scores is float32
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("sees", [None, chunked])
def test_gradients_are_those_of_the_formula_in_float64(rng, sees):
    """Central differences of the formula along a random direction of each argument."""
    positions, step = 11, 1e-6
    with jax.enable_x64(True):
        given = arrays(rng, positions)
        valid = lengths_mask(positions, 11, 7)
        mix = rng.normal(size=given[0].shape)
        gradients = jax.grad(lambda *x: jnp.sum(blocks(*x, valid=valid, sees=sees) * mix), argnums=(0, 1, 2, 3, 4))(
            *given
        )
    numbers = [np.asarray(x) for x in given]
    for place, gradient in enumerate(gradients):
        direction = rng.normal(size=numbers[place].shape)
        values = []
        for sign in (1, -1):
            moved = [x + sign * step * direction if n == place else x for n, x in enumerate(numbers)]
            values.append(np.sum(by_formula(*moved, valid=np.asarray(valid), sees=sees) * mix))
        np.testing.assert_allclose(
            np.sum(np.asarray(gradient) * direction), (values[0] - values[1]) / (2 * step), rtol=1e-6
        )


def test_padding_changes_nothing_and_gets_no_gradient(rng):
    """Keys at padding may be anything finite, and the padded axis may have any length."""
    q, k, v, by_distance, rows = arrays(rng, 13, np.float32)
    valid = lengths_mask(13, 13, 13)
    alone = blocks(q, k, v, by_distance, rows, valid=valid)
    more = 30 - 13

    def padded(x, value):
        return jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0)), constant_values=value)

    long = [padded(x, value) for x, value in ((q, 3.0), (k, 1e3), (v, -1e3), (by_distance, 5.0))]
    long.append(jnp.pad(rows, ((more, more), (0, 0), (0, 0)), constant_values=7.0))

    def loss(*x):
        out = blocks(*x, valid=lengths_mask(30, 13, 13))
        return jnp.sum(out[:, :13] ** 2), out

    gradients, out = jax.grad(loss, argnums=(0, 1, 2, 3, 4), has_aux=True)(*long)
    np.testing.assert_allclose(out[:, :13], alone, rtol=1e-5, atol=1e-5)
    for gradient in gradients[:4]:
        assert np.any(gradient[:, :13])
        assert not np.any(gradient[:, 13:])
    assert not np.any(gradients[4][:more])
    assert not np.any(gradients[4][-more:])


def test_a_query_without_visible_keys_reads_zero_and_has_no_gradient(rng):
    given = arrays(rng, 9, np.float32)
    valid = lengths_mask(9, 9, 0)
    out, backward = jax.vjp(lambda *x: blocks(*x, valid=valid), *given)
    assert not np.any(out[1])
    assert np.all(np.isfinite(out))
    for gradient in backward(jnp.ones_like(out))[:4]:
        assert np.all(np.isfinite(gradient))
        assert not np.any(gradient[1])


def test_bfloat16_is_as_near_to_the_formula_as_whole_scores(rng):
    positions = 40
    exact = [np.asarray(x, np.float64) for x in arrays(rng, positions, jnp.bfloat16)]
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in exact]
    valid = lengths_mask(positions, 40, 29)
    formula = by_formula(*exact, valid=np.asarray(valid))
    out = jax.jit(functools.partial(blocks, valid=valid))(*narrow)
    whole = jax.jit(functools.partial(stored, valid=valid))(*narrow)
    assert out.dtype == jnp.bfloat16
    errors = [np.sqrt(np.mean((np.asarray(x, np.float64) - formula) ** 2)) for x in (out, whole)]
    assert errors[0] <= 1.1 * errors[1] < 0.01


def test_scores_of_hundreds_overflow_nothing(rng):
    given = arrays(rng, 20, np.float32)
    loud = [given[0] * 300.0, *given[1:]]
    valid = lengths_mask(20, 20, 20)
    out, backward = jax.vjp(lambda *x: blocks(*x, valid=valid), *loud)
    np.testing.assert_allclose(out, stored(*loud, valid=valid), rtol=1e-4, atol=1e-4)
    assert all(np.all(np.isfinite(gradient)) for gradient in backward(out))


def test_no_array_of_all_queries_by_all_keys_is_in_the_program(rng):
    """The compiled forward and backward pass; whole scores have such arrays, so the test can see them."""
    positions = 256
    given = arrays(rng, positions, np.float32, examples=1)
    valid = lengths_mask(positions, positions)

    def most_elements(attention):
        def loss(*x):
            return jnp.sum(attention(*x, valid=valid) ** 2)

        text = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4))).lower(*given).compile().as_text()
        assert text is not None
        types = [
            array
            for computation in read_program(text).computations.values()
            for instruction in computation.values()
            for array in instruction.types
        ]
        return max(int(np.prod(array.dims)) for array in types)

    assert most_elements(stored) >= HEADS * positions**2
    assert most_elements(functools.partial(blocks, block=32)) <= HEADS * 32 * (positions + 32)
