"""Softmax and SmoothSoftmax against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import SmoothSoftmax, Softmax
from tests.nn.attention.steps import attend_sequence
from tests.reference.attention import softmax


def falling(step):
    """Returns a temperature that falls with the step."""
    return 4.0 / (1.0 + jnp.asarray(step, jnp.float32))


@pytest.mark.parametrize(
    ("focus", "step", "temperature"),
    [
        (Softmax(), None, 1.0),
        (Softmax(0.5), None, 0.5),
        (Softmax(0.5), 3, 0.5),
        (Softmax(0.5, decode_temperature=2.0), 3, 0.5),
        (Softmax(0.5, decode_temperature=2.0), None, 2.0),
        (Softmax(falling, decode_temperature=0.25), 1, 2.0),
        (Softmax(falling, decode_temperature=0.25), None, 0.25),
    ],
)
def test_the_temperature_is_that_of_the_form_and_the_step(rng, focus, step, temperature):
    energies_ubs = rng.normal(size=(1, 2, 5))
    weights_ubs, _, _ = attend_sequence(focus, energies_ubs, step=step)
    for row in range(2):
        np.testing.assert_allclose(weights_ubs[0, row], softmax(energies_ubs[0, row] / temperature), rtol=1e-5)


def test_only_the_top_are_looked_at(rng):
    energies_ubs = rng.normal(size=(1, 2, 6))
    weights_ubs, _, _ = attend_sequence(Softmax(top=2), energies_ubs)
    for row in range(2):
        top = np.sort(np.argsort(energies_ubs[0, row])[-2:])
        np.testing.assert_array_equal(np.flatnonzero(weights_ubs[0, row]), top)
        np.testing.assert_allclose(weights_ubs[0, row, top], softmax(energies_ubs[0, row, top]), rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_smoothing_normalises_sigmoids(rng, scale):
    """Energies of -300 have weights although their sigmoids underflow in float32."""
    energies_ubs = rng.normal(size=(1, 2, 5)) * scale - scale
    weights_ubs, _, _ = attend_sequence(SmoothSoftmax(), energies_ubs)
    for row in range(2):
        sigmoid_s = 1 / (1 + np.exp(-energies_ubs[0, row]))
        np.testing.assert_allclose(weights_ubs[0, row], sigmoid_s / np.sum(sigmoid_s), rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, r"temperature is 0\.0; it must be more than 0"),
        ({"decode_temperature": -1.0}, r"decode_temperature is -1\.0; it must be"),
        ({"temperature": falling}, "a search knows no step"),
        ({"top": 0}, "top is 0; it must be 1 or more"),
    ],
)
def test_a_softmax_that_can_not_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Softmax(**fields)
