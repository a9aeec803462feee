"""Amounts that may change over a run: a number, or a value that gives one for a step."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

ScalarOrSchedule = (
    float | Callable[[Int[Array, ""]], Float[Array, ""]]
)  # such as train.Exponential, by batches trained on so far


def value_at(amount: ScalarOrSchedule, step: int | Int[Array, ""]) -> Float[Array, ""]:
    """What the amount is at this step of training, in float32."""
    return jnp.asarray(amount(jnp.asarray(step)) if callable(amount) else amount, jnp.float32)


def is_constant(amount: ScalarOrSchedule, value: float) -> bool:
    """True where the amount is this number at every step, as far as can be known without a step."""
    return not callable(amount) and amount == value
