import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import jaxasr.nn
from jaxasr.nn.layers import Dropout, stack_frames
from tests.nn import tiny
from tests.nn.tiny import streams, training_of

IDS = jnp.array([5, 9], jnp.uint32)


def test_neighbours_stand_side_by_side_and_the_last_ones_are_filled_up():
    x_btd = jnp.arange(10.0).reshape(1, 5, 2)
    np.testing.assert_array_equal(stack_frames(x_btd, 2), [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]])
    np.testing.assert_array_equal(stack_frames(x_btd, 1), x_btd)
    assert stack_frames(x_btd[:, :0], 3).shape == (1, 0, 6)


def test_dropout_is_off_without_ids_and_at_rate_zero():
    x_btd = jnp.ones((2, 3, 4))
    assert Dropout(0.5).apply({}, x_btd, None) is x_btd
    assert Dropout(0.0).apply({}, x_btd, training_of(IDS)) is x_btd


def test_dropout_belongs_to_the_example_and_the_layer():
    x_btd = jnp.ones((2, 50, 4))
    module = Dropout(0.5)
    dropped = module.apply({}, x_btd, training_of(IDS), rngs=streams())
    turned = module.apply({}, jnp.pad(x_btd, ((0, 0), (0, 9), (0, 0))), training_of(IDS[::-1]), rngs=streams())
    np.testing.assert_array_equal(turned[::-1, :50], dropped)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert 0.4 < np.mean(dropped == 0) < 0.6
    assert np.any(dropped != module.apply({}, x_btd, training_of(IDS), rngs=streams(8)))
    assert np.any(dropped[0] != dropped[1])


def test_over_time_one_decision_holds_for_the_whole_sequence():
    dropped = Dropout(0.5, over_time=True).apply({}, jnp.ones((2, 5, 40)), training_of(IDS), rngs=streams())
    np.testing.assert_array_equal(dropped, jnp.broadcast_to(dropped[:, :1], dropped.shape))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    per_step = Dropout(0.5, over_time=True).apply({}, jnp.ones((2, 40)), training_of(IDS), rngs=streams())
    assert set(np.unique(per_step)) == {0.0, 2.0}


def test_two_layers_of_one_model_draw_for_themselves():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Dropout(0.5)(x, training_of(IDS)), Dropout(0.5)(x, training_of(IDS))

    one, two = Two().apply({}, jnp.ones((2, 64)), rngs=streams())
    assert np.any(one != two)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_drops_all_is_refused(rate):
    with pytest.raises(ValueError, match=rf"Dropout.rate is {rate}; it must be at least 0 and below 1"):
        Dropout(rate)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (jaxasr.nn.VggSubsampling(), "dropout"),
        (tiny.listener(), "dropout"),
        (tiny.listener(), "recurrent_dropout"),
        (jaxasr.nn.LatencyControlledBlstm(4, (1,), 4, 2), "dropout"),
        (jaxasr.nn.Tds(), "dropout"),
        (jaxasr.nn.QuartzNet(), "dropout"),
        (jaxasr.nn.Crdnn(tiny.listener(subsampling=jaxasr.nn.VggSubsampling())), "dropout"),
        (jaxasr.nn.Conformer(1, 8, 2), "dropout"),
        (jaxasr.nn.TransformerEncoder(1, 8, 2), "stochastic_depth"),
        (tiny.speller(), "dropout"),
        (jaxasr.nn.TransformerDecoder(1, 8, 2, tiny.ADDITIVE, vocab=6), "dropout"),
        (jaxasr.nn.LstmLm(1, 4, vocab=6), "dropout"),
        (jaxasr.nn.LstmLm(1, 4, vocab=6), "recurrent_dropout"),
        (jaxasr.nn.TransformerLm(1, 4, 2, vocab=6), "dropout"),
        (jaxasr.nn.TransformerLm(1, 4, 2, vocab=6), "stochastic_depth"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_model_with_such_a_rate_is_refused_when_it_is_made(module, name):
    for rate in (-0.5, 1.0):
        with pytest.raises(
            ValueError, match=rf"{type(module).__name__}\.{name} is {rate}; it must be at least 0 and below 1"
        ):
            dataclasses.replace(module, **{name: rate})
