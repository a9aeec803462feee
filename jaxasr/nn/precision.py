"""The precision in which a model computes. Parameters, their gradients and the optimizer's state are always float32.

With "bfloat16" the parameters are rounded once before the model is applied, so their gradients are float32, and the features
are rounded after all augmentation. From there every layer computes in the dtype of its input. These stay in float32:
features, the statistics of normalisations, the energies and weights of attention, stops and positions, the cell of a
recurrence, logits and losses, and sums over positions or steps, gradients of parameters in loops included.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax.core import Tracer

Compute = Literal["float32", "bfloat16"]


def check_compute(model: str, compute: str) -> None:
    """Raises ValueError for an unknown precision."""
    if compute not in get_args(Compute):
        raise ValueError(f"{model}.compute is {compute!r}; it must be one of {', '.join(get_args(Compute))}")


def in_precision(variables: Any, compute: Compute) -> Any:
    """Returns the variables with the parameters in the precision `compute`; other collections are unchanged.

    Weights that a compiled function closes over are hidden from XLA's simplifier. In jaxlib 0.12 the simplifier splits the
    product of a concatenation with a constant after the pass that widens products for a CPU. A part of less than about a
    hundred multiplications then ends in "Unsupported element type for DotThunk::Execute: BF16 x BF16 = F32".
    """
    if compute == "float32" or variables is None or "params" not in variables:
        return variables

    def cast(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        closed_over = not isinstance(leaf, Tracer)
        return (jax.lax.optimization_barrier(leaf) if closed_over else leaf).astype(compute)

    return {**variables, "params": jax.tree.map(cast, variables["params"])}
