"""What a program multiplies and adds up, and in which precision: read from its jaxpr."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxasr.cost.jaxprs import Atom, Equation, dtype_of, shape_of, trace

PRODUCTS = ("dot_general", "conv_general_dilated")
SUMS = ("reduce_sum", "cumsum", "scatter-add")


class Work(NamedTuple):
    """One product of arrays, or the sum of one over axes."""

    name: str
    operands: tuple[str, ...]  # dtypes
    result: str
    where: str


def products(function: Any, *given: Any) -> list[Work]:
    """Those of float numbers, but for the ones that say that they are exact (Precision.HIGHEST)."""
    exact = jax.lax.Precision.HIGHEST
    return [
        _work(each)
        for each in trace(function, *given).everything()
        if each.name in PRODUCTS and _is_float(each.results[0]) and exact not in each.precision
    ]


def narrow_sums(function: Any, *given: Any) -> list[Work]:
    """Sums of more than two terms in bfloat16."""
    return [
        _work(each)
        for each in trace(function, *given).everything()
        if each.name in SUMS
        and dtype_of(each.results[0]) == jnp.bfloat16
        and (
            each.name != "reduce_sum"
            or math.prod(shape_of(each.operands[0])) > 2 * math.prod(shape_of(each.results[0]))
        )
    ]


def cosine(found: Any, expected: Any) -> float:
    """Of the angle between two trees as vectors."""
    pairs = [
        (jnp.ravel(a).astype(jnp.float32), jnp.ravel(b).astype(jnp.float32))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    ]
    dot, square_a, square_b = (sum(each) for each in zip(*((a @ b, a @ a, b @ b) for a, b in pairs), strict=True))
    return float(dot / jnp.sqrt(square_a * square_b))


def _is_float(atom: Atom) -> bool:
    return jnp.issubdtype(dtype_of(atom), jnp.floating)


def _work(each: Equation) -> Work:
    operands = tuple(str(dtype_of(atom)) for atom in each.operands[:2])
    return Work(each.name, operands, str(dtype_of(each.results[0])), each.scope)
