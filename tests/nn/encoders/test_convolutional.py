"""TDS, QuartzNet and CRDNN: their convolutions against loops, the frames that causal forms see, and invalid sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import Crdnn, QuartzNet, Tds
from tests.nn.encoders.kinds import BINS, ENCODERS
from tests.nn.tiny import listener, near

FRAMES = 13
TDS = Tds((2, 3), depths=(1, 1), strides=(2, 1), kernel_size=3, output=5)
QUARTZNET = QuartzNet((4,), (3,), repeats=1, depth=2, first=(4, 3, 2), last=(4, 3, 2), output=4)


def with_layers(module, frames_btf):
    """Returns the parameters, the output in evaluation, and the output of every layer."""
    run = functools.partial(module.init_with_output, training=None, capture_intermediates=True, mutable=True)
    (hidden_bsd, _), variables = jax.jit(run)(jax.random.key(4), frames_btf, jnp.array([frames_btf.shape[1]]))
    params = jax.tree.map(np.asarray, variables["params"])
    return params, hidden_bsd, variables["intermediates"]


def normalized(x, norm, axes=-1):
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-6) * np.asarray(norm["scale"]) + np.asarray(
        norm["bias"]
    )


def over_time(x_tfc, conv, stride):
    """Returns a convolution of every bin over time, with (k - 1) / 2 taps to each side and zeros outside."""
    kernel_kcd = conv["kernel"][:, 0]
    around = (len(kernel_kcd) - 1) // 2
    padded = np.pad(x_tfc, ((around, around), (0, 0), (0, 0)))
    steps = range(0, len(x_tfc), stride)
    taps = [sum(padded[t + k] @ kernel_kcd[k] for k in range(len(kernel_kcd))) for t in steps]
    return np.maximum(np.stack(taps) + conv["bias"], 0)


def tds_reference(params, x_tf):
    x_tfc = x_tf[..., None]
    for group, stride in enumerate((2, 1)):
        x_tfc = over_time(x_tfc, params[f"subsample_{group}"]["conv"], stride)
        x_tfc = normalized(x_tfc, params[f"norm_{group}"], (-2, -1))
        block = params[f"block_{group}_0"]
        x_tfc = normalized(x_tfc + over_time(x_tfc, block["over_time"]["conv"], 1), block["norm_time"], (-2, -1))
        x_tm = x_tfc.reshape(len(x_tfc), -1)
        y_tm = np.maximum(x_tm @ block["dense_in"]["kernel"] + block["dense_in"]["bias"], 0)
        y_tm = x_tm + y_tm @ block["dense_out"]["kernel"] + block["dense_out"]["bias"]
        x_tfc = normalized(y_tm.reshape(x_tfc.shape), block["norm_dense"], (-2, -1))
    return x_tfc.reshape(len(x_tfc), -1) @ params["output"]["kernel"] + params["output"]["bias"]


def separable(x_tc, layer, *, stride=1, dilation=1):
    filters_kc = layer["filters"]
    around = dilation * (len(filters_kc) - 1) // 2
    padded = np.pad(x_tc, ((around, around), (0, 0)))
    steps = range(0, len(x_tc), stride)
    y_tc = np.stack([sum(padded[t + dilation * k] * f_c for k, f_c in enumerate(filters_kc)) for t in steps])
    return normalized(y_tc @ layer["across"]["kernel"], layer["norm"])


def quartznet_reference(params, x_tf):
    x_tc = np.maximum(separable(x_tf, params["first"], stride=2), 0)
    around = normalized(x_tc @ params["block_0_0_around"]["kernel"], params["block_0_0_around_norm"])
    x_tc = np.maximum(separable(x_tc, params["block_0_0_0"]), 0)
    x_tc = np.maximum(separable(x_tc, params["block_0_0_1"]) + around, 0)
    x_tc = np.maximum(separable(x_tc, params["last"], dilation=2), 0)
    return np.maximum(normalized(x_tc @ params["output"]["kernel"], params["output_norm"]), 0)


@pytest.mark.parametrize(
    ("module", "reference"), [(TDS, tds_reference), (QUARTZNET, quartznet_reference)], ids=["TDS", "QuartzNet"]
)
def test_layers_are_those_of_the_reference(rng, module, reference):
    frames_btf = rng.normal(size=(1, FRAMES, BINS)).astype(np.float32)
    params, hidden_bsd, _ = with_layers(module, jnp.asarray(frames_btf))
    np.testing.assert_allclose(hidden_bsd[0], reference(params, frames_btf[0].astype(float)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "reach"),
    [(TDS, None), (QUARTZNET, None), (TDS.clone(causal=True), 0), (QUARTZNET.clone(causal=True), 0)],
    ids=["TDS", "QuartzNet", "TDS, causal", "QuartzNet, causal"],
)
def test_causal_convolutions_see_the_past_only(rng, module, reach):
    """Gradients show it: with causal convolutions position s sees no frame after 2 s, else it sees further."""
    frames_btf = jnp.asarray(rng.normal(size=(1, FRAMES, BINS)), jnp.float32)
    lengths_b = jnp.array([FRAMES])
    variables = jax.jit(functools.partial(module.init, training=None))(jax.random.key(0), frames_btf, lengths_b)

    @jax.jit
    def seen(frames_btf):
        def hidden(frames_btf):
            return jnp.sum(jnp.sin(3 * module.apply(variables, frames_btf, lengths_b, training=None)[0][0]), -1)

        return jax.jacobian(hidden)(frames_btf)[:, 0]

    for position, d_frames in enumerate(seen(frames_btf)[:-1]):
        last = np.flatnonzero(np.any(d_frames, axis=-1)).max()
        assert last == 2 * position if reach == 0 else last > 2 * position


def test_crdnn_is_a_listener_under_dense_layers(rng):
    module = Crdnn(ENCODERS["CRDNN"].recurrent, dense=(4, 3))
    params, hidden_bsd, layers = with_layers(module, jnp.asarray(rng.normal(size=(1, FRAMES, BINS)), jnp.float32))
    x_sd = np.asarray(layers["recurrent"]["__call__"][0][0][0], float)
    for k in range(2):
        x_sd = normalized(x_sd @ params[f"dense_{k}"]["kernel"] + params[f"dense_{k}"]["bias"], params[f"norm_{k}"])
        x_sd = np.where(x_sd > 0, x_sd, 0.01 * x_sd)
    near(hidden_bsd[0], x_sd, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "needed"),
    [
        (lambda: Tds((2,), (1, 1), (2,)), "one number of at least 1 for each group in all three"),
        (lambda: Tds((), (), ()), "one number of at least 1 for each group in all three"),
        (lambda: Tds((2,), (1,), (2,), kernel_size=0), "at least one tap"),
        (lambda: Tds((2,), (-1,), (2,)), r"depths \(-1,\)"),
        (lambda: Tds(output=0), "output 0"),
        (lambda: QuartzNet((4, 4), (3,)), "each group needs a width and a kernel size"),
        (lambda: QuartzNet(depth=0), "all must be at least 1"),
        (
            lambda: Crdnn(listener()),
            r"it needs widths of at least 1 and a subsampling, such as subsampling=VggSubsampling\(\)",
        ),
        (lambda: Crdnn(ENCODERS["CRDNN"].recurrent, dense=()), "it needs widths of at least 1 and a subsampling"),
    ],
)
def test_impossible_sizes_are_refused(build, needed):
    with pytest.raises(ValueError, match=needed):
        build()
