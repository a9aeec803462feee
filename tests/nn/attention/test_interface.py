"""Properties of every attention. A new attention is added to MECHANISMS.

An attention whose training form differs from its decode form is added to TWO_FORMS too. One whose rows may sum to less than 1
although there are valid positions is added to PARTIAL.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.nn import AdditiveAttention, Attention, LocationAttention, Memory
from tests.nn.tiny import near, rows, streams, training_of, with_garbage
from tests.reference.attention import read

LOCATED = LocationAttention(4, filters=2, kernel_size=3)


def additive(focus, **changes) -> AdditiveAttention:
    return AdditiveAttention(5, focus=focus, **changes)


MECHANISMS = {
    "additive": AdditiveAttention(5),
    "location": LocationAttention(5, filters=2, kernel_size=3),
    "none": nn.FixedVector(),
    "coverage": nn.CoverageAttention(5, fertility="learned"),
    "sharpened": additive(nn.Softmax(0.5, top=2)),
    "smooth": additive(nn.SmoothSoftmax()),
    "window": LocationAttention(5, filters=2, kernel_size=3, focus=nn.WindowedFocus(1, 2)),
    "local-m": additive(nn.GaussianLocal(1, 3, "monotonic", pace=1.5)),
    "local-p": additive(nn.GaussianLocal(2, 3)),
    "advancing": additive(nn.GaussianLocal(2, 3, "advancing")),
    "forward": additive(nn.ForwardAttention(2, "learned")),
    "gmm": nn.GmmAttention(3, 2, spread=2.0),
    "monotonic": additive(nn.Monotonic(bias=0.0), vector="normed"),
    "chunkwise": additive(nn.MoChA(LOCATED, 2, nn.Monotonic(bias=0.0))),
    "infinite lookback": additive(nn.MoChA(AdditiveAttention(4), 0, nn.Monotonic(bias=0.0))),
    "heads": nn.MultiHead(additive(nn.MoChA(LOCATED, 2, nn.Monotonic(bias=0.0))), 2, 6),
    "monotonic heads": nn.MultiHead(nn.ProductAttention(3, focus=nn.Monotonic(bias=0.0)), 2, 6),
    "position": nn.AlignedPosition(),
    "integrate and fire": nn.IntegrateAndFire(4),
    "warm": additive(nn.WarmStart(nn.GaussianLocal(2, 3), nn.Monotonic(bias=0.0), until=10, change="ramp")),
}
TWO_FORMS = ("monotonic", "chunkwise", "infinite lookback", "heads", "monotonic heads", "warm")
PARTIAL = ("local-p", "advancing", "gmm", "position", "integrate and fire", *TWO_FORMS)
CASES = [(name, "decode") for name in MECHANISMS] + [(name, "training") for name in TWO_FORMS]
LENGTHS = np.array([5, 2, 0])
VALID = np.arange(5) < LENGTHS[:, None]
IDS = jnp.array([3, 1, 4], jnp.uint32)
STEPS = 3

every = pytest.mark.parametrize(("name", "form"), CASES, ids=map(" ".join, CASES))


def normal():
    """Returns an encoder output and a query for each step."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 5, 4)).astype(np.float32), rng.normal(size=(STEPS, 3, 6)).astype(np.float32)


def read_all(module, hidden_bsd, lengths_b, queries_ubd, training):
    """Returns the values, and contexts and weights of all steps."""
    memory = module.prepare(hidden_bsd, lengths_b, training)
    state = module.initial_state(memory)
    if module.is_initializing():
        module(queries_ubd[0], memory, state)
    bare, variables = module.unbind()

    def step(state, query_bd):
        read = bare.apply(variables, query_bd, memory, state)
        return read.state, (read.context_be, read.weights_bhs)

    return memory.values_bse, *jax.lax.scan(step, state, queries_ubd)[1]


@functools.cache
def made(name):
    """Returns parameters that are large enough to make every part of the output depend on them."""
    given = (jnp.ones((1, 2, 4)), jnp.array([2]), jnp.ones((STEPS, 1, 6)), None)
    shapes = jax.eval_shape(functools.partial(MECHANISMS[name].init, method=read_all), jax.random.key(0), *given)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) * 0.7, shapes)


@functools.cache
def reads(name, form):
    """Returns jitted functions to a number, values, contexts and weights, without and with the number's gradients."""

    def value(variables, hidden_bsd, lengths_b, queries_ubd, ids_b):
        training = training_of(ids_b, step=5) if form == "training" else None
        given = (hidden_bsd, lengths_b, queries_ubd, training)
        values, contexts, weights = MECHANISMS[name].apply(variables, *given, method=read_all, rngs=streams())
        return jnp.sum(jnp.sin(contexts)), (values, contexts, weights)

    return jax.jit(value), jax.jit(jax.value_and_grad(value, argnums=(0, 1, 3), has_aux=True))


