"""In which precision a model computes. Its parameters, their gradients and what an optimizer keeps are always float32.

With "bfloat16" the parameters are rounded once on their way into the model, so their gradients come out in float32, and the
features are rounded behind all augmentation. From there every layer computes in the dtype of what it is given. In float32
stay: features, the statistics of normalisations, the energies and weights of attention, stops and places, the cell of a
recurrence, logits and losses, and what is added up over positions or steps, gradients of parameters in loops included.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

Compute = Literal["float32", "bfloat16"]


def check_compute(model: str, compute: str) -> None:
    """Raises ValueError for a precision that there is not."""
    if compute not in get_args(Compute):
        raise ValueError(f"{model}.compute is {compute!r}; it must be one of {', '.join(get_args(Compute))}")


def in_precision(variables: Any, compute: Compute) -> Any:
    """The variables with parameters as the model computes with them; other collections are as they were."""
    if compute == "float32" or variables is None or "params" not in variables:
        return variables

    def narrow(leaf: Any) -> Any:
        return leaf.astype(compute) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return {**variables, "params": jax.tree.map(narrow, variables["params"])}
