import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.nn.layer_rng import layer_rngs, residual, rng_id
from tests.nn.tiny import training_of

IDS = jnp.arange(2_000, dtype=jnp.uint32)
ONES_BSD = jnp.ones((2_000, 2, 1))
SKIP = rng_id(0, "skip")


def of_layers(depth: int, skip: float):
    """Returns the random numbers of each layer."""
    stacked = layer_rngs(training_of(IDS), jax.random.key(0), depth=depth, skip=skip)
    return [jax.tree.map(lambda leaf, layer=layer: leaf[layer], stacked) for layer in range(depth)]


def test_later_layers_are_skipped_more_often_and_what_stays_makes_up_for_it():
    for rng, skip in zip(of_layers(3, 0.6), (0.2, 0.4, 0.6), strict=True):
        branch_bsd = np.asarray(rng.drop_branch(ONES_BSD, SKIP))
        np.testing.assert_array_equal(branch_bsd[:, 0], branch_bsd[:, 1])  # as a whole
        np.testing.assert_allclose(np.unique(branch_bsd), [0, 1 / (1 - skip)], rtol=1e-6)
        assert abs(np.mean(branch_bsd == 0) - skip) < 0.05


def test_examples_layers_and_branches_draw_for_themselves():
    first, second = of_layers(2, 0.5)
    skips = [(first, rng_id(0, "skip")), (first, rng_id(1, "skip")), (second, rng_id(0, "skip"))]
    drawn = [rng.drop_branch(ONES_BSD, stream) > 0 for rng, stream in skips]
    drops = [(first, rng_id(0, "dropout")), (first, rng_id(1, "dropout")), (second, rng_id(0, "dropout"))]
    drawn += [rng.dropout(ONES_BSD, 0.5, stream) > 0 for rng, stream in drops]
    agree = [np.mean(one == other) for number, one in enumerate(drawn) for other in drawn[:number]]
    assert max(agree) < 0.8  # by chance 0.5, up to 0.75 between layers of different shares


def test_a_branch_belongs_to_the_example():
    (rng,) = of_layers(1, 0.5)
    turned = layer_rngs(training_of(IDS[::-1]), jax.random.key(0), depth=1, skip=0.5)
    turned = jax.tree.map(lambda leaf: leaf[0], turned)
    kept, kept_turned = (
        residual(jnp.zeros_like(ONES_BSD), ONES_BSD, layer, branch=2, dropout=0.3) for layer in (rng, turned)
    )
    np.testing.assert_array_equal(kept, kept_turned[::-1])


def test_in_evaluation_a_branch_is_added_as_it_is():
    np.testing.assert_array_equal(residual(ONES_BSD, ONES_BSD, None, branch=0, dropout=0.9, scale=0.5), 1.5 * ONES_BSD)
    (rng,) = of_layers(1, 0.0)
    assert rng.skip is None
    assert rng.drop_branch(ONES_BSD, SKIP) is ONES_BSD


def test_random_streams_keep_their_numbers():
    """Draws of published runs depend on these numbers."""
    purposes = ("dropout", "skip", "inner dropout")
    assert [rng_id(branch, purpose) for branch in range(4) for purpose in purposes] == list(range(12))