@functools.cache
def short(name, form):
    """Returns all outputs without padding behind the longest utterance."""
    hidden_bsd, queries_ubd = normal()
    return reads(name, form)[0](made(name), hidden_bsd, jnp.asarray(LENGTHS), queries_ubd, IDS)


@every
def test_weights_stand_on_real_positions_and_the_context_is_read_under_them(name, form):
    _, (values_bse, contexts, weights) = short(name, form)
    weights = np.asarray(weights, float)
    heads = MECHANISMS[name].heads
    assert weights.shape == (STEPS, 3, heads, 5)
    assert np.all(weights >= 0)
    assert np.any(weights)
    sums = np.sum(weights, axis=-1)
    assert np.all(sums < 1 + 1e-5)
    if name not in PARTIAL:
        np.testing.assert_allclose(sums, np.broadcast_to((LENGTHS > 0)[:, None], sums.shape), atol=1e-6)
    assert not np.any(weights.swapaxes(2, 3)[:, np.arange(5) >= LENGTHS[:, None]])
    for step, row in np.ndindex(STEPS, 3):
        expected_e = read(weights[step, row], np.asarray(values_bse[row], float))
        np.testing.assert_allclose(contexts[step, row], expected_e, rtol=1e-4, atol=1e-6)


@every
def test_padding_and_row_change_neither_values_nor_gradients(name, form):
    """Compares values without padding, and gradients with zeros as padding, to garbage as padding and reversed rows.

    Decode forms that differ from the training form have no gradients to compare.
    """
    hidden_bsd, queries_ubd = normal()
    lengths_b = jnp.asarray(LENGTHS)
    hidden_of, lengths_of, ids_of = rows((with_garbage(hidden_bsd, LENGTHS, extra=4), lengths_b, IDS), np.s_[::-1])
    spoilt = made(name), hidden_of, lengths_of, queries_ubd[:, ::-1], ids_of
    number, (_, *steps) = short(name, form)
    values, gradients = reads(name, form)
    trained = form == "training" or name not in TWO_FORMS
    (found, (_, contexts, weights)), got = gradients(*spoilt) if trained else (values(*spoilt), None)
    near((found, [contexts[:, ::-1], weights[:, ::-1, :, :5]]), (number, steps), rtol=1e-4)
    assert not np.any(weights[..., 5:])
    if got is None:
        return
    padded_bsd = jnp.asarray(np.pad(np.where(VALID[..., None], hidden_bsd, 0), ((0, 0), (0, 4), (0, 0))))
    _, right = gradients(made(name), padded_bsd, lengths_b, queries_ubd, IDS)
    near((got[0], got[1][::-1], got[2][:, ::-1]), right, rtol=1e-4, atol=1e-5)
    assert not np.any(got[1][::-1][np.arange(9) >= LENGTHS[:, None]])
    assert np.all([np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(got)])


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_leaf_of_memory_and_state_begins_with_the_examples(name):
    """A beam search gathers along this axis."""

    def leaves(module, hidden_bsd, queries_ubd):
        memory = module.prepare(hidden_bsd, jnp.asarray(LENGTHS), None)
        state = module.initial_state(memory)
        return memory, state, module.step(queries_ubd[0], memory, state).state

    run = functools.partial(MECHANISMS[name].init_with_output, method=leaves)
    (memory, state, after), _ = jax.eval_shape(run, jax.random.key(0), *map(jnp.asarray, normal()))
    assert {leaf.shape[0] for leaf in jax.tree.leaves((memory, state))} == {3}
    assert state == after, "a step keeps shapes and types"


@pytest.mark.parametrize("method", ["prepare", "initial_state", "step"])
def test_a_mechanism_that_lacks_a_part_says_which(method):
    class Half(Attention):
        """An attention that overrides nothing."""

    memory = Memory(jnp.ones((1, 2, 3)), jnp.ones((1, 2, 3)), jnp.ones((1, 2), bool))
    arguments = {
        "prepare": (memory.keys, jnp.array([2]), None),
        "initial_state": (memory,),
        "step": (jnp.ones((1, 3)), memory, ()),
    }
    with pytest.raises(TypeError, match=rf"Half is an Attention without {method}\(\)"):
        Half().apply({}, *arguments[method], method=method)
