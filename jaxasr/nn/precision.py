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
    """Returns the variables with parameters as the model computes with them, and other collections as they were.

    Weights that a compiled function closes over are hidden from XLA's simplifier. In jaxlib 0.12 it splits the product of a
    concatenation with a constant behind the pass that widens products for a CPU, and a part of less than about a hundred
    multiplications then ends in "Unsupported element type for DotThunk::Execute: BF16 x BF16 = F32".
    """
    if compute == "float32" or variables is None or "params" not in variables:
        return variables

    def narrow(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        closed_over = not isinstance(leaf, jax.core.Tracer)
        return (jax.lax.optimization_barrier(leaf) if closed_over else leaf).astype(compute)

    return {**variables, "params": jax.tree.map(narrow, variables["params"])}
