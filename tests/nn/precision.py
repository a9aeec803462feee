"""The products and sums of a program with their precision, read from its jaxpr."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxasr.cost.jaxprs import Atom, Equation, dtype_of, shape_of, trace

PRODUCTS = ("dot_general", "conv_general_dilated")
SUMS = ("reduce_sum", "cumsum", "scatter-add")


class Operation(NamedTuple):
    """A product of arrays, or the sum of an array over axes."""

    name: str
    operands: tuple[str, ...]  # dtypes
    result: str
    where: str


def products(function: Any, *given: Any) -> list[Operation]:
    """Returns the products of floats, without those of Precision.HIGHEST."""
    exact = jax.lax.Precision.HIGHEST
    return [
        _operation(equation)
        for equation in trace(function, *given).everything()
        if equation.name in PRODUCTS and _is_float(equation.results[0]) and exact not in equation.precision
    ]


def narrow_sums(function: Any, *given: Any) -> list[Operation]:
    """Returns the sums of more than two terms in bfloat16."""
    return [
        _operation(equation)
        for equation in trace(function, *given).everything()
        if equation.name in SUMS
        and dtype_of(equation.results[0]) == jnp.bfloat16
        and (
            equation.name != "reduce_sum"
            or math.prod(shape_of(equation.operands[0])) > 2 * math.prod(shape_of(equation.results[0]))
        )
    ]


def cosine(found: Any, expected: Any) -> float:
    """Returns the cosine of the angle between two trees as vectors."""
    pairs = [
        (jnp.ravel(a).astype(jnp.float32), jnp.ravel(b).astype(jnp.float32))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    ]
    dot, square_a, square_b = (sum(terms) for terms in zip(*((a @ b, a @ a, b @ b) for a, b in pairs), strict=True))
    return float(dot / jnp.sqrt(square_a * square_b))


def _is_float(atom: Atom) -> bool:
    return jnp.issubdtype(dtype_of(atom), jnp.floating)


def _operation(equation: Equation) -> Operation:
    operands = tuple(str(dtype_of(atom)) for atom in equation.operands[:2])
    return Operation(equation.name, operands, str(dtype_of(equation.results[0])), equation.scope)
