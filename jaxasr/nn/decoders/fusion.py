"""Language models that a decoder is trained with: frozen, and heard by its readout.

The variables of the language model are the collection "lm": not among the parameters, so nothing trains them; a run takes
them from the run that trained them, before its first step (run/initial_state.py).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.layers import Dense
from jaxasr.nn.lms.interface import Lm
from jaxasr.ops.products import times
from jaxasr.records import END

LM = "lm"  # the collection
HOLDER = "variables"  # what a fusion calls its part of it


class Fusion(nn.Module):
    """The interface. A fusion overrides `__call__` and says what it sees of the language model."""

    lm: Lm

    logits: ClassVar[bool] = False  # True: what the language model says is seen; False: the state that it says it from

    def setup(self):
        self.frozen = self.variable(LM, HOLDER, self._fresh)

    def __call__(self, features: Float[Array, "... d"], seen: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """What the readout gets instead of the decoder's own features, beside what is seen of the language model."""
        raise TypeError(f"{type(self).__name__} is a Fusion without __call__()")

    def read(self, inputs_bk: Int[Array, "b k"]) -> Float[Array, "b k e"]:
        """What is seen of the language model after each of the inputs, of which END is the first."""
        lengths_b = jnp.full(inputs_bk.shape[0], inputs_bk.shape[1], jnp.int32)
        return self._asked("read" if self.logits else "hidden", inputs_bk, lengths_b, None)

    def start(self, examples: int) -> Any:
        """The language model's state before the first token."""
        return self._asked("start", examples)

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b e"], Any]:
        """What is seen of it after `tokens_b`, and its state."""
        return self._asked("step" if self.logits else "advance", state, tokens_b)

    def _asked(self, method: str, *given: Any) -> Any:
        variables = jax.lax.stop_gradient(self.frozen.value)
        return self.lm.clone(parent=None).apply(variables, *given, method=method)

    def _fresh(self) -> Any:
        inputs_bk = jnp.full((1, 1), END, jnp.int32)
        return self.lm.clone(parent=None).init(
            self.make_rng("params"), inputs_bk, jnp.ones(1, jnp.int32), None, method="read"
        )


class DeepFusion(Fusion):
    """[s, g h]: the state h of the language model beside the decoder's features s, under one gate g = sigmoid(v h + b).

    Source: Gulcehre et al. 2015 (1503.03535), section 4.2, equations 7 and 8, b = -1 at first (section 5.4). There the
    translator is trained before and only the readout is tuned; here they are trained together.
    """

    def setup(self):
        super().setup()
        self.gate = Dense(1, bias_init=nn.initializers.constant(-1.0), result="float32")

    def __call__(self, features: Float[Array, "... d"], seen: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """As in `Fusion`."""
        seen = seen.astype(features.dtype)
        return jnp.concatenate([features, times(seen, jax.nn.sigmoid(self.gate(seen)))], axis=-1)


class ColdFusion(Fusion):
    """relu(W [s, g * h]) with h = relu(U l), g = sigmoid(V [s, h]): a gate for each unit, from the language model's logits l.

    Logits are taken less their largest, for they are free to move together. Another language model of the same vocabulary
    can take the place of the one it was trained with.

    Source: Sriram et al. 2017 (1708.06426), section 3, equations 4a to 4d.
    """

    width: int  # of h and of what the readout sees

    logits: ClassVar[bool] = True

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"ColdFusion.width is {self.width}; at least 1 is needed")
        super().__post_init__()

    def setup(self):
        super().setup()
        self.inner, self.gate, self.outer = (Dense(self.width) for _ in range(3))

    def __call__(self, features: Float[Array, "... d"], seen: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """As in `Fusion`."""
        seen = (seen - jnp.max(seen, axis=-1, keepdims=True)).astype(features.dtype)
        hidden = jax.nn.relu(self.inner(seen))
        gates = jax.nn.sigmoid(self.gate(jnp.concatenate([features, hidden], axis=-1)))
        return jax.nn.relu(self.outer(jnp.concatenate([features, gates * hidden], axis=-1)))
