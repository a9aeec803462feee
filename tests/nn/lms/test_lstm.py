"""The LSTM language model: gates by hand, recurrent dropout, and invalid sizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import LstmLm
from tests.nn.lms.test_interface import batch_of
from tests.nn.tiny import streams


def on_device(tree):
    return jax.tree.map(jnp.asarray, tree)


def test_one_unit_by_hand():
    """Computes gates and state by hand: i = f = o = 1/2 for no input, the candidate is the token's embedding."""
    lm = LstmLm(1, 1, tied=True, vocab=3)
    table = np.array([[0.0], [1.0], [-1.0]], np.float32)
    candidate_only = np.array([[0.0, 0.0, 1.0, 0.0]], np.float32)
    gates = {"input": {"kernel": candidate_only, "bias": np.zeros(4, np.float32)}, "recurrent": 0 * candidate_only}
    readout = {"bias": np.array([0.0, 0.5, 0.0], np.float32)}
    variables = {"params": {"embed": {"embedding": table}, "gates_0": gates, "readout": readout}}
    batch = batch_of(np.array([[1, 2, 0]] * 3, np.int32))
    logits = jax.jit(lambda: lm.apply(on_device(variables), batch, step=None).logits_buv)()

    first = math.tanh(1.0) / 2  # the cell after END (nothing) and token 1
    second = first / 2 - math.tanh(1.0) / 2
    for position, cell in enumerate((0.0, first, second)):
        h = math.tanh(cell) / 2
        np.testing.assert_allclose(logits[0, position], [0.0, h + 0.5, -h], rtol=1e-5, atol=1e-7)


def test_recurrent_dropout_is_one_mask_for_all_steps():
    """A dropped unit never reaches the gates, and the others are scaled up."""
    lm = LstmLm(1, 64, 1, recurrent_dropout=0.5, vocab=3)
    batch = batch_of(np.ones((3, 3), np.int32))
    spread = np.zeros((64, 256), np.float32)
    spread[:, 128] = 1.0  # the sum of the states goes into the first unit's candidate
    gates = {
        "input": {"kernel": np.ones((1, 256), np.float32), "bias": np.zeros(256, np.float32)},
        "recurrent": spread,
    }
    readout = {"kernel": np.eye(64, 3, dtype=np.float32), "bias": np.zeros(3, np.float32)}
    table = np.full((3, 1), 0.1, np.float32)
    variables = on_device({"params": {"embed": {"embedding": table}, "gates_0": gates, "readout": readout}})
    quiet = jax.jit(lambda: lm.apply(variables, batch, step=None).logits_buv)()
    loud = jax.jit(lambda: lm.apply(variables, batch, step=jnp.zeros((), int), rngs=streams()).logits_buv)()
    np.testing.assert_allclose(loud[:, 0], quiet[:, 0], rtol=1e-6)  # the state is zero
    assert np.all(np.abs(loud[0, 1:, 0] - quiet[0, 1:, 0]) > 1e-4)
    np.testing.assert_allclose(loud[..., 1:], quiet[..., 1:], rtol=1e-6)  # units that do not depend on the others


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "LstmLm has depth 0, width 4, embedding 4 and vocab 6; all must be positive"),
        ({"embedding": 0}, "embedding 0"),
        ({"vocab": 1}, "and vocab 1; all must be positive, with a token beside the end"),
        ({"tied": True, "embedding": 3}, "tied with embedding 3 and width 4"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        LstmLm(**({"depth": 1, "width": 4, "vocab": 6} | wrong))
