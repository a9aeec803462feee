"""From the last layer to logits, with weights of its own or with those of the embeddings."""

import flax.linen as nn
from jaxtyping import Array, Float


class Readout(nn.Module):
    """A linear layer. Where it is given embeddings, they are its weights, and only the bias is its own.

    Source: Press and Wolf 2017, 1608.05859, section 3.
    """

    vocab: int

    @nn.compact
    def __call__(self, x: Float[Array, "... d"], embedding_vd: Float[Array, "v d"] | None) -> Float[Array, "... v"]:
        if embedding_vd is None:
            kernel_dv = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.vocab))
        else:
            kernel_dv = embedding_vd.T
        bias_v = self.param("bias", nn.initializers.zeros, (self.vocab,))
        logits = x @ kernel_dv.astype(x.dtype)
        return logits + bias_v.astype(x.dtype).reshape(*[1] * (x.ndim - 1), self.vocab)
