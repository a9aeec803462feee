import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import ConvFront, Listener
from tests.nn.tiny import listener, near, rows, streams, training_of, with_garbage

BINS = 4
LENGTHS = np.array([11, 6, 1, 0])
IDS = jnp.array([3, 1, 4, 1], jnp.uint32)
KINDS = {
    "pyramid": listener(pools=(2, 3), dropout=0.4),
    "front, one way": listener(pools=(1, 2), front=ConvFront((2,)), bidirectional=False, dropout=0.4),
}


@functools.cache
def with_gradients(kind: str):
    """Jitted, in training: a number that sees the positions where `seen_s`, and its gradients."""
    module = KINDS[kind]

    def value(variables, frames_btf, lengths_b, ids_b, seen_s):
        hidden_bsd, real_b = module.apply(variables, frames_btf, lengths_b, training=training_of(ids_b), rngs=streams())
        mix_sd = jnp.arange(1.0, 1.0 + hidden_bsd.shape[-1])[None] * seen_s[:, None]
        return jnp.sum(jnp.sin(3 * hidden_bsd) * mix_sd[None]), (hidden_bsd, real_b)

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))


@functools.cache
def variables_of(kind: str):
    init = jax.jit(functools.partial(KINDS[kind].init, training=None))
    return init(jax.random.key(2), jnp.zeros((4, 11, BINS)), jnp.asarray(LENGTHS))


@pytest.fixture
def frames_btf(rng):
    return rng.normal(size=(4, 11, BINS)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_nothing(frames_btf, kind):
    """Values and gradients in training: each example alone against a larger shape with garbage behind each."""
    module, value, variables = KINDS[kind], with_gradients(kind), variables_of(kind)
    spoilt_btf = with_garbage(frames_btf, LENGTHS, extra=6)
    positions, more = -(-11 // module.stride), -(-17 // module.stride)
    (found, (hidden_bsd, real_b)), (d_variables, d_frames) = value(
        variables, spoilt_btf, jnp.asarray(LENGTHS), IDS, jnp.ones(more)
    )
    np.testing.assert_array_equal(real_b, -(-LENGTHS // module.stride))
    alone = []
    for row in range(4):
        given = rows((jnp.asarray(frames_btf), jnp.asarray(LENGTHS), IDS), np.s_[row : row + 1])
        (one, (hidden_of, real_of)), d_one = value(variables, *given, jnp.ones(positions))
        near((hidden_bsd[row, :positions], real_b[row], d_frames[row, :11]), (hidden_of[0], real_of[0], d_one[1][0]))
        alone.append((one, d_one[0]))
    near((found, d_variables), jax.tree.map(lambda *leaves: sum(leaves), *alone), rtol=1e-4, atol=1e-5)
    assert not np.any(hidden_bsd[np.arange(more) >= np.array(real_b)[:, None]])
    assert not np.any(d_frames[np.arange(17) >= LENGTHS[:, None]])
    assert np.any(d_frames[2, 0])


def test_dropout_is_off_without_ids_and_jit_is_eager(frames_btf):
    module, variables = KINDS["pyramid"], variables_of("pyramid")
    given = (jnp.asarray(frames_btf), jnp.asarray(LENGTHS))
    quiet_bsd, _ = jax.jit(functools.partial(module.apply, training=None))(variables, *given)
    near(module.apply(variables, *given, training=None)[0], quiet_bsd)
    drawn_bsd, _ = module.apply(variables, *given, training=training_of(IDS), rngs=streams())
    assert 0.2 < np.mean(np.asarray(drawn_bsd)[0] == 0) < 0.6
    assert np.all(np.asarray(quiet_bsd)[0] != 0)


@pytest.mark.parametrize(
    ("pools", "front", "stride"),
    [((1,), None, 1), ((1, 2, 2, 2), None, 8), ((3, 1, 2), None, 6), ((1, 2), ConvFront((2, 2)), 8)],
)
def test_lengths_and_shapes_follow_the_stride(pools, front, stride):
    module = listener(pools=pools, front=front)
    assert module.stride == stride
    run = functools.partial(module.init_with_output, training=None)
    for frames in (1, 9):
        hidden, _ = jax.eval_shape(run, jax.random.key(0), jnp.zeros((2, frames, BINS)), jnp.array([frames, 0]))[0]
        assert hidden.shape == (2, -(-frames // stride), 8)


def test_one_way_does_not_see_the_future(frames_btf):
    """Position s holds convolutions centred at frames 4 s and 4 s + 2, which see one frame to each side."""
    kind = "front, one way"
    for position in range(3):
        given = (jnp.asarray(frames_btf[:1]), jnp.array([11]), IDS[:1], jnp.arange(3.0) == position)
        _, d_frames = with_gradients(kind)(variables_of(kind), *given)[1]
        seen = np.flatnonzero(np.any(d_frames[0], axis=-1))
        assert seen.max() == min(4 * position + 3, 10)


@pytest.mark.parametrize(("width", "pools"), [(4, ()), (4, (1, 0)), (0, (1,))])
def test_a_listener_without_layers_is_refused(width, pools):
    with pytest.raises(ValueError, match="it needs a positive width and one number of at least 1 for each layer"):
        Listener(width, pools)
