"""The readout of language models: a layer to logits with its own weights or with those of the embeddings."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxasr.nn.layers import with_bias
from jaxasr.ops.products import wide_einsum


class Readout(nn.Module):
    """A linear layer to float32 logits. If embeddings are passed, they are its weights, and it has only a bias.

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
        return with_bias(wide_einsum("...d,dv->...v", x, kernel_dv.astype(x.dtype)), bias_v)
