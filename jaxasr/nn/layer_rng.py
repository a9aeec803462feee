"""What the layers of a stack draw from in training.

Randomness of a layer does not come from its own path but from a key that its stack hands to it, so that layers in a
scan, layers one by one and layers that are computed twice draw the same.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from jaxasr.ops import random
from jaxasr.ops.products import times
from jaxasr.records import Training, pytree
from jaxasr.shapes import PRNGKey


@pytree
@dataclass(frozen=True)
class Chance:
    """What a layer draws from in training."""

    ids_b: UInt32[Array, " b"]
    key: PRNGKey  # of this layer
    skip: Float[Array, ""] | None  # probability that a branch of the layer is left out

    def dropout(self, x: Float[Array, "b *rest"], rate: float, use: int) -> Float[Array, "b *rest"]:
        """Dropout; each use in a layer has its own number."""
        return random.dropout(x, rate=rate, ids_b=self.ids_b, key=jax.random.fold_in(self.key, use))

    def skipped(self, branch_bsd: Float[Array, "b s d"], use: int) -> Float[Array, "b s d"]:
        """The branch of each example, or zero, so that its expectation stays.

        Source: stochastic depth, Huang et al. 2016, arXiv:1603.09382.
        """
        if self.skip is None:
            return branch_bsd
        keys_b = random.example_keys(jax.random.fold_in(self.key, use), self.ids_b)
        kept_b = jax.vmap(jax.random.uniform)(keys_b) >= self.skip
        scale_b = jnp.where(kept_b, 1 / (1 - self.skip), 0.0)
        return times(branch_bsd, scale_b[:, None, None])


def chances(training: Training, key: PRNGKey, *, depth: int, skip: float) -> Chance:
    """What the layers of a stack draw from, along a leading axis; `skip` grows linearly to that of the last layer."""
    ids_b = jnp.asarray(training.ids_b)

    def layer(number: Array) -> Chance:
        return Chance(ids_b, jax.random.fold_in(key, number), skip * (number + 1) / depth if skip else None)

    return jax.vmap(layer)(jnp.arange(depth))


def residual(
    x_bsd: Float[Array, "b s d"],
    branch_bsd: Float[Array, "b s d"],
    chance: Chance | None,
    *,
    use: int,
    dropout: float,
    scale: float = 1.0,
) -> Float[Array, "b s d"]:
    """x + scale * branch, the branch under dropout and stochastic depth: how every branch of a layer ends.

    Args:
        use: number of the branch in its layer; it draws for itself.
    """
    if chance is not None:
        branch_bsd = chance.skipped(chance.dropout(branch_bsd, dropout, 3 * use), 3 * use + 1)
    return x_bsd + scale * branch_bsd
