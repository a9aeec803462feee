"""Randomness keyed by example: what an utterance draws depends on the key and on its id alone.

Neither its row, nor the batch around it, nor the padding behind it, nor the number of devices changes a draw. Two facts
carry this. Keys are made by folding in the id. And JAX's partitionable threefry numbers its outputs by their flat
index, so the draws of a [t, ...] array are the beginning of those of a longer one: axis 0 of a draw (axis 1 of a batch)
is the one that padding may lengthen, and the only one.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt8

from jaxasr.ops.products import times
from jaxasr.shapes import Ids, PRNGKey


def example_keys(key: PRNGKey, ids_b: Ids) -> Key[Array, " b"]:
    """Returns a key for each example.

    Args:
        key: For this step and this use; two uses in one step (two layers) need two keys.
        ids_b: Hash of the example, `Batch.ids_b`.

    Raises:
        ValueError: another generator than partitionable threefry, whose draws would depend on the padding.
    """
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    if str(jax.random.key_impl(key)) != "threefry2x32" or not jax.config.jax_threefry_partitionable:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"randomness by example came with a key of {jax.random.key_impl(key)}; it needs threefry2x32 with "
            "jax_threefry_partitionable=True (JAX's defaults), or augmentation would depend on the padding"
        )
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ids_b)


def example_bytes(keys_b: Key[Array, " b"], shape: tuple[int, ...]) -> UInt8[Array, "b *shape"]:
    """Draws random bytes of `shape` for each example, four from each word of threefry."""
    size = math.prod(shape)

    def draw(key: PRNGKey) -> jax.Array:
        words = jax.random.bits(key, (-(-size // 4),), jnp.uint32)
        return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:size].reshape(shape)

    return jax.vmap(draw)(keys_b)


def gumbel(uniform: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns Gumbel noise from numbers in [0, 1): the arg max of log p + noise is a draw from p, also with padding."""
    return -jnp.log(-jnp.log(jnp.maximum(uniform, jnp.finfo(jnp.float32).tiny)))


def dropout(
    x: Float[Array, "b *rest"], *, rate: float, ids_b: Ids, key: PRNGKey, shared_axes: tuple[int, ...] = ()
) -> Float[Array, "b *rest"]:
    """Returns `x` with a fraction of about `rate` set to zero and the rest scaled up, so that its expectation is unchanged.

    The share is rounded to a 256th (a byte a decision) and the scale is that of the rounded share: 0.1 drops 26/256.
    A decision depends on (key, id, position); axis 1 may be padded to any length without changing one. Under padding
    of two axes, as in attention [b q k], the draws of the same query change with the padding of `k`.

    Args:
        rate: In [0, 1).
        ids_b: Hash of the example, `Batch.ids_b`.
        shared_axes: Axes of `x` along which one decision holds: (1,) is one mask for the whole sequence.
        key: For this step and this layer.

    Raises:
        ValueError: a rate outside [0, 1), or one that rounds to 1.

    Source: Srivastava et al. 2014, JMLR 15; shared over time, Gal and Ghahramani 2016, arXiv:1512.05287.
    """
    if not 0.0 <= rate < 1.0 or round(rate * 256) == 256:
        raise ValueError(f"dropout rate {rate:g}; it must be at least 0 and less than 511/512")
    dropped = round(rate * 256)
    if dropped == 0:
        return x
    return jnp.where(_kept(x.shape, dropped, ids_b, key, shared_axes), times(x, 256 / (256 - dropped)), 0)


def _kept(
    shape: tuple[int, ...], dropped: int, ids_b: Ids, key: PRNGKey, shared_axes: tuple[int, ...]
) -> Bool[Array, "..."]:
    shared = {axis % len(shape) for axis in shared_axes}
    drawn = tuple(1 if axis in shared else size for axis, size in enumerate(shape))[1:]
    bytes_ = example_bytes(example_keys(key, ids_b), drawn)
    return jnp.broadcast_to(bytes_ >= dropped, shape)
