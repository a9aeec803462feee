"""The listener's options; test_interface.py has the properties of every encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import ConvSubsampling, Listener, VggSubsampling
from jaxasr.nn.encoders.listener import reduce_time
from tests.nn.encoders.kinds import BINS
from tests.nn.tiny import listener, near, streams, training_of

LENGTHS = jnp.array([9, 4, 0])


@pytest.fixture
def frames_btf(rng):
    return jnp.asarray(rng.normal(size=(3, 9, BINS)), jnp.float32)


def made(module, frames_btf):
    """Returns the module's parameters, its output in evaluation, and the output of every layer."""
    run = functools.partial(module.init_with_output, training=None, capture_intermediates=True, mutable=True)
    (hidden_bsd, _), variables = jax.jit(run)(jax.random.key(0), frames_btf, LENGTHS)
    inner = {name: calls["__call__"][0] for name, calls in variables.pop("intermediates").items() if name != "__call__"}
    return variables, hidden_bsd, inner


@pytest.mark.parametrize(
    ("time_reduction", "subsampling", "stride"),
    [
        ((1,), None, 1),
        ((1, 2, 2, 2), None, 8),
        ((3, 1, 2), None, 6),
        ((1, 2), ConvSubsampling((2, 2)), 8),
        ((2,), VggSubsampling((1, 1), (2, 3), (1, 1)), 12),
    ],
)
def test_lengths_and_shapes_follow_the_stride(time_reduction, subsampling, stride):
    module = listener(time_reduction=time_reduction, subsampling=subsampling)
    assert module.stride == stride
    run = functools.partial(module.init_with_output, training=None)
    for frames in (1, 9):
        hidden, _ = jax.eval_shape(run, jax.random.key(0), jnp.zeros((2, frames, BINS)), jnp.array([frames, 0]))[0]
        assert hidden.shape == (2, -(-frames // stride), 8)


def test_one_way_does_not_see_the_future(frames_btf):
    """Position s holds convolutions centred at frames 4 s and 4 s + 2, which see one frame to each side."""
    module = listener(time_reduction=(1, 2), subsampling=ConvSubsampling((2,)), bidirectional=False)
    variables = jax.jit(functools.partial(module.init, training=None))(jax.random.key(2), frames_btf, LENGTHS)

    @jax.jit
    def seen(frames_btf):
        def hidden(frames_btf):
            return jnp.sum(jnp.sin(3 * module.apply(variables, frames_btf, LENGTHS, training=None)[0][0]), -1)

        return jax.jacobian(hidden)(frames_btf)[:, 0]

    for position, d_frames in enumerate(seen(frames_btf)):
        assert np.flatnonzero(np.any(d_frames, axis=-1)).max() == min(4 * position + 3, 8)


@pytest.mark.parametrize("pooling", ["stack", "max", "skip"])
def test_neighbours_become_one(rng, pooling):
    """Negative numbers, so that a zero of the padding would win a maximum."""
    x_btd = -1 - rng.random((3, 9, 2)).astype(np.float32)
    x_btd[np.arange(9) >= np.array(LENGTHS)[:, None]] = 0
    found_bkm, lengths_b = reduce_time(jnp.asarray(x_btd), LENGTHS, 2, pooling)
    np.testing.assert_array_equal(lengths_b, (LENGTHS + 1) // 2)
    for row, length in enumerate(LENGTHS.tolist()):
        for k in range(5):
            group = x_btd[row, 2 * k : min(2 * k + 2, length)]
            filled = np.concatenate([group, np.zeros((2 - len(group), 2))])
            largest = group.max(axis=0) if len(group) else np.zeros(2)
            expected = {"stack": filled.reshape(-1), "max": largest, "skip": filled[0]}
            np.testing.assert_array_equal(found_bkm[row, k], expected[pooling])
    assert reduce_time(jnp.asarray(x_btd), LENGTHS, 1, pooling)[0].shape == x_btd.shape


@pytest.mark.parametrize(("projected", "layers"), [("every", [0, 1]), ("last", [1])])
def test_projections_are_espnets(frames_btf, projected, layers):
    """With projections of every layer tanh follows all but the last; with one of the last layer tanh follows it."""
    module = listener(time_reduction=(1, 2), projection=3, projected=projected)
    variables, hidden_bsd, inner = made(module, frames_btf)
    assert [name for name in sorted(variables["params"]) if "projection" in name] == [f"projection_{k}" for k in layers]
    last = inner["projection_1"]
    expected_bsd = np.array(np.tanh(last) if projected == "last" else last)
    expected_bsd[np.arange(5) >= -(-np.array(LENGTHS) // 2)[:, None]] = 0
    near(hidden_bsd, expected_bsd)
    if projected == "every":
        first_btd = np.array(np.tanh(inner["projection_0"]))
        first_btd[np.arange(9) >= np.array(LENGTHS)[:, None]] = 0
        near(inner["dropout_0"], first_btd)


def test_variational_dropout_takes_a_channel_of_the_whole_utterance(frames_btf):
    module = listener(time_reduction=(1,), dropout=0.5, dropout_over_time=True)
    variables = jax.jit(functools.partial(module.init, training=None))(jax.random.key(2), frames_btf, LENGTHS)
    given = (frames_btf, jnp.array([9, 9, 9]))
    training = training_of(jnp.array([1, 2, 3], jnp.uint32))
    drawn, _ = jax.jit(module.apply)(variables, *given, training=training, rngs=streams())
    zero_btd = np.asarray(drawn) == 0
    assert np.all(zero_btd == zero_btd[:, :1])
    assert 0 < zero_btd[:, 0].mean() < 1


@pytest.mark.parametrize(("width", "time_reduction"), [(4, ()), (4, (1, 0)), (0, (1,))])
def test_a_listener_without_layers_is_refused(width, time_reduction):
    with pytest.raises(ValueError, match="it needs a positive width and one number of at least 1 for each layer"):
        Listener(width, time_reduction)


def test_a_projection_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"Listener.projection is 0; it needs a positive width"):
        Listener(4, (1,), projection=0)
