"""A language model with its variables, for searches."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.lms.interface import Lm
from jaxasr.shapes import Size


@functools.partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["module"])
@dataclass(frozen=True)
class BoundLm:
    """A language model with its variables (records.LanguageModel). As a pytree its leaves are the variables."""

    module: Lm
    variables: Any

    @property
    def vocab(self) -> int:
        """The number of tokens, the end included."""
        return self.module.vocab

    def start(self, examples: Size) -> Any:
        """Returns the state before the first token."""
        return self.module.apply(self.variables, examples, method="start")

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Any]:
        """Returns log probabilities, in float32, of the token after the previous one (END at first), and the state."""
        output: Any = self.module.apply(self.variables, state, tokens_b, method="step")
        logits_bv, state = output
        return jax.nn.log_softmax(logits_bv.astype(jnp.float32)), state
