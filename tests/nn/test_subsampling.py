import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn.subsampling import ConvSubsampling, Subsampling, TimeConvSubsampling, VggSubsampling
from tests.nn.tiny import near, with_garbage

CONV = ConvSubsampling((2, 3))
VGG = VggSubsampling((2, 3), time_pools=(2, 3), bin_pools=(2, 2))
NORMED = VggSubsampling((2,), time_pools=(4,), bin_pools=(2,), norm="layer", leak=0.1)
BINS = 6


@pytest.fixture(scope="module")
def params():
    return CONV.init(jax.random.key(0), jnp.zeros((1, 8, BINS)), jnp.array([8]))


apply = jax.jit(CONV.apply)


def convolved(x_tfc, kernel, bias):
    """Returns a 3 x 3 convolution of stride 2 with zero padding and ReLU, by loops over the positions of one utterance."""
    frames, bins, _ = x_tfc.shape
    padded = np.pad(x_tfc, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((-(-frames // 2), -(-bins // 2), kernel.shape[-1]))
    for t in range(out.shape[0]):
        for f in range(out.shape[1]):
            patch = padded[2 * t : 2 * t + 3, 2 * f : 2 * f + 3]
            out[t, f] = np.maximum(0, np.einsum("ijc,ijcd->d", patch, kernel) + bias)
    return out


@pytest.mark.parametrize("frames", [7, 8, 9, 10, 1])
def test_an_utterance_in_any_batch_is_what_it_is_alone(rng, params, frames):
    """Compares odd and even lengths, in a longer batch, to loops without padding."""
    lengths = jnp.array([frames, 3, 11, 0])
    x_btf = rng.normal(size=(4, 11, BINS)).astype(np.float32)
    hidden_bsd, hidden_lengths_b = apply(params, with_garbage(x_btf, lengths), lengths)
    np.testing.assert_array_equal(hidden_lengths_b, [-(-length // 4) for length in lengths.tolist()])
    x_tfc = x_btf[0, :frames, :, None].astype(float)
    for layer in ("conv_0", "conv_1"):
        x_tfc = convolved(x_tfc, *(np.asarray(params["params"][layer][name], float) for name in ("kernel", "bias")))
    real = int(hidden_lengths_b[0])
    assert len(x_tfc) == real
    np.testing.assert_allclose(hidden_bsd[0, :real], x_tfc.reshape(real, -1), rtol=1e-5, atol=1e-6)
    assert not np.any(hidden_bsd[0, real:])
    assert not np.any(hidden_bsd[3])


def test_gradients_do_not_see_padding(rng, params):
    lengths = jnp.array([5, 3])
    x_btf = rng.normal(size=(2, 5, BINS)).astype(np.float32)

    @jax.jit
    def gradients(params, x_btf):
        return jax.grad(lambda *given: jnp.sum(CONV.apply(*given, lengths)[0] ** 2), (0, 1))(params, x_btf)

    d_params, d_x_btf = gradients(params, jnp.asarray(x_btf))
    d_params_of, d_longer = gradients(params, with_garbage(x_btf, lengths, extra=3))
    near((d_params_of, d_longer[:, :5]), (d_params, d_x_btf))
    assert not np.any(d_longer[0, 5:])
    assert not np.any(d_longer[1, 3:])


def test_the_stride_is_two_a_layer():
    assert [ConvSubsampling((1,) * layers).stride for layers in (0, 1, 3)] == [1, 2, 8]


def rectified(x_tfc, conv, norm, leak):
    """Returns a 3 x 3 convolution with zero padding, an optional norm over a frame, and a leaky ReLU, by loops."""
    kernel, bias = (np.asarray(conv[name], float) for name in ("kernel", "bias"))
    frames, bins, _ = x_tfc.shape
    padded = np.pad(x_tfc, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((frames, bins, kernel.shape[-1]))
    for t in range(frames):
        for f in range(bins):
            out[t, f] = np.einsum("ijc,ijcd->d", padded[t : t + 3, f : f + 3], kernel) + bias
        if norm is not None:
            out[t] = (out[t] - out[t].mean()) / np.sqrt(out[t].var() + 1e-6) * norm["scale"] + norm["bias"]
    return np.where(out > 0, out, leak * out)


def largest(x_tfc, time_by, bins_by):
    """Returns the maximum of every group; the last groups may be incomplete."""
    frames = range(0, len(x_tfc), time_by)
    bins = range(0, x_tfc.shape[1], bins_by)
    return np.array([[x_tfc[t : t + time_by, f : f + bins_by].max(axis=(0, 1)) for f in bins] for t in frames])


@pytest.mark.parametrize("subsampling", [VGG, NORMED], ids=["ESPnet", "CRDNN"])
def test_vgg_blocks_in_any_batch_are_what_they_are_alone(rng, subsampling):
    """Compares lengths that no pooling divides, in a longer batch, to loops without padding."""
    lengths = jnp.array([11, 7, 1, 0])
    x_btf = rng.normal(size=(4, 11, 5)).astype(np.float32)
    variables = jax.jit(subsampling.init)(jax.random.key(0), jnp.asarray(x_btf), lengths)
    hidden_bsd, real_b = jax.jit(subsampling.apply)(variables, with_garbage(x_btf, lengths, extra=2), lengths)
    np.testing.assert_array_equal(real_b, [-(-length // subsampling.stride) for length in lengths.tolist()])
    params = variables["params"]
    for row, length in enumerate(lengths.tolist()[:3]):
        x_tfc = x_btf[row, :length, :, None].astype(float)
        for block, (time_by, bins_by) in enumerate(zip(subsampling.time_pools, subsampling.bin_pools, strict=True)):
            for half in "ab":
                norm = params.get(f"norm_{block}{half}")
                x_tfc = rectified(x_tfc, params[f"conv_{block}{half}"], norm, subsampling.leak)
            x_tfc = largest(x_tfc, time_by, bins_by)
        real = int(real_b[row])
        np.testing.assert_allclose(hidden_bsd[row, :real], x_tfc.reshape(real, -1), rtol=1e-4, atol=1e-5)
        assert not np.any(hidden_bsd[row, real:])


@pytest.mark.parametrize(
    "sizes",
    [((2,), (2, 2), (2, 2)), ((2, 2), (2, 0), (2, 2)), ((0,), (2,), (2,))],
    ids=["one short", "no pool", "no channel"],
)
def test_blocks_need_a_number_each(sizes):
    with pytest.raises(ValueError, match="it needs one number of at least 1 for each block in all three"):
        VggSubsampling(*sizes)


def test_convolutions_need_channels():
    with pytest.raises(ValueError, match=r"ConvSubsampling\.channels is \(2, 0\); it needs a number of at least 1"):
        ConvSubsampling((2, 0))


def test_a_subsampling_that_lacks_a_part_says_which():
    class Half(Subsampling):
        """A subsampling that overrides nothing."""

    with pytest.raises(TypeError, match="Half is a Subsampling without stride"):
        _ = Half().stride
    with pytest.raises(TypeError, match=r"Half is a Subsampling without __call__\(\)"):
        Half().init(jax.random.key(0), jnp.ones((1, 2, BINS)), jnp.array([2]))


@pytest.mark.parametrize("frames", [1, 6, 7])
def test_convolutions_over_time_see_no_padding(rng, frames):
    """Compares to loops over one utterance without padding; the second layer has stride 2."""
    module = TimeConvSubsampling((5, 3), activation="relu")
    lengths = jnp.array([frames, 9, 0])
    x_btf = rng.normal(size=(3, 9, BINS)).astype(np.float32)
    params = module.init(jax.random.key(1), jnp.asarray(x_btf), lengths)
    hidden_bsd, hidden_lengths_b = jax.jit(module.apply)(params, with_garbage(x_btf, lengths), lengths)
    np.testing.assert_array_equal(hidden_lengths_b, [-(-frames // 2), 5, 0])
    x_tf = x_btf[0, :frames].astype(float)
    for layer, stride in ((0, 1), (1, 2)):
        conv = params["params"][f"conv_{layer}"]
        padded = np.pad(x_tf, ((1, 1), (0, 0)))
        taps = [padded[t : t + 3] for t in range(0, len(x_tf), stride)]
        products = [np.einsum("kf,kfd->d", tap, np.asarray(conv["kernel"], float)[:, 0]) for tap in taps]
        x_tf = np.maximum(0, np.stack(products) + np.asarray(conv["bias"]))
    np.testing.assert_allclose(hidden_bsd[0, : len(x_tf)], x_tf, rtol=1e-5, atol=1e-6)
    assert not np.any(hidden_bsd[0, len(x_tf) :])
    assert module.stride == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": (2,)}, "one number of at least 1 for each layer in both"),
        ({"channels": (2, 2), "kernel_size": 2}, "an odd number is needed"),
    ],
)
def test_convolutions_over_time_that_can_not_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TimeConvSubsampling(**fields)
