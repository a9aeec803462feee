"""Sizes of the papers' encoders, which follow from their descriptions to the last parameter.

A layer of one direction has g gates with w (inputs + w + 1) parameters each: 4 for an LSTM, and 3 for a GRU, whose candidate
has w more (the second bias that PyTorch and cuDNN give each gate adds nothing to what can be learned). A 3 x 3 convolution
from c to d channels has 9 c d + d.
"""

import math

import jax
import jax.numpy as jnp
import pytest

from jaxasr.nn import ConvSubsampling, Crdnn, LatencyControlledBlstm, Listener, QuartzNet, Tds, VggSubsampling


def parameters_of(encoder, bins):
    variables = jax.eval_shape(
        lambda: encoder.init(jax.random.key(0), jnp.zeros((1, 16, bins)), jnp.array([16]), training=None)
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


def blstm(inputs, width):
    return 2 * 4 * width * (inputs + width + 1)


def bigru(inputs, width):
    return 2 * (3 * width * (inputs + width + 1) + width)


def stack(depth, inputs, width):
    return blstm(inputs, width) + (depth - 1) * blstm(2 * width, width)


def conv(inputs, outputs, kernel=9):
    return kernel * inputs * outputs + outputs


def dense(inputs, outputs):
    return (inputs + 1) * outputs


TWO_OF_32 = conv(1, 32) + conv(32, 32)  # 9 568; of 80 bins 20 are left, of 32 channels: 640


def test_specaugments_las_4_1024():
    """Park et al. 2019, section 4.1, and lingvo's LibriSpeech recipe: two convolutions, four BLSTMs of 1024.

    The paper's features have deltas and lingvo's convolutions batch normalisation instead of a bias; here are neither.
    """
    found = parameters_of(Listener(1024, (1,) * 4, subsampling=ConvSubsampling((32, 32))), 80)
    assert found == TWO_OF_32 + stack(4, 640, 1024) == 89_171_296


def test_specaugments_las_6_1280():
    """A model with a two-layer decoder of this width has the 360 M of the LSTM row in Gulati et al. 2020, table 2."""
    found = parameters_of(Listener(1280, (1,) * 6, subsampling=ConvSubsampling((32, 32))), 80)
    assert found == TWO_OF_32 + stack(6, 640, 1280) == 216_339_808


def test_espnets_vgg_blstm():
    """LibriSpeech: 80 filters and 3 of pitch, 83 bins; of those ceil(ceil(83 / 2) / 2) = 21 are left, of 128 channels."""
    subsampling = conv(1, 64) + conv(64, 64) + conv(64, 128) + conv(128, 128)
    encoder = Listener(1024, (1,) * 5, subsampling=VggSubsampling(), projection=1024, projected="last")
    assert encoder.stride == 4
    assert parameters_of(encoder, 83) == subsampling + stack(5, 21 * 128, 1024) + dense(2048, 1024) == 133_470_144


def test_zeyers_six_blstms():
    """Zeyer et al. 2018, section 3: 40 features, six BLSTMs of 1024, maxima over 2, 2 and 2: a reduction by 8."""
    encoder = Listener(1024, (1, 2, 2, 2, 1, 1), pooling="max", dropout=0.3)
    assert encoder.stride == 8
    assert parameters_of(encoder, 40) == stack(6, 40, 1024) == 134_594_560


def test_listen_attend_and_spell():
    """Chan et al. 2015, section 4: a BLSTM under three pyramidal ones, 256 a direction, each reading two states of 512."""
    encoder = Listener(256, (1, 2, 2, 2))
    assert encoder.stride == 8
    assert parameters_of(encoder, 40) == blstm(40, 256) + 3 * blstm(2 * 512, 256) == 8_478_720


def test_chorowskis_three_gru_layers():
    """Chorowski et al. 2015, section 4: three BiGRUs of 256 over 40 filters and energy with two deltas, 123 in all.

    The candidates' recurrent biases, 256 a direction and layer, are of the later form of the cell (see ops/recurrent/gru.py).
    """
    found = parameters_of(Listener(256, (1, 1, 1), cell="gru"), 123)
    assert found == bigru(123, 256) + 2 * bigru(512, 256) == 2_947_584


def test_a_latency_controlled_listener_is_as_large_as_any():
    encoder = LatencyControlledBlstm(1024, (1,) * 4, chunk=40, lookahead=40, subsampling=ConvSubsampling((32, 32)))
    assert parameters_of(encoder, 80) == TWO_OF_32 + stack(4, 640, 1024)


def test_speechbrains_crdnn():
    """The LibriSpeech recipe: of 40 bins 10 are left, of 256 channels; each norm has a gain and a bias."""
    convolutions = conv(1, 128) + conv(128, 128) + conv(128, 256) + conv(256, 256)
    norms = 2 * (2 * 40 * 128 + 2 * 20 * 256)
    subsampling = VggSubsampling((128, 256), time_pools=(1, 4), bin_pools=(2, 2), norm="layer", leak=0.01)
    encoder = Crdnn(Listener(1024, (1,) * 4, subsampling=subsampling), dense=(512, 512))
    assert encoder.stride == 4
    head = dense(2048, 512) + dense(512, 512) + 2 * 2 * 512
    assert parameters_of(encoder, 40) == convolutions + norms + stack(4, 10 * 256, 1024) + head == 107_279_232


def test_the_papers_tds():
    """Hannun et al. 2019 by the layers of its published recipe; here the norms have a gain and a bias for each number."""
    total = 0
    before = 1
    for channels, depth in ((10, 2), (14, 3), (18, 6)):
        width = 80 * channels
        block = conv(channels, channels, 21) + 2 * dense(width, width) + 2 * 2 * width
        total += conv(before, channels, 21) + 2 * width + depth * block
        before = channels
    assert parameters_of(Tds(), 80) == total + dense(1440, 1024) == 36_599_530


@pytest.mark.parametrize(("repeats", "published"), [(1, 6.7e6), (2, 12.8e6), (3, 18.9e6)])
def test_quartznets_are_as_large_as_published(repeats, published):
    """Kriman et al. 2020, table 2: 5x5, 10x5 and 15x5; theirs count the readout over 28 letters and the blank too."""
    found = parameters_of(QuartzNet(repeats=repeats), 64) + dense(1024, 29)
    assert abs(found / published - 1) < 0.01
