"""The latency-controlled encoder: against a reference implementation, its look-ahead, and one chunk for all frames."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import ConvSubsampling, LatencyControlledBlstm, Listener
from tests.nn.encoders.kinds import BINS
from tests.nn.tiny import near
from tests.reference import lstm as reference

LENGTHS = jnp.array([13, 8, 3, 0])
WIDTH = 3


@pytest.fixture
def frames_btf(rng):
    return jnp.asarray(rng.normal(size=(4, 13, BINS)), jnp.float32)


@functools.cache
def variables_of(module):
    init = jax.jit(functools.partial(module.init, training=None))
    # a seed without a channel whose ReLU is zero at all positions of a look-ahead
    return init(jax.random.key(2), jnp.zeros((1, 13, BINS)), jnp.array([13]))


def run_on(gates_tm, recurrent_dm, h_d, c_d):
    """Returns all hidden states of the reference cell from a state on, and the last state."""
    hidden = []
    for gates_m in gates_tm:
        h_d, c_d = reference.cell(gates_m + h_d @ recurrent_dm, c_d)
        hidden.append(h_d)
    return np.array(hidden).reshape(-1, len(recurrent_dm)), (h_d, c_d)


def encode(params, x_tf, time_reduction, chunk, lookahead):
    """Returns the hidden states of one utterance, with all layers of a window before the next; sizes are in frames."""
    states = [(np.zeros(WIDTH), np.zeros(WIDTH)) for _ in time_reduction]
    out = []
    for start in range(0, len(x_tf), chunk):
        x_wd = x_tf[start : start + chunk + lookahead]
        own = chunk
        for layer, by in enumerate(time_reduction):
            x_wd = np.pad(x_wd, ((0, -len(x_wd) % by), (0, 0))).reshape(-(-len(x_wd) // by), -1)
            own //= by
            ways = params[f"lstm_{layer}"]
            there, back = (
                x_wd @ w["input"]["kernel"] + w["input"]["bias"] for w in (ways["forward"], ways["backward"])
            )
            first, states[layer] = run_on(there[:own], ways["forward"]["recurrent"], *states[layer])
            further, _ = run_on(there[own:], ways["forward"]["recurrent"], *states[layer])
            behind = reference.lstm(back, ways["backward"]["recurrent"], reverse=True)
            x_wd = np.concatenate([np.concatenate([first, further]), behind], axis=-1)
        out.append(x_wd[:own])
    return np.concatenate(out)


@pytest.mark.parametrize(("time_reduction", "chunk", "lookahead"), [((1, 2), 4, 2), ((1, 1), 3, 5), ((2,), 4, 0)])
def test_windows_are_those_of_the_reference(frames_btf, time_reduction, chunk, lookahead):
    """A look-ahead shorter and longer than a chunk, and none; utterances that end within a chunk or a look-ahead."""
    module = LatencyControlledBlstm(WIDTH, time_reduction, chunk, lookahead)
    variables = variables_of(module)
    hidden_bsd, real_b = jax.jit(functools.partial(module.apply, training=None))(variables, frames_btf, LENGTHS)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    for row, length in enumerate(LENGTHS.tolist()[:3]):
        expected = encode(params, np.asarray(frames_btf[row, :length], float), time_reduction, chunk, lookahead)
        assert len(expected) == real_b[row]
        np.testing.assert_allclose(hidden_bsd[row, : len(expected)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("subsampling", [None, ConvSubsampling((2,))])
def test_no_position_sees_behind_its_chunks_look_ahead(frames_btf, subsampling):
    """Gradients through two layers show that a position sees the whole past, and the look-ahead to its last frame."""
    module = LatencyControlledBlstm(WIDTH, (1, 1), chunk=4, lookahead=2, subsampling=subsampling)
    variables = variables_of(module)

    @jax.jit
    def seen(frames_btf):
        def hidden(frames_btf):
            hidden_bsd, _ = module.apply(variables, frames_btf, jnp.array([13]), training=None)
            return jnp.sum(jnp.sin(3 * hidden_bsd[0]), -1)

        return jax.jacobian(hidden)(frames_btf)[:, 0]

    for position, d_frames in enumerate(seen(frames_btf[:1])):
        frames = np.flatnonzero(np.any(d_frames, axis=-1))
        end = (position * module.stride // 4 + 1) * 4 + 2
        assert frames.min() == 0
        assert frames.max() == min(end, 13) - 1


def test_a_chunk_of_all_frames_is_the_bidirectional_listener(frames_btf):
    """Compares values and gradients with equal parameters."""
    chunked = LatencyControlledBlstm(WIDTH, (1, 2), chunk=14, lookahead=2)
    whole = Listener(WIDTH, (1, 2))
    variables = variables_of(whole)

    def value(module, variables, frames_btf):
        hidden_bsd, real_b = module.apply(variables, frames_btf, LENGTHS, training=None)
        return jnp.sum(jnp.sin(3 * hidden_bsd)), (hidden_bsd, real_b)

    found, expected = (
        jax.jit(jax.value_and_grad(functools.partial(value, module), argnums=(0, 1), has_aux=True))
        for module in (chunked, whole)
    )
    near(found(variables, frames_btf), expected(variables, frames_btf), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("chunk", "lookahead"), [(6, 4), (8, 2), (0, 4), (8, -4)])
def test_chunks_and_look_ahead_are_multiples_of_the_stride(chunk, lookahead):
    with pytest.raises(
        ValueError, match=f"chunk {chunk} and lookahead {lookahead} at a stride of 4 frames; both must be multiples"
    ):
        LatencyControlledBlstm(WIDTH, (2, 2), chunk, lookahead)


def test_layers_are_needed():
    with pytest.raises(ValueError, match="it needs a positive width and one number of at least 1 for each layer"):
        LatencyControlledBlstm(WIDTH, (), 4, 2)
