"""What every mechanism behind the interface keeps to. A new one is added to MECHANISMS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import AdditiveAttention, Attention, LocationAttention, Memory
from tests.nn.tiny import near, rows, with_garbage

MECHANISMS = {"additive": AdditiveAttention(5), "location": LocationAttention(5, filters=2, taps=3)}
LENGTHS = np.array([5, 2, 0])
STEPS = 3


@pytest.fixture
def drawn(rng):
    """Encoder output and a query for each step."""
    return rng.normal(size=(3, 5, 4)).astype(np.float32), rng.normal(size=(STEPS, 3, 6)).astype(np.float32)


def read_all(module, hidden_bsd, lengths_b, queries_ubd):
    memory = module.prepare(hidden_bsd, lengths_b, None)
    state, steps = module.initial_state(memory), []
    for query_bd in queries_ubd:
        read = module(query_bd, memory, state)
        state = read.state
        steps.append((read.context_be, read.weights_bhs))
    return steps


@functools.cache
def reads(name):
    """All steps, jitted, and the gradient of a number that sees them all."""
    module = MECHANISMS[name]
    init = functools.partial(module.init, method=read_all)
    variables = jax.jit(init)(jax.random.key(0), jnp.ones((1, 2, 4)), jnp.array([2]), jnp.ones((STEPS, 1, 6)))

    def value(variables, hidden_bsd, lengths_b, queries_ubd):
        steps = module.apply(variables, hidden_bsd, lengths_b, queries_ubd, method=read_all)
        return sum(jnp.sum(jnp.sin(context_be)) for context_be, _ in steps), steps

    gradients = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 3), has_aux=True))
    return functools.partial(gradients, variables)


@pytest.mark.parametrize("name", MECHANISMS)
def test_weights_stand_on_real_positions_and_sum_to_one_or_nothing(drawn, name):
    (_, steps), _ = reads(name)(drawn[0], jnp.asarray(LENGTHS), drawn[1])
    for context_be, weights_bhs in steps:
        assert context_be.shape == (3, 4)
        assert weights_bhs.shape == (3, MECHANISMS[name].heads, 5)
        assert np.all(np.asarray(weights_bhs) >= 0)
        np.testing.assert_allclose(np.sum(weights_bhs, axis=-1)[:, 0], [1, 1, 0], atol=1e-6)
        assert not np.any(np.asarray(weights_bhs).swapaxes(1, 2)[np.arange(5) >= LENGTHS[:, None]])


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_context_is_the_mean_of_the_values_under_the_weights(drawn, name):
    (_, steps), _ = reads(name)(drawn[0], jnp.asarray(LENGTHS), drawn[1])
    for context_be, weights_bhs in steps:
        for row, length in enumerate(LENGTHS):
            expected = sum(weights_bhs[row, 0, s] * drawn[0][row, s] for s in range(length))
            np.testing.assert_allclose(context_be[row], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MECHANISMS)
def test_padding_and_row_change_neither_values_nor_gradients(drawn, name):
    hidden_bsd, queries_ubd = drawn
    (found, steps), (d_variables, d_hidden, d_queries) = reads(name)(hidden_bsd, jnp.asarray(LENGTHS), queries_ubd)
    spoilt, lengths_b = rows((with_garbage(hidden_bsd, LENGTHS, extra=4), jnp.asarray(LENGTHS)), np.s_[::-1])
    (found_of, steps_of), gradients = reads(name)(spoilt, lengths_b, queries_ubd[:, ::-1])
    cut = [(context[::-1], weights[::-1, :, :5]) for context, weights in steps_of]
    near((found_of, cut), (found, steps), rtol=1e-4)
    near(
        (gradients[0], gradients[1][::-1, :5], gradients[2][:, ::-1]),
        (d_variables, d_hidden, d_queries),
        rtol=1e-4,
        atol=1e-5,
    )
    assert not np.any(gradients[1][::-1][np.arange(9) >= LENGTHS[:, None]])


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_leaf_of_memory_and_state_begins_with_the_examples(drawn, name):
    """What a beam search relies on when it gathers."""

    def leaves(module, hidden_bsd):
        memory = module.prepare(hidden_bsd, jnp.asarray(LENGTHS), None)
        return memory, module.initial_state(memory)

    run = functools.partial(MECHANISMS[name].init_with_output, method=leaves)
    made, _ = jax.eval_shape(run, jax.random.key(0), jnp.asarray(drawn[0]))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(made)} == {3}


@pytest.mark.parametrize("method", ["prepare", "initial_state", "weigh"])
def test_a_mechanism_that_lacks_a_part_says_which(method):
    class Half(Attention):
        """Nothing of its own."""

    memory = Memory(jnp.ones((1, 2, 3)), jnp.ones((1, 2, 3)), jnp.ones((1, 2), bool))
    arguments = {
        "prepare": (memory.keys, jnp.array([2]), None),
        "initial_state": (memory,),
        "weigh": (jnp.ones((1, 3)), memory, ()),
    }
    with pytest.raises(TypeError, match=rf"Half is an Attention without {method}\(\)"):
        Half().apply({}, *arguments[method], method=method)
