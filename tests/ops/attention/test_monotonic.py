"""Expected and hard monotonic alignments against the slow recurrence, and their stability in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention import monotonic
from tests.ops.attention.test_energies import compare
from tests.reference import monotonic as reference


def alone(function):
    """`function` on arrays of one example, all of whose positions are real."""

    def run(*arrays_s, **options):
        rows = [x[None] for x in arrays_s]
        return function(*rows, jnp.ones(rows[0].shape, bool), **options)[0]

    return jax.jit(run, static_argnames="width")


@pytest.mark.parametrize("positions", [1, 2, 5])
def test_the_expected_alignment_is_the_sum_over_all_paths(rng, positions):
    before_s = rng.dirichlet(np.ones(positions)) * 0.9
    compare(alone(monotonic.expected_alignment), reference.alignment, (rng.normal(size=positions) * 2, before_s))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_recurrence_is_that_of_one_step_after_the_other(rng, reverse):
    decay_s, x_s = rng.normal(size=(2, 11))

    def twin(decay_s, x_s):
        y, found = 0.0, []
        for decay, x in list(zip(decay_s, x_s, strict=True))[:: -1 if reverse else 1]:
            y = decay * y + x
            found.append(y)
        return np.array(found[:: -1 if reverse else 1])

    compare(
        lambda d, x: monotonic.linear_recurrence(d[None], x[None], reverse=reverse)[0], twin, (decay_s, x_s), rtol=1e-9
    )


LONG = 2_000
HABITS = {
    "never": lambda rng: np.full(LONG, -30.0),
    "always": lambda rng: np.full(LONG, 30.0),
    "seldom": lambda rng: rng.normal(-7.0, 1.0, LONG),
    "noisy": lambda rng: rng.normal(0.0, 8.0, LONG),
    "out of range": lambda rng: rng.choice([-1e4, 1e4], LONG, p=[0.99, 0.01]),
}


@pytest.mark.parametrize("habit", HABITS)
def test_float32_holds_for_long_utterances_and_extreme_probabilities(rng, habit):
    energies_us = np.stack([HABITS[habit](rng) for _ in range(4)]).astype(np.float32)
    expected_s = np.eye(LONG)[0]
    found_bs = jnp.asarray(expected_s, jnp.float32)[None]
    step = jax.jit(lambda e, before: monotonic.expected_alignment(e, before, jnp.ones((1, LONG), bool)))
    for energy_s in energies_us:
        found_bs = step(jnp.asarray(energy_s)[None], found_bs)
        expected_s = reference.alignment_by_steps(energy_s.astype(float), expected_s)
        np.testing.assert_allclose(found_bs[0], expected_s, rtol=3e-5, atol=1e-9)
        assert np.sum(found_bs) <= 1 + 1e-5


@pytest.mark.parametrize("habit", HABITS)
def test_gradients_in_float32_are_those_in_float64(rng, habit):
    energy_s, mix_s = HABITS[habit](rng), rng.normal(size=LONG)
    valid_bs = jnp.ones((1, LONG), bool)

    def value(energy_bs, before_bs):
        stops_bs = monotonic.expected_alignment(energy_bs, before_bs, valid_bs)
        chunks_bs = monotonic.expected_chunk(stops_bs, energy_bs, valid_bs, width=3)
        return jnp.sum(mix_s.astype(energy_bs.dtype)[None] * (stops_bs + chunks_bs))

    def gradients(dtype):
        given = (jnp.asarray(energy_s, dtype)[None], jnp.full((1, LONG), 1 / LONG, dtype))
        return jax.jit(jax.grad(value, argnums=(0, 1)))(*given)

    found = gradients(jnp.float32)
    with jax.enable_x64(True):
        expected = gradients(jnp.float64)
    for got, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("width", [0, 1, 2, 9])
def test_the_expected_chunk_is_a_softmax_behind_every_stop(rng, width):
    stops_s = rng.dirichlet(np.ones(6)) * 0.8
    energy_s = rng.normal(size=6) * 3
    compare(
        lambda stops, energy: alone(monotonic.expected_chunk)(stops, energy, width=width),
        lambda stops, energy: reference.chunk(stops, energy, width),
        (stops_s, energy_s),
        rtol=1e-10,
    )


@pytest.mark.parametrize("width", [0, 4])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_chunks_hold_where_exponentials_would_not(rng, width, scale):
    """Energies hundreds apart: a moving sum of exponentials is zero in most chunks, and divides by it."""
    energy_s = (rng.normal(size=LONG) * scale).astype(np.float32)
    stops_s = rng.dirichlet(np.ones(LONG)).astype(np.float32)
    found_s = alone(monotonic.expected_chunk)(jnp.asarray(stops_s), jnp.asarray(energy_s), width=width)
    expected_s = reference.chunk(stops_s.astype(float), energy_s.astype(float), width)
    np.testing.assert_allclose(found_s, expected_s, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("width", [None, 0, 1, 2])
def test_reading_hard_is_the_loop_of_the_paper(rng, width):
    energies_us, chunks_us = rng.normal(-0.7, 1.0, (2, 9, 7)).astype(np.float32)
    expected_us = reference.read_hard(energies_us, None if width is None else chunks_us, width)
    stop = monotonic.StopPosition(jnp.zeros(1, jnp.int32), jnp.zeros(1, bool))
    valid_bs = jnp.ones((1, 7), bool)
    assert not np.all(np.sum(expected_us, axis=1)), "it should also find nothing once"
    for energy_s, chunk_s, expected_s in zip(energies_us, chunks_us, expected_us, strict=True):
        stop = monotonic.hard_stop(jnp.asarray(energy_s)[None], stop.position_b, valid_bs)
        weights_bs = monotonic.hard_chunk(
            stop, jnp.asarray(chunk_s)[None], valid_bs, width=1 if width is None else width
        )
        np.testing.assert_allclose(weights_bs[0], expected_s, rtol=1e-5, atol=1e-7)


def test_with_certain_energies_the_expectation_is_the_one_path(rng):
    energies_us = np.where(rng.random((6, 20)) < 0.3, 200.0, -200.0).astype(np.float32)
    energies_us[:, -1] = 200.0
    before_bs = jnp.eye(1, 20)
    for energy_s, expected_s in zip(energies_us, reference.read_hard(energies_us), strict=True):
        before_bs = monotonic.expected_alignment(jnp.asarray(energy_s)[None], before_bs, jnp.ones((1, 20), bool))
        np.testing.assert_allclose(before_bs[0], expected_s, atol=1e-7)


def test_quantity_loss_counts_stops_against_tokens_and_the_end():
    weights_buhs = jnp.array([[[0.5, 0.0], [0.25, 0.25], [9.0, 9.0]], [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]])[:, :, None]
    lengths_b = jnp.array([1, 2])
    np.testing.assert_allclose(monotonic.quantity_loss(weights_buhs, lengths_b), [1.0, 0.0])
    two_heads = jnp.concatenate([weights_buhs, 0 * weights_buhs], axis=2)
    np.testing.assert_allclose(monotonic.quantity_loss(two_heads, lengths_b), [1.5, 1.5])
    gradient = jax.grad(lambda w: jnp.sum(monotonic.quantity_loss(w, lengths_b)))(weights_buhs)
    np.testing.assert_array_equal(gradient[0, :, 0], [[-1, -1], [-1, -1], [0, 0]])


def test_expected_position_counts_what_stops_nowhere_behind_the_last_position():
    weights_buhs = jnp.array([[[[0.0, 0.5, 0.5, 0.0]], [[0.25, 0.0, 0.25, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    found = monotonic.expected_position(weights_buhs, jnp.array([3]))
    np.testing.assert_allclose(found, [[1.5, 0.5 + 0.5 * 3, 3.0]])
    both = jnp.concatenate([weights_buhs, weights_buhs[..., ::-1]], axis=2)
    np.testing.assert_allclose(monotonic.expected_position(both, jnp.array([4]))[0, 0], (1.5 + 1.5) / 2)
