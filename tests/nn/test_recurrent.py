import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn.recurrent import Gru, JointKernel, Lstm, forget_one
from tests.nn.tiny import near, streams, training_of, with_garbage
from tests.reference import gru, lstm

LENGTHS = jnp.array([5, 2, 0, 4])
WIDTH = 3
INPUTS = 2


@pytest.fixture
def x_btd(rng):
    return rng.normal(size=(4, 5, INPUTS)).astype(np.float32)


def made(x_btd, layer=Lstm, **changes):
    module = layer(WIDTH, **changes)
    return module, module.init(jax.random.key(1), jnp.asarray(x_btd), LENGTHS)["params"]


@pytest.mark.parametrize(("layer", "bidirectional"), [(Lstm, True), (Lstm, False), (Gru, True)])
def test_a_layer_is_the_reference_run_both_ways(x_btd, layer, bidirectional):
    module, params = made(x_btd, layer, bidirectional=bidirectional)
    found_btm = jax.jit(module.apply)({"params": params}, x_btd, LENGTHS)
    assert found_btm.shape == (4, 5, WIDTH * (1 + bidirectional))
    for row, length in enumerate(LENGTHS.tolist()):
        ways = []
        for name in ("forward", "backward")[: 1 + bidirectional]:
            inner = jax.tree.map(lambda leaf: np.asarray(leaf, float), params[name])
            gates_tm = x_btd[row, :length] @ inner["input"]["kernel"] + inner["input"]["bias"]
            back = name == "backward"
            if layer is Gru:
                ways.append(gru.gru(gates_tm, inner["recurrent"], inner["candidate_bias"], reverse=back))
            else:
                ways.append(lstm.lstm(gates_tm, inner["recurrent"], reverse=back))
        np.testing.assert_allclose(found_btm[row, :length], np.concatenate(ways, -1), rtol=1e-5, atol=1e-6)
        assert not np.any(found_btm[row, length:])


@pytest.mark.parametrize("layer", [Lstm, Gru])
def test_recurrent_dropout_takes_parts_of_the_state_and_nothing_else(x_btd, layer):
    """The first step of each direction has no state yet; afterwards one mask an utterance holds for all steps."""
    module, params = made(x_btd, layer, recurrent_dropout=0.5)
    run = jax.jit(module.apply)
    quiet_btm = run({"params": params}, x_btd, LENGTHS)
    training = training_of(jnp.array([5, 6, 7, 5], jnp.uint32))
    drawn_btm = run({"params": params}, x_btd, LENGTHS, training, rngs=streams())
    moved_btm = np.abs(drawn_btm - quiet_btm) > 1e-6
    for row, length in enumerate(LENGTHS.tolist()):
        if length:
            assert not np.any(moved_btm[row, 0, :WIDTH])
            assert not np.any(moved_btm[row, length - 1, WIDTH:])
    assert np.any(moved_btm[0, 1:, :WIDTH])
    assert np.any(moved_btm[0, :4, WIDTH:])
    same_btd = jnp.asarray(np.concatenate([x_btd[:1], x_btd[1:3], x_btd[:1]]))
    same_btm = run({"params": params}, same_btd, jnp.array([5, 2, 0, 5]), training, rngs=streams())
    near(same_btm[3], same_btm[0])


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


def test_a_gru_begins_orthogonal_and_without_bias(x_btd):
    _, params = made(x_btd, Gru)
    for way in ("forward", "backward"):
        for gate in np.split(np.asarray(params[way]["recurrent"]), 3, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(WIDTH), atol=1e-5)
        assert not np.any(params[way]["input"]["bias"])
        assert not np.any(params[way]["candidate_bias"])


def test_a_joint_kernel_is_input_over_state():
    variables = JointKernel(WIDTH).init(jax.random.key(0), INPUTS)
    kernel_em = np.asarray(variables["params"]["kernel"])
    assert kernel_em.shape == (INPUTS + WIDTH, 4 * WIDTH)
    for gate in np.split(kernel_em[INPUTS:], 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(WIDTH), atol=1e-5)
    assert np.std(kernel_em[:INPUTS]) > 0.2
