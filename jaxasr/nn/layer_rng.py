"""Random streams of the layers of a stack, for Transformer and Conformer layers.

A layer draws from a key that its stack passes to it, not from its own Flax path. So layers in a scan, unrolled layers and
rematerialised layers draw the same numbers.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from jaxasr.ops import random
from jaxasr.ops.products import times
from jaxasr.records import Training, pytree
from jaxasr.shapes import PRNGKey

Purpose = Literal["dropout", "skip", "inner dropout"]  # of random numbers in a branch of a layer


@pytree
@dataclass(frozen=True)
class LayerRng:
    """The random numbers of one layer in training, by example."""

    ids_b: UInt32[Array, " b"]
    key: PRNGKey  # of this layer
    skip: Float[Array, ""] | None  # probability that a branch of the layer is left out

    def dropout(self, x: Float[Array, "b *rest"], rate: float, stream: int) -> Float[Array, "b *rest"]:
        """Returns `x` under dropout with the random stream `rng_id` of this number."""
        return random.dropout(x, rate=rate, ids_b=self.ids_b, key=jax.random.fold_in(self.key, stream))

    def drop_branch(self, branch_bsd: Float[Array, "b s d"], stream: int) -> Float[Array, "b s d"]:
        """Returns the branch of each example, scaled to keep its expectation, or zero with probability `skip`.

        Source: stochastic depth, Huang et al. 2016, arXiv:1603.09382.
        """
        if self.skip is None:
            return branch_bsd
        keys_b = random.example_keys(jax.random.fold_in(self.key, stream), self.ids_b)
        kept_b = jax.vmap(jax.random.uniform)(keys_b) >= self.skip
        scale_b = jnp.where(kept_b, 1 / (1 - self.skip), 0.0)
        return times(branch_bsd, scale_b[:, None, None])


def rng_id(branch: int, purpose: Purpose) -> int:
    """Returns the number of a random stream within a layer: each purpose in each branch has its own stream."""
    purposes = get_args(Purpose)
    return len(purposes) * branch + purposes.index(purpose)


def layer_rngs(training: Training, key: PRNGKey, *, depth: int, skip: float) -> LayerRng:
    """Returns the random numbers of all layers of a stack, along a leading axis.

    Args:
        skip: probability that a branch of the last layer is left out; it grows linearly from the first layer on.
    """
    ids_b = jnp.asarray(training.ids_b)

    def layer(number: Array) -> LayerRng:
        return LayerRng(ids_b, jax.random.fold_in(key, number), skip * (number + 1) / depth if skip else None)

    return jax.vmap(layer)(jnp.arange(depth))


def residual(
    x_bsd: Float[Array, "b s d"],
    branch_bsd: Float[Array, "b s d"],
    rng: LayerRng | None,
    *,
    branch: int,
    dropout: float,
    scale: float = 1.0,
) -> Float[Array, "b s d"]:
    """Returns x + scale * branch, with dropout and stochastic depth on the branch.

    Args:
        rng: None in evaluation.
        branch: number of the branch in its layer, which selects its random streams.
    """
    if rng is not None:
        branch_bsd = rng.dropout(branch_bsd, dropout, rng_id(branch, "dropout"))
        branch_bsd = rng.drop_branch(branch_bsd, rng_id(branch, "skip"))
    return x_bsd + scale * branch_bsd
