"""The inputs of the batch plan: lengths and keys of the examples, without audio and text."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64, UInt32

from jaxasr.data.batching.hashing import mix


@dataclass(frozen=True)
class Lengths:
    """A table of lengths with one row for each example and one column for each speed. Batches depend on it alone."""

    samples: Int64[np.ndarray, "examples speeds"]  # at the rate of the pipeline, after the change of speed
    tokens: Int64[np.ndarray, " examples"]  # without the end
    keys: UInt32[np.ndarray, " examples"]  # hashes of corpus and id
    weights: Float64[np.ndarray, " examples"]  # mean copies in an epoch; 0 leaves the example out


@dataclass(frozen=True)
class RaggedTokens:
    """A list of token sequences, stored end to end. It needs a tenth of the memory of a list of lists."""

    flat: Int32[np.ndarray, " tokens"]
    starts: Int64[np.ndarray, " examples_and_one"]

    @classmethod
    def from_sequences(cls, sequences: Iterable[Sequence[int]]) -> "RaggedTokens":
        """Packs the sequences, one at a time."""
        flat = array("i")
        starts = array("q", [0])
        for sequence in sequences:
            flat.extend(sequence)
            starts.append(len(flat))
        return cls(np.array(flat, np.int32), np.array(starts, np.int64))

    def __getitem__(self, i: int) -> Int32[np.ndarray, " u"]:
        return self.flat[self.starts[i] : self.starts[i + 1]]

    @property
    def lengths(self) -> Int64[np.ndarray, " examples"]:
        """The number of tokens of each sequence."""
        return np.diff(self.starts)


@cache
def speed_ratio(factor: float) -> Fraction:
    """Returns the factor as a fraction of small whole numbers (0.9 is 9/10), so that lengths at that speed are exact.

    Raises:
      ValueError: the factor is not in [0.5, 2] or has more than three decimals.
    """
    ratio = Fraction(factor).limit_denominator(1000)
    if not 0.5 <= factor <= 2.0 or abs(float(ratio) - factor) > 1e-9 or 1000 % ratio.denominator:
        raise ValueError(f"speed factor {factor}: between 0.5 and 2 with at most three decimals, for instance 0.9")
    return ratio


def samples_at_speed(
    samples: Int[np.ndarray, " b"], rates_hz: Int[np.ndarray, " b"], *, factor: float, rate_hz: int
) -> Int64[np.ndarray, " b"]:
    """Returns the samples at `rate_hz` of utterances played `factor` times as fast, rounded to the nearest, halves up.

    The result equals the output length of soxr with the input rate `rates_hz * factor`: 16 000 samples at 16 kHz and
    factor 0.9 are 17 778.
    """
    ratio = speed_ratio(factor)
    source = rates_hz.astype(np.int64) * ratio.numerator
    return (2 * samples.astype(np.int64) * rate_hz * ratio.denominator + source) // (2 * source)


def keys_at_speed(keys: UInt32[np.ndarray, " b"], factor: float) -> UInt32[np.ndarray, " b"]:
    """Returns the keys of the examples at a speed. At factor 1 they are unchanged, at every other factor they differ."""
    if factor == 1:
        return keys
    return (mix(keys, int(speed_ratio(factor) * 1000)) >> np.uint64(32)).astype(np.uint32)
