"""Multi-head attention: each head is the inner attention with its own parameters, state and random numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from tests.nn.tiny import near, streams, training_of

HEADS = 3
INNER = nn.LocationAttention(4, filters=2, kernel_size=3, focus=nn.Monotonic(bias=0.0))


def attend_sequence(module, hidden_bsd, queries_bud, training):
    memory = module.prepare(hidden_bsd, jnp.array([5, 3]), training)
    output = module.attend_sequence(queries_bud, memory)
    return output.weights_buhs, output.draws, memory.values_bse


@pytest.fixture
def given(rng):
    return [jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 5, 4), (2, 3, 6))]


def made(module, given):
    return jax.jit(functools.partial(module.init, training=None, method=attend_sequence))(jax.random.key(0), *given)


def test_each_head_is_the_inner_attention_alone(given):
    module = nn.MultiHead(INNER, HEADS, 6)
    variables = made(module, given)
    weights, _, values = jax.jit(functools.partial(module.apply, training=None, method=attend_sequence))(
        variables, *given
    )
    alone = jax.jit(functools.partial(INNER.apply, training=None, method=attend_sequence))
    for head in range(HEADS):
        own = jax.tree.map(lambda leaf, head=head: leaf[head], variables["params"]["inner"])
        near(weights[:, :, head], alone({"params": own}, *given)[0][:, :, 0])
    kernels = variables["params"]["inner"]["key"]["kernel"]
    assert not np.allclose(kernels[0], kernels[1])
    dense = variables["params"]["values"]
    np.testing.assert_allclose(values, given[0] @ dense["kernel"] + dense["bias"][None, None], rtol=1e-5, atol=1e-6)


def test_heads_draw_each_for_itself(given):
    """With the same parameters the heads differ in their noise only."""
    module = nn.MultiHead(INNER, 2, 6)
    training = training_of(jnp.array([3, 3], jnp.uint32))
    variables = made(module, given)
    variables = {"params": jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), variables["params"])}
    run = jax.jit(functools.partial(module.apply, training=training, method=attend_sequence, rngs=streams()))
    weights, _, _ = run(variables, *given)
    assert np.all(np.max(np.abs(weights[:, :, 0] - weights[:, :, 1]), axis=-1) > 1e-3)


def test_what_heads_drew_counts_as_one_draw(given):
    module = nn.MultiHead(nn.AdditiveAttention(3, focus=nn.HardAttention(2)), 2, 4)
    assert module.samples == 2
    training = training_of(jnp.array([3, 5], jnp.uint32))
    variables = made(module, given)
    run = jax.jit(functools.partial(module.apply, training=training, method=attend_sequence, rngs=streams()))
    weights, draws, _ = run(variables, *given)
    alone = jax.jit(functools.partial(module.inner.apply, method=energies))
    heads = [
        alone({"params": jax.tree.map(lambda leaf, head=head: leaf[head], variables["params"]["inner"])}, *given)
        for head in range(2)
    ]
    log_probs = [np.sum(np.where(weights[:, :, head] > 0, np.log(heads[head] + 1e-30), 0), -1) for head in range(2)]
    np.testing.assert_allclose(draws.log_probs_bu, sum(log_probs), rtol=1e-5, atol=1e-6)
    assert draws.baselines_bu.shape == draws.entropies_bu.shape == (2, 3)


def energies(module, hidden_bsd, queries_bud):
    """Returns the distributions from which one head draws."""
    memory = module.prepare(hidden_bsd, jnp.array([5, 3]), None)
    rows = [module.energies(queries_bud[:, u], memory, ()) for u in range(queries_bud.shape[1])]
    return jax.nn.softmax(jnp.where(memory.valid_bs[:, None], jnp.stack(rows, axis=1), -jnp.inf))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((INNER, 3, 8), "heads=3 and width=8; .* multiple of the heads"),
        ((nn.FixedVector(), 2, 8), "FixedVector with 2 heads"),
        ((nn.FixedVector(directions=1), 2, 8), "beginning of the decoder's state, would be lost"),
        ((nn.DotAttention(4, 1), 2, 8), "DotAttention, whose own values"),
        ((nn.AdditiveAttention(3, focus=nn.LatentAttention()), 2, 8), "marginalisation=sum"),
    ],
)
def test_heads_that_can_not_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        nn.MultiHead(*fields)
