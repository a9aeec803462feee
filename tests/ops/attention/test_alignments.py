"""Alignments measured: against loops over steps and positions, on alignments whose measures are known, under padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.ops.attention.alignments import Alignments, alignments
from tests.reference import alignments as reference

MEASURE = jax.jit(alignments)


def measured(weights_us) -> dict[str, float]:
    """Of one head of one utterance, by the names of the twin."""
    weights = jnp.asarray(weights_us, jnp.float32)
    steps, positions = weights.shape
    found = alignments(weights[None, :, None, :], jnp.array([steps]), jnp.array([positions]))
    return {name.removesuffix("_bh"): float(value[0, 0]) for name, value in found._asdict().items()}


def some_weights(rng, shape, *, sharpness) -> np.ndarray:
    """Weights that sum to 1 or to less, some rows to nothing, as a monotonic attention gives them."""
    energy = sharpness * rng.normal(size=shape)
    weights = np.exp(energy) / np.exp(energy).sum(axis=-1, keepdims=True)
    return weights * rng.choice([0.0, 0.3, 1.0, 1.0], size=(*shape[:-1], 1))


@pytest.mark.parametrize("sharpness", [0.1, 3.0, 30.0])
def test_all_measures_are_those_of_the_loops(rng, sharpness):
    """Lengths of nothing, of one, of a part and of everything; garbage beyond them."""
    steps_b, lengths_b = np.array([0, 1, 5, 9, 9, 3]), np.array([4, 1, 7, 12, 0, 12])
    weights_buhs = some_weights(rng, (6, 9, 2, 12), sharpness=sharpness)
    found = MEASURE(jnp.asarray(weights_buhs, jnp.float32), jnp.asarray(steps_b), jnp.asarray(lengths_b))
    for b, h in np.ndindex(6, 2):
        real_us = weights_buhs[b, : steps_b[b], h, : lengths_b[b]]
        expected = reference.alignment(np.float32(real_us).astype(np.float64).tolist())
        for name, value in expected.items():
            assert float(getattr(found, f"{name}_bh")[b, h]) == pytest.approx(value, abs=2e-5), (name, b, h)


def test_a_diagonal_has_nothing_to_complain_of():
    found = measured(np.eye(10))
    assert found == pytest.approx(
        {
            "entropy": 0.0,
            "diffuse": 0.0,
            "back": 0.0,
            "behind": 0.0,
            "skip": 0.1,
            "coverage": 1.0,
            "again": 0.0,
            "diagonal": 1.0,
            "lag": 1.0,
            "collapsed": 0.0,
        }
    )


def test_looking_everywhere_is_diffuse_and_collapsed():
    found = measured(np.full((6, 8), 1 / 8))
    assert found["entropy"] == pytest.approx(np.log(8))
    assert (found["diffuse"], found["coverage"], found["collapsed"]) == pytest.approx((1.0, 1.0, 1.0))


def test_looking_at_one_place_for_ever_is_collapsed_though_sharp():
    stuck = np.zeros((6, 8))
    stuck[:, 3] = 1.0
    found = measured(stuck)
    assert (found["entropy"], found["collapsed"], found["coverage"]) == pytest.approx((0.0, 1.0, 1 / 8))
    assert found["again"] == pytest.approx(5 / 6)
    stuck[5] = np.eye(8)[4]
    assert measured(stuck)["collapsed"] == 0.0


def test_short_utterances_are_never_called_collapsed():
    assert measured(np.full((3, 8), 1 / 8))["collapsed"] == 0.0
    assert measured(np.full((8, 3), 1 / 3))["collapsed"] == 0.0


def test_a_loop_goes_back_once_and_stays_behind():
    """Positions 0 1 2 3, then 0 1 2 3 again, then on: one move back, three steps behind the front, all read twice."""
    found = measured(np.eye(8)[[0, 1, 2, 3, 0, 1, 2, 3, 4, 7]])
    assert (found["back"], found["behind"]) == pytest.approx((1 / 9, 3 / 10))
    assert (found["skip"], found["again"]) == pytest.approx((3 / 8, 4 / 10))


def test_the_lag_of_a_hard_attention_is_what_it_waits_for():
    """Four tokens over eight positions: on pace it has read two positions a token; waiting for two more lags by two."""
    on_pace, late = measured(np.eye(8)[[1, 3, 5, 7]]), measured(np.eye(8)[[3, 5, 7, 7]])
    assert (on_pace["lag"], late["lag"]) == pytest.approx((2.0, 4.0))


def test_who_does_not_attend_is_not_judged():
    """An attention that reads nothing (weights of zero) is no collapsed one."""
    found = measured(np.zeros((6, 8)))
    assert found["collapsed"] == found["entropy"] == found["coverage"] == 0.0


def test_padding_and_neighbours_change_nothing(rng):
    weights_buhs = some_weights(rng, (3, 6, 2, 10), sharpness=3.0).astype(np.float32)
    steps_b, lengths_b = jnp.array([6, 4, 5]), jnp.array([10, 7, 5])
    together = MEASURE(jnp.asarray(weights_buhs), steps_b, lengths_b)
    padded = jnp.pad(jnp.asarray(weights_buhs), ((0, 0), (0, 3), (0, 0), (0, 4)), constant_values=0.5)
    for name, value in MEASURE(padded, steps_b, lengths_b)._asdict().items():
        np.testing.assert_allclose(value, getattr(together, name), atol=2e-6, err_msg=name)
    alone = MEASURE(jnp.asarray(weights_buhs[1:2]), steps_b[1:2], lengths_b[1:2])
    for name in Alignments._fields:
        np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[1], atol=2e-6, err_msg=name)
