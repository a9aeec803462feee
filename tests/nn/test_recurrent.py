import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn.recurrent import JointKernel, Lstm, forget_one
from tests.nn.tiny import near, with_garbage
from tests.reference import lstm as reference

LENGTHS = jnp.array([5, 2, 0, 4])
WIDTH, INPUTS = 3, 2


@pytest.fixture
def x_btd(rng):
    return rng.normal(size=(4, 5, INPUTS)).astype(np.float32)


def made(x_btd, *, bidirectional=True):
    module = Lstm(WIDTH, bidirectional)
    return module, module.init(jax.random.key(1), jnp.asarray(x_btd), LENGTHS)["params"]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_layer_is_the_twin_run_both_ways(x_btd, bidirectional):
    module, params = made(x_btd, bidirectional=bidirectional)
    found_btm = jax.jit(module.apply)({"params": params}, x_btd, LENGTHS)
    assert found_btm.shape == (4, 5, module.output_width)
    for row, length in enumerate(LENGTHS.tolist()):
        ways = []
        for name in ("forward", "backward")[: 1 + bidirectional]:
            inner = jax.tree.map(lambda leaf: np.asarray(leaf, float), params[name])
            gates_tm = x_btd[row, :length] @ inner["input"]["kernel"] + inner["input"]["bias"]
            ways.append(reference.lstm(gates_tm, inner["recurrent"], reverse=name == "backward"))
        np.testing.assert_allclose(found_btm[row, :length], np.concatenate(ways, -1), rtol=1e-5, atol=1e-6)
        assert not np.any(found_btm[row, length:])


def test_padding_changes_neither_values_nor_gradients(x_btd):
    module, params = made(x_btd)

    @jax.jit
    def value_and_gradients(params, x_btd):
        def value(params, x_btd):
            hidden_btm = module.apply({"params": params}, x_btd, LENGTHS)
            return jnp.sum(jnp.sin(hidden_btm) * jnp.arange(1.0, 1.0 + 2 * WIDTH)[None, None]), hidden_btm

        return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(params, x_btd)

    (found, hidden_btm), (d_params, d_x_btd) = value_and_gradients(params, jnp.asarray(x_btd))
    (spoilt, longer_btm), (d_params_of, d_longer) = value_and_gradients(params, with_garbage(x_btd, LENGTHS, extra=3))
    near((spoilt, longer_btm[:, :5], d_params_of, d_longer[:, :5]), (found, hidden_btm, d_params, d_x_btd))
    valid_bt = np.arange(8) < np.array(LENGTHS)[:, None]
    assert not np.any(d_longer[~valid_bt])
    assert not np.any(longer_btm[~valid_bt])


def test_gates_begin_orthogonal_and_open_to_the_past(x_btd):
    _, params = made(x_btd)
    for way in ("forward", "backward"):
        for gate in np.split(np.asarray(params[way]["recurrent"]), 4, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(WIDTH), atol=1e-5)
        np.testing.assert_array_equal(params[way]["input"]["bias"], [0] * 3 + [1] * 3 + [0] * 6)
    assert np.any(params["forward"]["recurrent"] != params["backward"]["recurrent"])
    np.testing.assert_array_equal(forget_one(jax.random.key(0), (8,)), [0, 0, 1, 1, 0, 0, 0, 0])


def test_a_joint_kernel_is_input_over_state():
    variables = JointKernel(WIDTH).init(jax.random.key(0), INPUTS)
    kernel_em = np.asarray(variables["params"]["kernel"])
    assert kernel_em.shape == (INPUTS + WIDTH, 4 * WIDTH)
    for gate in np.split(kernel_em[INPUTS:], 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(WIDTH), atol=1e-5)
    assert np.std(kernel_em[:INPUTS]) > 0.2
