"""How often a while loop goes round, where that can be read from its jaxpr: a counter, its step and its limit."""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

Known = dict[Any, int]  # integer scalars by their variable

_HOLDS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "ne": operator.ne}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "ne": "ne"}
_UNCHANGED = ("convert_element_type", "copy", "copy_p", "stop_gradient")


class Trips(NamedTuple):
    """How often the body runs."""

    number: int
    exact: bool  # False: at most; something else may end the loop before


def trips_of(loop: Any, known: Known) -> Trips | None:
    """The trips of a `while` equation; None where no counter can be found."""
    params = loop.params
    cond, body = params["cond_jaxpr"].jaxpr, params["body_jaxpr"].jaxpr
    cond_consts, body_consts = params["cond_nconsts"], params["body_nconsts"]
    carried = loop.invars[cond_consts + body_consts :]
    starts = [value_of(atom, known) for atom in carried]
    steps = _steps(body, body_consts)
    constants = _given(cond.invars[:cond_consts], loop.invars[:cond_consts], known)
    constants |= {
        var: start
        for var, start, step in zip(cond.invars[cond_consts:], starts, steps, strict=True)
        if start is not None and step == 0
    }
    counters = dict(zip(cond.invars[cond_consts:], zip(starts, steps, strict=True), strict=True))
    conditions = list(_conjuncts(cond, cond.outvars[0]))
    found = [_rounds(each, counters, constants) for each in conditions]
    numbers = [number for number in found if number is not None]
    return Trips(min(numbers), exact=len(numbers) == len(found)) if numbers else None


def value_of(atom: Any, known: Known) -> int | None:
    """The integer that an operand is, if it is known."""
    if not isinstance(atom, core.Literal):
        return known.get(atom)
    return int(atom.val) if _is_integer(atom.aval) else None


def learnt(variables: Sequence[Any], values: Sequence[Any]) -> Known:
    """The integer scalars among constants."""
    pairs = zip(variables, values, strict=False)
    return {var: int(value) for var, value in pairs if _is_integer(var.aval)}


def inside(called: Any, operands: Sequence[Any], known: Known) -> Known:
    """What is known of the inputs of a jaxpr that is called with these operands."""
    opened = getattr(called, "jaxpr", called)
    return _given(opened.invars, operands, known)


def learnt_by(equation: Any, known: Known) -> Known:
    """What an equation adds to what is known."""
    if equation.primitive.name not in _UNCHANGED or len(equation.invars) != 1:
        return {}
    return _given(equation.outvars, equation.invars, known)


def _is_integer(aval: Any) -> bool:
    return aval.shape == () and jnp.issubdtype(aval.dtype, jnp.integer)


def _given(variables: Sequence[Any], operands: Sequence[Any], known: Known) -> Known:
    pairs = ((var, value_of(atom, known)) for var, atom in zip(variables, operands, strict=False))
    return {var: value for var, value in pairs if value is not None}


def _steps(body: Any, consts: int) -> list[int | None]:
    """What each carried value grows by in the body; 0 if it is handed on as it is."""
    made = {var: equation for equation in body.eqns for var in equation.outvars}
    return [_grows(out, into, made) for into, out in zip(body.invars[consts:], body.outvars, strict=True)]


def _grows(out: Any, into: Any, made: dict[Any, Any]) -> int | None:
    if out is into:
        return 0
    equation = _maker(out, made)
    if equation is None or equation.primitive.name not in ("add", "sub"):
        return None
    left, right = equation.invars
    if left is into:
        step = value_of(right, {})
        return step if step is None or equation.primitive.name == "add" else -step
    return value_of(left, {}) if right is into and equation.primitive.name == "add" else None


def _maker(atom: Any, made: dict[Any, Any]) -> Any:
    """The equation that a value comes from, whatever it was converted to since; None for an input or a constant."""
    equation = None if isinstance(atom, core.Literal) else made.get(atom)
    if equation is not None and equation.primitive.name in _UNCHANGED:
        return _maker(equation.invars[0], made)
    return equation


def _conjuncts(cond: Any, out: Any) -> Iterator[Any]:
    """The equations that all have to hold for another round; None for what no equation makes."""
    made = {var: equation for equation in cond.eqns for var in equation.outvars}
    open_ends = [out]
    while open_ends:
        equation = _maker(open_ends.pop(), made)
        if equation is not None and equation.primitive.name == "and":
            open_ends += equation.invars
        else:
            yield equation


def _rounds(condition: Any, counters: dict[Any, tuple[int | None, int | None]], constants: Known) -> int | None:
    """How often a comparison of a counter with a limit holds."""
    if condition is None or condition.primitive.name not in _HOLDS:
        return None
    name, (left, right) = condition.primitive.name, condition.invars
    if value_of(right, constants) is None:
        name, left, right = _MIRRORED[name], right, left
    limit = value_of(right, constants)
    start, step = (None, None) if isinstance(left, core.Literal) else counters.get(left, (None, None))
    if limit is None or start is None or not step:
        return None
    if not _HOLDS[name](start, limit):
        return 0
    if name == "ne":
        rounds, rest = divmod(limit - start, step)
        return rounds if rounds > 0 and not rest else None
    towards = limit - start + {"le": 1, "ge": -1}.get(name, 0)
    return math.ceil(towards / step) if towards * step > 0 else None
