"""Digests of arrays that do not depend on how an array is split over devices and processes.

The digest of an array is the sum over its elements, modulo 2^64, of the bits of the element times a fixed odd 64-bit number
for each of its indices. So a process computes the digests of its own shards, their sum is the digest of the whole array, and
an array that is restored onto another mesh has the digest of the one that was saved. An odd factor has an inverse, so a
change within 32 bits of one element always changes the digest. Other changes are missed with a probability of at most 2^-31.

Source: multilinear hashing, Lemire and Kaser 2014, "Strongly universal string hashing is fast" (arXiv:1202.4961), with
factors that are products, one for each axis.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt64

from jaxasr.training.checkpoints.flat_tree import Leaf, is_spread

Parts = dict[str, int]  # index of a part, "0:4,8:16" -> the sum of its elements

MODULUS = 1 << 64


def digests(flat: Mapping[str, Leaf], exchange: Callable[[str], list[str]]) -> dict[str, str]:
    """Returns the digest of each leaf as 16 hex digits. If a leaf is spread over processes, every process calls it.

    Args:
        flat: the leaves by path.
        exchange: takes the text of this process and returns those of all processes.

    Raises:
        ValueError: two processes hold different values for the same part of a leaf; the message names the leaves.
    """
    with ThreadPoolExecutor() as threads:  # NumPy lets other threads run while it multiplies
        parts = dict(zip(flat, threads.map(parts_of, flat.values()), strict=True))
    spread = {path: parts[path] for path, leaf in flat.items() if is_spread(leaf)}
    if spread:
        differing = _merge(parts, [json.loads(text) for text in exchange(json.dumps(spread))])
        if differing:
            raise ValueError(f"processes hold different values of {', '.join(differing)}")
    return {path: f"{sum(own.values()) % MODULUS:016x}" for path, own in parts.items()}


def parts_of(leaf: Leaf) -> Parts:
    """Returns the digests of the parts of a leaf that this process holds, each part once."""
    if not isinstance(leaf, jax.Array):
        whole = np.asarray(leaf)
        return {_name(tuple(slice(0, size) for size in whole.shape)): _sum(whole, (0,) * whole.ndim)}
    parts: Parts = {}
    for shard in leaf.addressable_shards:
        spans = tuple(slice(*index.indices(size)[:2]) for index, size in zip(shard.index, leaf.shape, strict=True))
        if _name(spans) not in parts:
            parts[_name(spans)] = _sum(np.asarray(shard.data), tuple(span.start for span in spans))
    return parts


def _merge(parts: Mapping[str, Parts], received: list[dict[str, Parts]]) -> list[str]:
    """Adds the parts of other processes to `parts`. Returns the leaves of which two processes have different values."""
    differing = set()
    for path, others in ((path, others) for spread in received for path, others in spread.items()):
        own = parts[path]
        differing |= {path for name, value in others.items() if own.setdefault(name, value) != value}
    return sorted(differing)


def _name(spans: tuple[slice, ...]) -> str:
    return ",".join(f"{span.start}:{span.stop}" for span in spans)


def _sum(array: np.ndarray, starts: tuple[int, ...]) -> int:
    """Returns the digest of a block whose first element has the indices `starts` in the whole array."""
    size = array.dtype.itemsize
    words: Any = array.view(f"u{size}") if size <= 4 else array[..., None].view("u4")
    for axis in reversed(range(words.ndim)):
        start = starts[axis] if axis < array.ndim else 0  # the words of a wide element have an axis of their own
        words = np.einsum("...i,i->...", words, _factors(axis, start, words.shape[axis]))
    return int(words)


def _factors(axis: int, start: int, count: int) -> UInt64[np.ndarray, " i"]:
    """Returns the odd factors of `count` indices of an axis: SplitMix64 of the index (Steele, Lea and Flood 2014)."""
    z = np.arange(start, start + count, dtype=np.uint64) + np.uint64((axis + 1) << 40)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31)) | np.uint64(1)
