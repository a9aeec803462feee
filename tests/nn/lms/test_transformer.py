"""The Transformer language model: the capacity of its cache, and invalid sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import TransformerLm
from tests.nn.lms.test_interface import TRANSFORMER, variables_of


def test_the_room_is_what_is_asked_for_and_no_token_goes_beyond():
    step = jax.jit(functools.partial(TRANSFORMER.apply, method="step"))
    wide = TRANSFORMER.apply(variables_of(TRANSFORMER), 2, method="start")
    assert wide.capacity == 256
    tight = wide.with_capacity(2)
    for token in (0, 3):
        tokens_b = jnp.full(2, token)
        expected, wide = step(variables_of(TRANSFORMER), wide, tokens_b)
        found, tight = step(variables_of(TRANSFORMER), tight, tokens_b)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    full, _ = step(variables_of(TRANSFORMER), tight, tokens_b)
    assert np.all(np.isnan(full))
    again, _ = step(variables_of(TRANSFORMER), tight.with_capacity(3), tokens_b)
    np.testing.assert_allclose(again, step(variables_of(TRANSFORMER), wide, tokens_b)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "TransformerLm has depth 0, heads 2, expansion 4, max_tokens 256 and vocab 6"),
        ({"vocab": 1}, "and vocab 1; all must be positive, with a token beside the end"),
        ({"width": 7}, "width 7 and heads 2; the width must be even"),
        ({"stochastic_depth": 1.0}, "TransformerLm.stochastic_depth is 1.0"),
        ({"max_tokens": 0}, "max_tokens 0"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TransformerLm(**({"depth": 1, "width": 8, "heads": 2, "vocab": 6} | wrong))
