"""The check of the numbers in a dataclass of a configuration tree: their types, that they are finite, and simple ranges."""

import dataclasses
import functools
import math
import typing
from collections.abc import Collection, Iterator
from typing import Any, Literal

from jaxasr.tree.types import field_hint, is_plain_tuple, union_members

LARGEST = 2**63 - 1  # of a whole number: int64, which NumPy and JAX can hold


def check_numbers(node: Any, *, positive: Collection[str] = (), not_negative: Collection[str] = ()) -> None:
    """Checks all numbers in the fields of a dataclass, those in tuples too.

    A number must be finite, whole where the field's type has no float, within 64 bits if it is whole, and one of the options
    of a `Literal`.

    Args:
        positive: fields whose numbers must be more than 0.
        not_negative: fields whose numbers must be 0 or more.

    Raises:
        ValueError: a number is none of these. The message has the class, the field, the value and what is needed.
    """
    for name, allowed in _numeric_fields(node.__class__).items():
        for number in _numbers(getattr(node, name, None)):
            need = _need(number, allowed)
            if not need and name in positive and not number > 0:
                need = "must be more than 0"
            if not need and name in not_negative and not number >= 0:
                need = "must be 0 or more"
            if need:
                raise ValueError(f"{type(node).__name__}.{name} is {_shown(number)}; it {need}")


def _need(number: int | float, allowed: frozenset[Any]) -> str:
    """Returns the condition that a number does not meet; empty if it meets all."""
    whole = isinstance(number, int)
    options: frozenset[Any] = allowed - {int, float}
    if not allowed & {int, float}:
        return "" if number in options else f"must be one of {', '.join(map(str, sorted(options)))}"
    if whole and abs(number) > LARGEST:
        return "must be a number within 64 bits"
    if not whole and float not in allowed:
        return "must be a whole number"
    return "" if math.isfinite(number) else "must be a finite number"


def _shown(number: int | float) -> str:
    if isinstance(number, int) and abs(number) > LARGEST:
        return f"a whole number of about {round(number.bit_length() * math.log10(2)):,} digits"
    return repr(number)


def _numbers(value: Any) -> Iterator[int | float]:
    if is_plain_tuple(value):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@functools.cache
def _numeric_fields(cls: type[Any]) -> dict[str, frozenset[Any]]:
    """Returns, by field, the number types and options of its annotation. A field of any type may have both types."""
    found = {field.name: frozenset(_number_types(field_hint(cls, field.name))) for field in dataclasses.fields(cls)}
    return {name: allowed for name, allowed in found.items() if allowed}


def _number_types(hint: Any) -> Iterator[Any]:
    for member in union_members(hint):
        if member in (int, float):
            yield member
        elif member in (Any, object):
            yield from (int, float)
        elif typing.get_origin(member) is Literal:
            yield from (option for option in typing.get_args(member) if type(option) in (int, float))
        elif typing.get_origin(member) is tuple:
            for inner in typing.get_args(member):
                yield from _number_types(inner)
