"""Trees as flat dictionaries of named arrays, the form of checkpoints, so that mismatches are reported leaf by leaf.

A path holds the fields and keys from the root, "params/listener/kernel". PRNG keys are stored as integers, and arrays of size
zero by their shape alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")
Leaf = Any  # jax.Array, np.ndarray, a number or jax.ShapeDtypeStruct
Shapes = Mapping[str, list[Any]]  # path -> [shape, dtype]; JSON can hold it

SHOWN = 12  # differing leaves that an error lists


def flatten(tree: Any) -> dict[str, Leaf]:
    """Returns the leaves by path, in the order of the tree."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): _plain(leaf) for path, leaf in paths}


def unflatten(like: Tree, flat: Mapping[str, Leaf]) -> Tree:
    """Returns the tree of `like` with the leaves of `flat`; leaves of size zero are created."""

    def leaf(path: Any, old: Leaf) -> Leaf:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        new = flat[name] if name in flat else _empty(abstract_like(_plain(old)))
        return jax.random.wrap_key_data(new, impl=_impl(old)) if _is_key(old) else new

    return jax.tree_util.tree_map_with_path(leaf, like)


def to_host(flat: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Returns host copies that no later step can overwrite, also if it donates the arrays.

    On a CPU the host's view of a device array is its buffer, so it is copied. An array spread over the devices of several
    processes is returned as it is: Orbax copies its shards before a save returns.
    """
    local = {path: leaf for path, leaf in flat.items() if not is_spread(leaf)}
    host = jax.device_get(local)
    return {path: np.array(host[path]) if path in host else leaf for path, leaf in flat.items()}


def describe(flat: Mapping[str, Leaf]) -> dict[str, list[Any]]:
    """Returns shape and dtype by path."""
    return {path: [list(np.shape(leaf)), str(_dtype(leaf))] for path, leaf in flat.items()}


def differences(there: Shapes, here: Shapes, *, whole: bool) -> list[str]:
    """Returns a line for each leaf of `here` that `there` cannot fill and, if `whole`, for each that only `there` has."""
    lines = []
    for path in sorted({**there, **here} if whole else here):
        saved, asked = (_shape(shapes.get(path)) for shapes in (there, here))
        if saved != asked:
            lines.append(f"{path}: {saved} -> {asked}")
    return _first(lines)


def listed(paths: Sequence[str]) -> str:
    """Returns the names of leaves for an error, as many as it lists."""
    return ", ".join(_first(paths))


def abstract_like(leaf: Leaf) -> Leaf:
    """Returns the target of a restore: an abstract array on the devices of `leaf`, or a NumPy array without a sharding."""
    sharding = getattr(leaf, "sharding", None)
    if sharding is not None:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    return np.broadcast_to(np.zeros((), _dtype(leaf)), np.shape(leaf))


def nonempty(flat: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Returns the leaves with at least one element; Orbax cannot store the others."""
    return {path: leaf for path, leaf in flat.items() if math.prod(np.shape(leaf))}


def size_bytes(flat: Mapping[str, Leaf]) -> int:
    """Returns the bytes of all leaves together."""
    return sum(math.prod(np.shape(leaf)) * _dtype(leaf).itemsize for leaf in flat.values())


def is_spread(leaf: Leaf) -> bool:
    """Returns True for an array of which this process holds a part only."""
    return isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated)


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines] if more <= 0 else [*lines[:SHOWN], f"and {more} more"]


def _empty(leaf: Leaf) -> Leaf:
    zeros = np.zeros(leaf.shape, leaf.dtype)
    return jax.device_put(zeros, leaf.sharding) if isinstance(leaf, jax.ShapeDtypeStruct) else zeros


def _plain(leaf: Leaf) -> Leaf:
    if not _is_key(leaf):
        return leaf
    return jax.random.key_data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(jax.random.key_data, leaf)


def _impl(key: Leaf) -> Any:
    """Returns the generator of a key, also of an abstract one, by tracing `key_impl`, which needs an array."""
    impls = []
    jax.eval_shape(lambda traced: impls.append(jax.random.key_impl(traced)), key)
    return impls[0]


def _is_key(leaf: Leaf) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _dtype(leaf: Leaf) -> np.dtype:
    return np.dtype(leaf.dtype) if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _shape(entry: list[Any] | None) -> str:
    return "nothing" if entry is None else f"{entry[1]}{entry[0]}"
