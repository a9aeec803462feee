import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn.convolution import ConvFront
from tests.nn.tiny import near, with_garbage

FRONT = ConvFront((2, 3))
BINS = 6


@pytest.fixture(scope="module")
def params():
    return FRONT.init(jax.random.key(0), jnp.zeros((1, 8, BINS)), jnp.array([8]))


apply = jax.jit(FRONT.apply)


def convolved(x_tfc, kernel, bias):
    """3 x 3, stride 2 both ways, one ring of zeros, ReLU: one utterance by loops over positions."""
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
    """Odd and even lengths, in a batch that has more: against loops that never saw any padding."""
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
        return jax.grad(lambda *given: jnp.sum(FRONT.apply(*given, lengths)[0] ** 2), (0, 1))(params, x_btf)

    d_params, d_x_btf = gradients(params, jnp.asarray(x_btf))
    d_params_of, d_longer = gradients(params, with_garbage(x_btf, lengths, extra=3))
    near((d_params_of, d_longer[:, :5]), (d_params, d_x_btf))
    assert not np.any(d_longer[0, 5:])
    assert not np.any(d_longer[1, 3:])


def test_the_stride_is_two_a_layer():
    assert [ConvFront((1,) * layers).stride for layers in (0, 1, 3)] == [1, 2, 8]
