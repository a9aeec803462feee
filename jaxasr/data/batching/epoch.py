"""The batches of one epoch in their order. Each batch is a row that names shape, examples and speeds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.shape import Shape


@dataclass(frozen=True)
class Padding:
    """An amount of real and padded data in batches, in samples.

    In batches without audio the unit is tokens, ends included.
    """

    real: int  # without padding
    padded: int  # with padding

    @property
    def share(self) -> float:
        """The share of the padded data that is padding."""
        return 1 - self.real / self.padded if self.padded else 0.0


@dataclass(frozen=True)
class PlanRow:
    """A batch as the plan describes it: the examples that one step reads on all hosts. Rows of padding come last."""

    step: int
    epoch: int
    shape: Shape
    examples_b: Int64[np.ndarray, " b"]  # indices into the lengths; -1 is a row of padding
    speeds_b: Int64[np.ndarray, " b"]  # column indices into the lengths
    sample_lengths_b: Int64[np.ndarray, " b"]
    token_lengths_b: Int64[np.ndarray, " b"]

    @property
    def valid_b(self) -> Bool[np.ndarray, " b"]:
        """A mask, True for rows with an example."""
        return self.examples_b >= 0

    @property
    def padding(self) -> Padding:
        """The real and the padded amount of data in this batch."""
        real_b = self.sample_lengths_b if self.shape.samples else self.token_lengths_b + self.valid_b
        return Padding(int(real_b.sum()), self.shape.padded_length * self.shape.examples)


@dataclass(frozen=True)
class Epoch:
    """The batches of one epoch, in their order."""

    number: int
    lengths: Lengths
    shapes: tuple[Shape, ...]
    examples: Int64[np.ndarray, " drawn"]
    speeds: Int64[np.ndarray, " drawn"]
    starts: Int64[np.ndarray, " batches"]  # batch i holds the drawn examples starts[i] : stops[i]
    stops: Int64[np.ndarray, " batches"]
    bucket_ids: Int64[np.ndarray, " batches"]  # index of each batch's shape

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, batch: int, *, step: int | None = None) -> PlanRow:
        """Returns a batch by its index in the epoch. `step` is its number in the whole training; None: the same."""
        shape = self.shapes[self.bucket_ids[batch]]
        drawn = slice(self.starts[batch], self.stops[batch])
        examples = self.examples[drawn]
        speeds = self.speeds[drawn]
        rest = (0, shape.examples - len(examples))
        return PlanRow(
            step=batch if step is None else step,
            epoch=self.number,
            shape=shape,
            examples_b=np.pad(examples, rest, constant_values=-1),
            speeds_b=np.pad(speeds, rest),
            sample_lengths_b=np.pad(self.lengths.samples[examples, speeds], rest),
            token_lengths_b=np.pad(self.lengths.tokens[examples], rest),
        )

    @property
    def padding(self) -> Padding:
        """The real and the padded amount of data in all batches, rows of padding included."""
        sizes = np.array([shape.padded_length * shape.examples for shape in self.shapes], np.int64)
        audio = self.shapes[-1].samples > 0
        real = self.lengths.samples[self.examples, self.speeds] if audio else self.lengths.tokens[self.examples] + 1
        return Padding(int(real.sum()), int(sizes[self.bucket_ids].sum()))
