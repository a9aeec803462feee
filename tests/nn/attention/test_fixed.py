"""The fixed vector: its value, and a speller whose state begins with it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import FixedVector
from tests.nn.tiny import speller

HIDDEN = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6) / 64
LENGTHS = jnp.array([4, 2])


@pytest.mark.parametrize("reads", ["always", "never"])
def test_the_summary_is_the_end_of_each_direction(reads):
    module = FixedVector(reads)
    memory = module.prepare(jnp.asarray(HIDDEN), LENGTHS, None)
    expected_be = np.stack([np.r_[HIDDEN[0, 3, :3], HIDDEN[0, 0, 3:]], np.r_[HIDDEN[1, 1, :3], HIDDEN[1, 0, 3:]]])
    np.testing.assert_array_equal(module.decoder_init(memory), expected_be)
    read = module(jnp.zeros((2, 3)), memory, ())
    np.testing.assert_array_equal(read.context_be, expected_be * (reads == "always"))


def test_of_one_direction_it_is_the_last_state():
    module = FixedVector(directions=1)
    memory = module.prepare(jnp.asarray(HIDDEN), jnp.array([4, 0]), None)
    np.testing.assert_array_equal(module.decoder_init(memory), [HIDDEN[0, 3], np.zeros(6)])


def test_a_width_without_halves_is_refused():
    with pytest.raises(ValueError, match="width 5, which has no half"):
        FixedVector().prepare(jnp.zeros((1, 2, 5)), jnp.array([2]), None)


def test_a_speller_begins_with_it_in_training_and_in_search():
    """No later step reads the encoder, so the logits depend on the utterance by the initial state only."""
    module = speller(depth=2, attention=FixedVector("never"))
    tokens_bu = jnp.array([[1, 2], [1, 2]])

    def run(module, hidden_bsd):
        teacher = module(hidden_bsd, LENGTHS, tokens_bu, training=None)
        memory, state = module.start(hidden_bsd, LENGTHS)
        first, _, _ = module.step(memory, state, jnp.zeros(2, jnp.int32))
        return teacher.logits_bkv[:, 0], first

    variables = jax.jit(functools.partial(module.init, method=run))(jax.random.key(0), jnp.asarray(HIDDEN))
    apply = jax.jit(functools.partial(module.apply, method=run))
    forced, stepped = apply(variables, jnp.asarray(HIDDEN))
    middle, _ = apply(variables, jnp.asarray(HIDDEN).at[0, 1:3].add(1.0))
    ends, _ = apply(variables, jnp.asarray(HIDDEN).at[0, 0, 3:].add(1.0))
    assert {"first_cells_0", "first_cells_1"} <= set(variables["params"])
    np.testing.assert_allclose(forced, stepped, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(middle, forced)
    assert np.any(np.abs(ends - forced)[0] > 1e-4)
    np.testing.assert_array_equal(ends[1], forced[1])
