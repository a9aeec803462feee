"""Fusion of a decoder with a frozen language model in training: the decoder's readout reads the language model too.

The variables of the language model are the collection "lm". They are not among the parameters, so nothing trains them. A run
loads them from the language model's own run before its first step (run/initial_state.py).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.layers import Dense
from jaxasr.nn.lms.interface import Lm
from jaxasr.nn.module import Module
from jaxasr.ops.products import times
from jaxasr.records import END
from jaxasr.shapes import Size

LM = "lm"  # the collection
HOLDER = "variables"  # their name in the collection


class Fusion(Module):
    """The interface of fusions. A fusion overrides `__call__` and `logits`."""

    lm: Lm

    logits: ClassVar[bool] = False  # True: the fusion reads the language model's logits; False: its last hidden state

    def setup(self):
        self.frozen = self.variable(LM, HOLDER, self._init_lm)

    def __call__(self, features: Float[Array, "... d"], lm_output: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """Returns the input of the readout from the decoder's own features and the output of the language model."""
        raise TypeError(f"{type(self).__name__} is a Fusion without __call__()")

    def read(self, inputs_bk: Int[Array, "b k"]) -> Float[Array, "b k e"]:
        """Returns the language model's output after each of the inputs, of which END is the first."""
        lengths_b = jnp.full(inputs_bk.shape[0], inputs_bk.shape[1], jnp.int32)
        return self._apply_lm("read" if self.logits else "hidden", inputs_bk, lengths_b, None)

    def start(self, examples: Size) -> Any:
        """Returns the language model's state before the first token."""
        return self._apply_lm("start", examples)

    def step(self, state: Any, tokens_b: Int[Array, " b"]) -> tuple[Float[Array, "b e"], Any]:
        """Returns the language model's output after `tokens_b`, and its state."""
        return self._apply_lm("step" if self.logits else "advance", state, tokens_b)

    def _apply_lm(self, method: str, *arguments: Any) -> Any:
        variables = jax.lax.stop_gradient(self.frozen.value)
        return self.lm.clone(parent=None).apply(variables, *arguments, method=method)

    def _init_lm(self) -> Any:
        inputs_bk = jnp.full((1, 1), END, jnp.int32)
        return self.lm.clone(parent=None).init(
            self.make_rng("params"), inputs_bk, jnp.ones(1, jnp.int32), None, method="read"
        )


class DeepFusion(Fusion):
    """A fusion [s, g h] of the decoder's features s and the language model's state h, with one gate g = sigmoid(v h + b).

    Source: Gulcehre et al. 2015 (1503.03535), section 4.2, equations 7 and 8; b is initialised to -1 (section 5.4). The
    paper tunes only the readout of a trained translator; here all parts are trained together.
    """

    def setup(self):
        super().setup()
        self.gate = Dense(1, bias_init=nn.initializers.constant(-1.0), result="float32")

    def __call__(self, features: Float[Array, "... d"], lm_output: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """Returns the input of the readout, as in `Fusion`."""
        lm_output = lm_output.astype(features.dtype)
        return jnp.concatenate([features, times(lm_output, jax.nn.sigmoid(self.gate(lm_output)))], axis=-1)


class ColdFusion(Fusion):
    """A fusion relu(W [s, g * h]) with a gate for each unit: h = relu(U l), g = sigmoid(V [s, h]), l the logits of the LM.

    The largest logit is subtracted from all, because a common offset of logits has no meaning. Another language model of the
    same vocabulary can replace the one of training.

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

    def __call__(self, features: Float[Array, "... d"], lm_output: Float[Array, "... e"]) -> Float[Array, "... m"]:
        """Returns the input of the readout, as in `Fusion`."""
        lm_output = (lm_output - jnp.max(lm_output, axis=-1, keepdims=True)).astype(features.dtype)
        hidden = jax.nn.relu(self.inner(lm_output))
        gates = jax.nn.sigmoid(self.gate(jnp.concatenate([features, hidden], axis=-1)))
        return jax.nn.relu(self.outer(jnp.concatenate([features, gates * hidden], axis=-1)))
