"""How often a while loop goes round, where that can be read from its jaxpr: a counter, its step and its limit."""

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
    """How often the body runs."""

    number: int
    exact: bool  # False: at most; something else may end the loop before


def trips_of(loop: Equation, known: Known) -> Trips | None:
    """The trips of a `while` equation; None where no counter can be found."""
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
    conditions = list(_conjuncts(cond, cond.results[0]))
    found = [_rounds(each, counters, constants) for each in conditions]
    numbers = [number for number in found if number is not None]
    return Trips(min(numbers), exact=len(numbers) == len(found)) if numbers else None


def value_of(atom: Atom, known: Known) -> int | None:
    """The integer that an operand is, if it is known."""
    if not is_literal(atom):
        return known.get(atom)
    return int(literal(atom)) if _is_integer(atom) else None


def known_constants(constants: Sequence[tuple[Atom, Any]]) -> Known:
    """The integer scalars among constants and their values."""
    return {var: int(value) for var, value in constants if _is_integer(var)}


def known_inputs(called: Graph, operands: Sequence[Atom], known: Known) -> Known:
    """What is known of the inputs of a graph that is called with these operands."""
    return _given(called.inputs, operands, known)


def propagate_constants(equation: Equation, known: Known) -> Known:
    """What an equation adds to what is known."""
    if equation.name not in _UNCHANGED or len(equation.operands) != 1:
        return {}
    return _given(equation.results, equation.operands, known)


def _is_integer(atom: Atom) -> bool:
    return shape_of(atom) == () and dtype_of(atom) is not None and jnp.issubdtype(dtype_of(atom), jnp.integer)


def _given(variables: Sequence[Atom], operands: Sequence[Atom], known: Known) -> Known:
    pairs = ((var, value_of(atom, known)) for var, atom in zip(variables, operands, strict=False))
    return {var: value for var, value in pairs if value is not None}


def _steps(body: Graph, consts: int) -> list[int | None]:
    """What each carried value grows by in the body; 0 if it is handed on as it is."""
    made = {var: equation for equation in body.equations for var in equation.results}
    return [_grows(out, into, made) for into, out in zip(body.inputs[consts:], body.results, strict=True)]


def _grows(out: Atom, into: Atom, made: dict[Atom, Equation]) -> int | None:
    if out is into:
        return 0
    equation = _maker(out, made)
    if equation is None or equation.name not in ("add", "sub"):
        return None
    left, right = equation.operands
    if left is into:
        step = value_of(right, {})
        return step if step is None or equation.name == "add" else -step
    return value_of(left, {}) if right is into and equation.name == "add" else None


def _maker(atom: Atom, made: dict[Atom, Equation]) -> Equation | None:
    """The equation that a value comes from, whatever it was converted to since; None for an input or a constant."""
    equation = None if is_literal(atom) else made.get(atom)
    if equation is not None and equation.name in _UNCHANGED:
        return _maker(equation.operands[0], made)
    return equation


def _conjuncts(cond: Graph, out: Atom) -> Iterator[Equation | None]:
    """The equations that all have to hold for another round; None for what no equation makes."""
    made = {var: equation for equation in cond.equations for var in equation.results}
    open_ends = [out]
    while open_ends:
        equation = _maker(open_ends.pop(), made)
        if equation is not None and equation.name == "and":
            open_ends += equation.operands
        else:
            yield equation


def _rounds(
    condition: Equation | None, counters: dict[Atom, tuple[int | None, int | None]], constants: Known
) -> int | None:
    """How often a comparison of a counter with a limit holds."""
    if condition is None or condition.name not in _HOLDS:
        return None
    name, (left, right) = condition.name, condition.operands
    if value_of(right, constants) is None:
        name, left, right = _MIRRORED[name], right, left
    limit = value_of(right, constants)
    start, step = (None, None) if is_literal(left) else counters.get(left, (None, None))
    if limit is None or start is None or not step:
        return None
    if not _HOLDS[name](start, limit):
        return 0
    if name == "ne":
        rounds, rest = divmod(limit - start, step)
        return rounds if rounds > 0 and not rest else None
    towards = limit - start + {"le": 1, "ge": -1}.get(name, 0)
    return math.ceil(towards / step) if towards * step > 0 else None
