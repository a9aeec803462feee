"""The interface of language models, which run teacher-forced over whole texts, or one token at a time."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.module import Module
from jaxasr.nn.precision import Compute, check_compute, in_precision
from jaxasr.ops.masks import zero_tokens
from jaxasr.records import END, Batch, Outputs, Training
from jaxasr.shapes import Size


class Lm(Module, kw_only=True):
    """The interface of language models. A language model overrides `hidden`, `read_out`, `start` and `advance`.

    The training loop is that of recognisers: the tokens of a batch are the texts, and its waves are not read.
    """

    vocab: int  # tokens, the end included
    compute: Compute = "float32"  # as `Seq2Seq.compute`

    @nn.nowrap
    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Applies the module with its parameters in the precision of `compute`."""
        return super().apply(in_precision(variables, self.compute), *args, **kwargs)

    def __call__(self, batch: Batch, *, step: Int[Array, ""] | None) -> Outputs:
        """Returns teacher-forced logits: each token of the texts, then the end. There are no encoder positions or weights."""
        training = None if step is None else Training(batch.ids_b, step)
        lengths_b = jnp.asarray(batch.token_lengths_b)
        tokens_bu = zero_tokens(jnp.asarray(batch.tokens_bu), lengths_b)
        inputs_bk = jnp.pad(tokens_bu, ((0, 0), (1, 0)), constant_values=END)
        logits_bkv = self.read(inputs_bk, lengths_b + 1, training)
        zero_b = jnp.zeros(inputs_bk.shape[0], jnp.int32)
        return Outputs(logits_bkv, None, zero_b, jnp.zeros((*inputs_bk.shape, 1, 0), jnp.float32))

    def read(
        self, inputs_bk: Int[Array, "b k"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Float[Array, "b k v"]:
        """Returns logits of the token after each of the inputs. Arguments as in `hidden`."""
        return self.read_out(self.hidden(inputs_bk, lengths_b, training))

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Any]:
        """Returns logits of the next token after `tokens_b` (END before the first one), and the new state."""
        hidden_bd, state = self.advance(state, tokens_b)
        return self.read_out(hidden_bd), state

    def hidden(
        self, inputs_bk: Int[Array, "b k"], lengths_b: Int[Array, " b"], training: Training | None
    ) -> Float[Array, "b k d"]:
        """Returns the input of the readout after each of the inputs, of which END is the first.

        Args:
            lengths_b: of the inputs: real tokens + 1.
            training: the examples' ids and the step; None: nothing is random.
        """
        raise TypeError(f"{type(self).__name__} is an Lm without hidden()")

    def read_out(self, hidden: Float[Array, "... d"]) -> Float[Array, "... v"]:
        """Returns logits."""
        raise TypeError(f"{type(self).__name__} is an Lm without read_out()")

    def start(self, examples: Size) -> Any:
        """Returns the state before the first token; each leaf begins with the axis b."""
        raise TypeError(f"{type(self).__name__} is an Lm without start()")

    def advance(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b d"], Any]:
        """Returns the input of the readout after `tokens_b` (END before the first one), and the new state."""
        raise TypeError(f"{type(self).__name__} is an Lm without advance()")


def check_sizes(lm: Lm, **sizes: int) -> None:
    """Raises ValueError unless all sizes are positive, there is a token beside the end, and the precision is known."""
    check_compute(type(lm).__name__, lm.compute)
    if lm.vocab < 2 or min(sizes.values()) < 1:
        values = ", ".join(f"{name} {value}" for name, value in sizes.items())
        raise ValueError(
            f"{type(lm).__name__} has {values} and vocab {lm.vocab}; all must be positive, with a token beside the end"
        )
