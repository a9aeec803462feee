"""Random numbers as pure hashes: equal on every host and in every version of NumPy, and independent of other draws."""

import numpy as np
from jaxtyping import Float64, UInt, UInt64

_MASK = (1 << 64) - 1


def mix(keys: UInt[np.ndarray, " b"], *words: int) -> UInt64[np.ndarray, " b"]:
    """Returns 64 well-mixed bits for each key and the words. Another order of the words gives other bits.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", the finaliser of SplitMix64.
    """
    seed = 0
    for word in words:
        seed = int(_finish(np.array([(seed ^ int(word)) & _MASK], np.uint64))[0])
    return _finish(keys.astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + np.uint64(seed))


def uniform(hashes: UInt64[np.ndarray, " b"]) -> Float64[np.ndarray, " b"]:
    """Returns numbers in [0, 1) with 24 bits, so that adding a whole number to them is exact."""
    return (hashes >> np.uint64(40)).astype(np.float64) / (1 << 24)


def integers_below(hashes: UInt64[np.ndarray, " b"], bound) -> UInt64[np.ndarray, " b"]:
    """Returns whole numbers below `bound`, uniformly. `bound` is one number or one for each hash, at most 2**32."""
    return ((hashes >> np.uint64(32)) * np.asarray(bound, np.uint64)) >> np.uint64(32)


def _finish(bits: UInt64[np.ndarray, " b"]) -> UInt64[np.ndarray, " b"]:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
