"""A language model with its variables: what a search wants."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.lms.interface import Lm


@functools.partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["module"])
@dataclass(frozen=True)
class BoundLm:
    """A module and its variables (records.LanguageModel). As a pytree its leaves are the variables."""

    module: Lm
    variables: Any

    @property
    def vocab(self) -> int:
        """Tokens, the end included."""
        return self.module.vocab

    def start(self, examples: int) -> Any:
        """The state before the first token."""
        return self.module.apply(self.variables, examples, method="start")

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b v"], Any]:
        """Log probabilities, in float32, of what follows the previous token (END at first), and the state."""
        said: Any = self.module.apply(self.variables, state, tokens_b, method="step")
        logits_bv, state = said
        return jax.nn.log_softmax(logits_bv.astype(jnp.float32)), state
