"""Attentions that the encoder alone decides: the counts of training, the pace of decoding, and what is refused."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from tests.nn.tiny import training_of
from tests.reference.integrate_and_fire import read

FIRE = nn.IntegrateAndFire(width=6)
LENGTHS = np.array([9, 5])
TOKENS = np.array([3, 4], np.int32)


def attend_sequence(module, hidden_bsd, steps, training):
    memory = module.prepare(hidden_bsd, jnp.asarray(LENGTHS), training)
    queries_bud = jnp.zeros((len(hidden_bsd), steps, 2))
    return memory, module.attend_sequence(queries_bud, memory).weights_buhs[:, :, 0]


@pytest.fixture
def hidden_bsd(rng):
    return jnp.asarray(rng.normal(size=(2, 9, 4)), jnp.float32)


def run(module, hidden_bsd, steps=6, training=None):
    call = functools.partial(module.init_with_output, steps=steps, method=attend_sequence)
    return jax.jit(call)(jax.random.key(0), hidden_bsd, training=training)[0]


def shares_of(memory):
    """Returns the shares whose running sums are the memory's keys."""
    return np.diff(np.asarray(memory.keys, float), axis=1, prepend=0.0)


def test_in_training_the_shares_sum_to_the_tokens_and_the_end(hidden_bsd):
    training = replace(training_of(jnp.arange(2, dtype=jnp.uint32)), token_lengths_b=TOKENS)
    memory, weights_bus = run(FIRE, hidden_bsd, training=training)
    np.testing.assert_allclose(shares_of(memory).sum(1), TOKENS + 1, rtol=1e-6)
    np.testing.assert_allclose(weights_bus.sum(-1), 1.0 * (np.arange(6) < (TOKENS + 1)[:, None]), atol=1e-5)
    decoded, _ = run(FIRE, hidden_bsd)
    np.testing.assert_allclose(memory.counts_bh[:, 0], shares_of(decoded).sum(1), rtol=1e-6)
    assert decoded.counts_bh is None


@pytest.mark.parametrize("tokens", [None, TOKENS], ids=["decode form", "training"])
def test_the_weights_are_those_of_the_loop(hidden_bsd, tokens):
    training = None if tokens is None else replace(training_of(jnp.arange(2, dtype=jnp.uint32)), token_lengths_b=tokens)
    memory, weights_bus = run(FIRE, hidden_bsd, training=training)
    shares_bs = shares_of(memory)
    assert np.all((shares_bs > 0) == np.asarray(memory.valid_bs))
    for shares_s, weights_us in zip(shares_bs, weights_bus, strict=True):
        np.testing.assert_allclose(weights_us, read(shares_s, 6), atol=1e-5)


def test_a_share_depends_on_its_neighbours_alone(hidden_bsd):
    """The convolution has 3 positions: position 4 of the encoder reaches the shares 3 to 5."""
    memory, _ = run(FIRE, hidden_bsd)
    moved, _ = run(FIRE, hidden_bsd.at[0, 4].add(1.0))
    changed_s = np.abs(shares_of(moved) - shares_of(memory))[0] > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(changed_s), [3, 4, 5])


def test_token_u_reads_position_u_and_nothing_behind_the_last(hidden_bsd):
    _, weights_bus = run(nn.AlignedPosition(), hidden_bsd)
    expected_bus = np.broadcast_to(np.eye(6, 9), (2, 6, 9)).copy()
    expected_bus[1, 5:] = 0.0
    np.testing.assert_array_equal(weights_bus, expected_bus)


def test_an_attention_that_lacks_its_weights_says_so(hidden_bsd):
    class Half(nn.AlignedPosition):
        weights = nn.QueryFreeAttention.weights

    with pytest.raises(TypeError, match=r"Half is a QueryFreeAttention without weights\(\)"):
        run(Half(), hidden_bsd)


@pytest.mark.parametrize(("width", "kernel_size"), [(0, 3), (4, 2), (4, 0), (4, -1)])
def test_sizes_are_checked(width, kernel_size):
    with pytest.raises(
        ValueError, match=rf"width {width} and kernel_size {kernel_size}; both must be positive and the"
    ):
        nn.IntegrateAndFire(width, kernel_size)


@pytest.mark.parametrize("attention", [FIRE, nn.AlignedPosition()])
def test_neither_heads_nor_a_prompt(attention):
    with pytest.raises(ValueError, match=rf"MultiHead.inner is {type(attention).__name__}, whose own values, count of"):
        nn.MultiHead(attention, 2, 4)
    with pytest.raises(ValueError, match=rf"has a prompt and {type(attention).__name__}, which reads for each token"):
        nn.TransformerDecoder(1, 8, 2, attention, vocab=5, prompt=(1, 2))
