"""An epoch that is dealt: its batches in their order, each a row that names shape, examples and speeds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.shape import Shape


@dataclass(frozen=True)
class Padding:
    """Audio in batches, in samples, and the room that it has there; tokens and ends where there is no audio."""

    real: int
    padded: int

    @property
    def share(self) -> float:
        """The part of the room that is padding."""
        return 1 - self.real / self.padded if self.padded else 0.0


@dataclass(frozen=True)
class PlanRow:
    """What one step reads, on all hosts together. Rows of padding come last."""

    step: int
    epoch: int
    shape: Shape
    examples_b: Int64[np.ndarray, " b"]  # places in the lengths; -1 is a row of padding
    speeds_b: Int64[np.ndarray, " b"]  # columns of the lengths
    sample_lengths_b: Int64[np.ndarray, " b"]
    token_lengths_b: Int64[np.ndarray, " b"]

    @property
    def valid_b(self) -> Bool[np.ndarray, " b"]:
        """True where there is an example."""
        return self.examples_b >= 0

    @property
    def padding(self) -> Padding:
        """What is useful in this batch, and its room."""
        useful = self.sample_lengths_b if self.shape.samples else self.token_lengths_b + self.valid_b
        return Padding(int(useful.sum()), self.shape.padded_length * self.shape.examples)


@dataclass(frozen=True)
class Epoch:
    """The batches of one epoch, cut and in their order."""

    number: int
    lengths: Lengths
    shapes: tuple[Shape, ...]
    examples: Int64[np.ndarray, " dealt"]
    speeds: Int64[np.ndarray, " dealt"]
    starts: Int64[np.ndarray, " batches"]  # batch i holds what is dealt at starts[i] : stops[i]
    stops: Int64[np.ndarray, " batches"]
    bucket_ids: Int64[np.ndarray, " batches"]  # of the batches' shapes

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, batch: int, *, step: int | None = None) -> PlanRow:
        """The batch of that number within the epoch; `step` if it has another number outside."""
        shape = self.shapes[self.bucket_ids[batch]]
        dealt = slice(self.starts[batch], self.stops[batch])
        examples, speeds = self.examples[dealt], self.speeds[dealt]
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
        """Of all batches, rows of padding included."""
        room = np.array([shape.padded_length * shape.examples for shape in self.shapes], np.int64)
        audio = self.shapes[-1].samples > 0
        useful = self.lengths.samples[self.examples, self.speeds] if audio else self.lengths.tokens[self.examples] + 1
        return Padding(int(useful.sum()), int(room[self.bucket_ids].sum()))
