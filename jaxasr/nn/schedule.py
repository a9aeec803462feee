"""Numbers that may change over a run: a constant, or a schedule that maps a step to a number."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# a schedule maps the batches trained on so far to a number, such as training.Exponential
ScalarOrSchedule = float | Callable[[Int[Array, ""]], Float[Array, ""]]


def value_at(scalar: ScalarOrSchedule, step: int | Int[Array, ""]) -> Float[Array, ""]:
    """Returns the value at this step of training, in float32."""
    return jnp.asarray(scalar(jnp.asarray(step)) if callable(scalar) else scalar, jnp.float32)


def is_constant(scalar: ScalarOrSchedule, value: float) -> bool:
    """Returns True if `scalar` is this number at every step. A schedule is never called, and counts as not constant."""
    return not callable(scalar) and scalar == value
