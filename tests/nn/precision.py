"""What a program multiplies and adds up, and in which precision: read from its jaxpr."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
        for each in equations(jax.make_jaxpr(function)(*given).jaxpr)
        if each.primitive.name in PRODUCTS
        and _is_float(each.outvars[0])
        and exact not in (each.params["precision"] or ())
    ]


def narrow_sums(function: Any, *given: Any) -> list[Work]:
    """Sums of more than two terms in bfloat16."""
    return [
        _work(each)
        for each in equations(jax.make_jaxpr(function)(*given).jaxpr)
        if each.primitive.name in SUMS
        and each.outvars[0].aval.dtype == jnp.bfloat16
        and (
            each.primitive.name != "reduce_sum"
            or math.prod(each.invars[0].aval.shape) > 2 * math.prod(each.outvars[0].aval.shape)
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


def equations(jaxpr: Any) -> Iterator[Any]:
    """Every equation, those of loops, branches and calls included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from equations(getattr(inner, "jaxpr", inner))


def _is_jaxpr(leaf: Any) -> bool:
    return hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")


def _is_float(var: Any) -> bool:
    return jnp.issubdtype(var.aval.dtype, jnp.floating)


def _work(each: Any) -> Work:
    operands = tuple(str(var.aval.dtype) for var in each.invars[:2])
    return Work(each.primitive.name, operands, str(each.outvars[0].aval.dtype), str(each.source_info.name_stack))
