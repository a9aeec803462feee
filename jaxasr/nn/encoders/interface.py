"""What every encoder is: frames in, hidden states at a coarser rate out, with the lengths that go with them."""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxasr.records import Training


class Encoder(nn.Module):
    """The interface. An encoder overrides `stride` and `__call__`, and keeps the law of padding."""

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output: t frames become ceil(t / stride) positions."""
        raise TypeError(f"{type(self).__name__} is an Encoder without stride")

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Hidden states, zero at padding, and their lengths. What is random is on where `training` says whose it is."""
        raise TypeError(f"{type(self).__name__} is an Encoder without __call__()")
