"""Properties of every encoder (see kinds.py)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import Encoder
from tests.nn.encoders.kinds import BINS, ENCODERS
from tests.nn.tiny import near, rows, streams, training_of, with_garbage

FRAMES = 11
LENGTHS = np.array([11, 6, 1, 0])
IDS = jnp.array([3, 1, 4, 1], jnp.uint32)


@functools.cache
def with_gradients(kind: str):
    """Returns a jitted function, in training, to a number that depends on the positions of `seen_s`, with gradients."""
    module = ENCODERS[kind]

    def value(variables, frames_btf, lengths_b, ids_b, seen_s):
        hidden_bsd, real_b = module.apply(variables, frames_btf, lengths_b, training=training_of(ids_b), rngs=streams())
        mix_sd = jnp.arange(1.0, 1.0 + hidden_bsd.shape[-1])[None] * seen_s[:, None]
        return jnp.sum(jnp.sin(3 * hidden_bsd) * mix_sd[None]), (hidden_bsd, real_b)

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))


@functools.cache
def variables_of(kind: str):
    init = jax.jit(functools.partial(ENCODERS[kind].init, training=None))
    return init(jax.random.key(2), jnp.zeros((4, FRAMES, BINS)), jnp.asarray(LENGTHS))


def in_float64(leaf):
    return jnp.asarray(leaf, jnp.float64)


@pytest.fixture
def frames_btf(rng):
    return rng.normal(size=(4, FRAMES, BINS)).astype(np.float32)


@pytest.mark.parametrize("kind", ENCODERS)
def test_padding_and_neighbours_change_nothing(frames_btf, kind):
    """Compares values and gradients in training of every example alone to a larger shape with garbage as padding.

    It computes in float64. The sums of a product (the projections, h R of a recurrence) have another order if it has more
    rows, and the layer normalisations of models so small divide by deviations down to 0.004. So the rounding of the last
    digit grows to at most 6e-13 of the largest gradient (2.2e-16 times 3,000; in float32, 3e-4). An influence of padding
    would be of order 1.
    """
    module = ENCODERS[kind]
    value = with_gradients(kind)
    given = (variables_of(kind), frames_btf, with_garbage(frames_btf, LENGTHS, extra=6))
    with jax.enable_x64(True):
        variables, frames_btf, spoilt_btf = jax.tree.map(in_float64, given)
        positions = -(-FRAMES // module.stride)
        more = -(-(FRAMES + 6) // module.stride)
        (found, (hidden_bsd, real_b)), (d_variables, d_frames) = value(
            variables, spoilt_btf, jnp.asarray(LENGTHS), IDS, jnp.ones(more)
        )
        np.testing.assert_array_equal(real_b, -(-LENGTHS // module.stride))
        alone = []
        for row in range(4):
            given = rows((frames_btf, jnp.asarray(LENGTHS), IDS), np.s_[row : row + 1])
            (one, (hidden_of, real_of)), d_one = value(variables, *given, jnp.ones(positions))
            expected = (hidden_of[0], real_of[0], d_one[1][0])
            near((hidden_bsd[row, :positions], real_b[row], d_frames[row, :FRAMES]), expected, rtol=1e-9, atol=1e-9)
            alone.append((one, d_one[0]))
        near((found, d_variables), jax.tree.map(lambda *leaves: sum(leaves), *alone), rtol=1e-9, atol=1e-9)
    assert {leaf.dtype for leaf in jax.tree.leaves((hidden_bsd, d_variables, d_frames))} == {jnp.dtype("float64")}
    assert not np.any(hidden_bsd[np.arange(more) >= np.array(real_b)[:, None]])
    assert not np.any(d_frames[np.arange(FRAMES + 6) >= LENGTHS[:, None]])
    assert np.all(np.any(d_frames[:2, 0], axis=-1))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(d_variables))


@pytest.mark.parametrize("kind", ENCODERS)
def test_evaluation_draws_nothing(frames_btf, kind):
    """In float64, whose program of training is that of the test above."""
    module = ENCODERS[kind]
    given = (variables_of(kind), with_garbage(frames_btf, LENGTHS, extra=6))
    with jax.enable_x64(True):
        variables, spoilt_btf = jax.tree.map(in_float64, given)
        lengths_b = jnp.asarray(LENGTHS)
        quiet_bsd, _ = jax.jit(functools.partial(module.apply, training=None))(variables, spoilt_btf, lengths_b)
        seen = jnp.ones(quiet_bsd.shape[1])
        (_, (drawn_bsd, _)), _ = with_gradients(kind)(variables, spoilt_btf, lengths_b, IDS, seen)
        (_, (other_bsd, _)), _ = with_gradients(kind)(variables, spoilt_btf, lengths_b, IDS + 1, seen)
    for row in range(2):
        assert np.any(np.abs(drawn_bsd[row] - quiet_bsd[row]) > 1e-4)
        assert np.any(np.abs(drawn_bsd[row] - other_bsd[row]) > 1e-4)


@pytest.mark.parametrize("kind", ["listener, pyramid", "conformer"])
def test_not_jitted_is_jitted(frames_btf, kind):
    """One recurrent encoder and one of blocks: operations are compiled one by one, which takes as long as all of them."""
    given = (variables_of(kind), with_garbage(frames_btf, LENGTHS, extra=6), jnp.asarray(LENGTHS))
    eager_bsd, _ = ENCODERS[kind].apply(*given, training=None)
    near(eager_bsd, jax.jit(functools.partial(ENCODERS[kind].apply, training=None))(*given)[0])


@pytest.mark.parametrize("kind", ENCODERS)
def test_lengths_and_shapes_follow_the_stride(kind):
    module = ENCODERS[kind]
    run = functools.partial(module.init_with_output, training=None)
    for frames in (1, 9, 16):
        frames_btf = jax.ShapeDtypeStruct((2, frames, BINS), jnp.float32)
        (hidden, real), _ = jax.eval_shape(run, jax.random.key(0), frames_btf, jax.ShapeDtypeStruct((2,), jnp.int32))
        assert hidden.shape[:2] == (2, -(-frames // module.stride))
        assert real.shape == (2,)


def test_an_encoder_that_lacks_a_part_says_which():
    class Half(Encoder):
        """An encoder that overrides nothing."""

    with pytest.raises(TypeError, match="Half is an Encoder without stride"):
        _ = Half().stride
    with pytest.raises(TypeError, match=r"Half is an Encoder without __call__\(\)"):
        Half().init(jax.random.key(0), jnp.ones((1, 2, BINS)), jnp.array([2]), training=None)
