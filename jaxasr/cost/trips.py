"""Finds the trips of a while loop in its jaxpr: from a counter, its step and its limit."""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxasr.cost.jaxprs import Atom, Equation, Graph, dtype_of, is_literal, literal, shape_of

Known = dict[Atom, int]  # integer scalars by their variable

_HOLDS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "ne": operator.ne}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "ne": "ne"}
_UNCHANGED = ("convert_element_type", "copy", "copy_p", "stop_gradient")


class Trips(NamedTuple):
    """The number of runs of a loop's body."""

    number: int
    exact: bool  # False: `number` is an upper bound, because something else may end the loop earlier


def trips_of(loop: Equation, known: Known) -> Trips | None:
    """Returns the trips of a `while` equation, or None if it has no counter with known start, step and limit."""
    cond, body, cond_consts, body_consts = loop.loop
    carried = loop.operands[cond_consts + body_consts :]
    starts = [value_of(atom, known) for atom in carried]
    steps = _steps(body, body_consts)
    constants = _given(cond.inputs[:cond_consts], loop.operands[:cond_consts], known)
    constants |= {
        var: start
        for var, start, step in zip(cond.inputs[cond_consts:], starts, steps, strict=True)
        if start is not None and step == 0
    }
    counters = dict(zip(cond.inputs[cond_consts:], zip(starts, steps, strict=True), strict=True))
    found = [_rounds(condition, counters, constants) for condition in _conjuncts(cond, cond.results[0])]
    numbers = [number for number in found if number is not None]
    return Trips(min(numbers), exact=len(numbers) == len(found)) if numbers else None


def value_of(atom: Atom, known: Known) -> int | None:
    """Returns the value of an integer operand, or None if it is unknown."""
    if not is_literal(atom):
        return known.get(atom)
    return int(literal(atom)) if _is_integer(atom) else None


def known_constants(constants: Sequence[tuple[Atom, Any]]) -> Known:
    """Returns the values of the integer scalars among the constants."""
    return {var: int(value) for var, value in constants if _is_integer(var)}


def known_inputs(called: Graph, operands: Sequence[Atom], known: Known) -> Known:
    """Returns the known values of the inputs of a graph that is called with these operands."""
    return _given(called.inputs, operands, known)


def propagate_constants(equation: Equation, known: Known) -> Known:
    """Returns the known values of the results of an equation that copies or converts its operand."""
    if equation.name not in _UNCHANGED or len(equation.operands) != 1:
        return {}
    return _given(equation.results, equation.operands, known)


def _is_integer(atom: Atom) -> bool:
    return shape_of(atom) == () and dtype_of(atom) is not None and jnp.issubdtype(dtype_of(atom), jnp.integer)


def _given(variables: Sequence[Atom], operands: Sequence[Atom], known: Known) -> Known:
    pairs = ((var, value_of(atom, known)) for var, atom in zip(variables, operands, strict=False))
    return {var: value for var, value in pairs if value is not None}


def _steps(body: Graph, consts: int) -> list[int | None]:
    """Returns the increment of each carried value in the body: 0 if it does not change, None if it is unknown."""
    made = {var: equation for equation in body.equations for var in equation.results}
    return [_increment(out, into, made) for into, out in zip(body.inputs[consts:], body.results, strict=True)]


def _increment(out: Atom, into: Atom, made: dict[Atom, Equation]) -> int | None:
    if out is into:
        return 0
    equation = _producer(out, made)
    if equation is None or equation.name not in ("add", "sub"):
        return None
    left, right = equation.operands
    if left is into:
        step = value_of(right, {})
        return step if step is None or equation.name == "add" else -step
    return value_of(left, {}) if right is into and equation.name == "add" else None


def _producer(atom: Atom, made: dict[Atom, Equation]) -> Equation | None:
    """Returns the equation that computes a value, before copies and conversions; None for an input or a constant."""
    equation = None if is_literal(atom) else made.get(atom)
    if equation is not None and equation.name in _UNCHANGED:
        return _producer(equation.operands[0], made)
    return equation


def _conjuncts(cond: Graph, out: Atom) -> Iterator[Equation | None]:
    """Yields the equations that all must be true for another trip; None for a value without an equation."""
    made = {var: equation for equation in cond.equations for var in equation.results}
    open_ends = [out]
    while open_ends:
        equation = _producer(open_ends.pop(), made)
        if equation is not None and equation.name == "and":
            open_ends += equation.operands
        else:
            yield equation


def _rounds(
    condition: Equation | None, counters: dict[Atom, tuple[int | None, int | None]], constants: Known
) -> int | None:
    """Returns the number of trips for which a comparison of a counter with a limit is true; None if it is unknown."""
    if condition is None or condition.name not in _HOLDS:
        return None
    name = condition.name
    left, right = condition.operands
    counter = left
    limit = value_of(right, constants)
    if limit is None:
        name = _MIRRORED[name]
        counter = right
        limit = value_of(left, constants)
    start, step = (None, None) if is_literal(counter) else counters.get(counter, (None, None))
    if limit is None or start is None or not step:
        return None
    if not _HOLDS[name](start, limit):
        return 0
    if name == "ne":
        rounds, rest = divmod(limit - start, step)
        return rounds if rounds > 0 and not rest else None
    towards = limit - start + {"le": 1, "ge": -1}.get(name, 0)
    return math.ceil(towards / step) if towards * step > 0 else None
