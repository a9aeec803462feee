"""A static shape of batches, which utterances it holds, and what a list of shapes costs in padding."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64


@dataclass(frozen=True)
class Shape:
    """The static shape of a batch: what one compilation is for."""

    samples: int  # 0: of transcripts alone
    tokens: int  # without the end
    examples: int

    @property
    def padded_length(self) -> int:
        """What padding is counted in: samples, or where there are none positions of tokens, the end included."""
        return self.samples or self.tokens + 1


def assign_buckets(
    shapes: tuple[Shape, ...], samples: Int[np.ndarray, "*any"], tokens: Int[np.ndarray, "*any"]
) -> Int64[np.ndarray, "*any"]:
    """The place of the smallest shape that holds each utterance; -1 if none does."""
    by_samples = np.searchsorted([shape.samples for shape in shapes], samples)
    by_tokens = np.searchsorted([shape.tokens for shape in shapes], tokens)
    place = np.maximum(by_samples, by_tokens)
    return np.where(place < len(shapes), place, -1)


def host_rows(shape: Shape, host: int, hosts: int) -> slice:
    """The rows of a batch that a host reads.

    Raises:
      ValueError: the examples cannot be split evenly.
    """
    each, rest = divmod(shape.examples, hosts)
    if rest:
        raise ValueError(
            f"a batch of {shape.examples} examples cannot be split over {hosts} hosts: "
            f"give the shapes examples_multiple={hosts}, or a multiple of it"
        )
    return slice(host * each, (host + 1) * each)


def describe_shapes(
    shapes: tuple[Shape, ...],
    samples: Int[np.ndarray, " b"],
    tokens: Int[np.ndarray, " b"],
    weights: Float64[np.ndarray, " b"],
    *,
    rate_hz: int,
) -> str:
    """A table, one line a shape: what it holds, the share of the utterances it takes, how much of it is padding."""
    places = assign_buckets(shapes, samples, tokens)
    lengths = samples if shapes[-1].samples else tokens + 1
    held = np.where(places >= 0, weights, 0.0)
    lines = [f"{'seconds':>9} {'tokens':>7} {'examples':>9} {'utterances':>11} {'padding':>8}"]
    for place, shape in enumerate(shapes):
        here = np.where(places == place, weights, 0.0)
        lines.append(
            f"{shape.samples / rate_hz:9.2f} {shape.tokens:7d} {shape.examples:9d} "
            f"{_share(here.sum(), held.sum()):>11} {_share(*_padded(here, lengths, shape.padded_length)):>8}"
        )
    capacities = np.array([shape.padded_length for shape in shapes])[places]
    return "\n".join([*lines, f"{'all':>9} {'':>7} {'':>9} {'':>11} {_share(*_padded(held, lengths, capacities)):>8}"])


def _padded(weights: np.ndarray, lengths: np.ndarray, capacity: np.ndarray | int) -> tuple[float, float]:
    """Padding, and everything."""
    total = (weights * capacity).sum()
    return total - (weights * lengths).sum(), total


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else "-"
