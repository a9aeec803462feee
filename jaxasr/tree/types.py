"""The types of the fields in a configuration tree, from the annotations of the dataclasses, and coercion to them."""

import collections.abc
import contextlib
import dataclasses
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeGuard, TypeVar, Union

_INT_BITS = 63  # of the integers that NumPy, JSON readers and JAX hold


class FieldRef(NamedTuple):
    """A reference to a field or item of a tree."""

    path: tuple[str, ...] = ()
    hint: Any = Any  # the type of the value
    field: str = "the tree"  # the field that declares it: "Encoder.depth"

    @property
    def dotted(self) -> str:
        """The path in dotted form."""
        return ".".join(self.path) or self.field

    def child(self, node: object, name: str) -> "FieldRef":
        """Returns the reference to field, index or key `name` of `node`, which is the value of this reference."""
        path = (*self.path, name)
        if dataclasses.is_dataclass(node):
            return FieldRef(path, field_hint(type(node), name), f"{type(node).__name__}.{name}")
        hints = tuple(_item_hint(hint, node, name) for hint in union_members(self.hint))
        known = tuple(hint for hint in hints if hint is not None)
        return FieldRef(path, Union[known] if known else Any, f"{self.field}.{name}")  # noqa: UP007


def coerce(value: object, hint: Any) -> Any:
    """Returns the value in the type: an equal value, as float if the type is float and the value an int.

    Raises:
        TypeError: the value is not of the type. The message describes the type.
    """
    if type(value) is int and value.bit_length() > _INT_BITS:
        value = _float_of(value, hint)
    fits: list[Any] = []
    for alternative in union_members(hint):
        with contextlib.suppress(TypeError):
            fits.append(_coerce_one(value, alternative))
    if not fits:
        raise TypeError(" or ".join(dict.fromkeys(map(_describe, union_members(hint)))))
    return next((coerced for coerced in fits if type(coerced) is type(value)), fits[0])


def _float_of(value: int, hint: Any) -> float:
    """Returns an integer of too many bits as a float, if the type allows one and it is in range."""
    with contextlib.suppress(OverflowError):
        if float in union_members(hint):
            return float(value)
    raise TypeError(f"numbers of at most {_INT_BITS} bits")


def accepts_anything(hint: Any) -> bool:
    """Returns True if the type allows every value."""
    return not {Any, object}.isdisjoint(union_members(hint))


def is_plain_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Returns True for a tuple that is no named tuple."""
    return type(value) is tuple


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Returns True for a mapping. The type of keys and values is not known."""
    return isinstance(value, Mapping)


def rebuilt_mapping(node: Mapping[Any, Any], items: Mapping[Any, Any]) -> Any:
    """Returns a mapping of the same class as `node` with other items."""
    make: Any = type(node)
    return make(items)


def _coerce_one(value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    if hint in (Any, object):
        return value
    if origin is Literal:
        return _value_if(any(value == option and type(value) is type(option) for option in inner), value)
    if hint is float:
        return float(_value_if(type(value) in (int, float), value))
    if hint in (int, bool, str) or type(value) is str:  # a str is no Sequence here
        return _value_if(type(value) is hint, value)
    if is_plain_tuple(value) and inner and origin in (tuple, collections.abc.Sequence):
        many = inner[:1] * len(value) if origin is not tuple or inner[-1] is Ellipsis else inner
        return tuple(
            coerce(item, one) for item, one in zip(value, many, strict=_value_if(len(many) == len(value), True))
        )
    if is_mapping(value) and len(inner) == 2 and isinstance(value, origin):
        return rebuilt_mapping(value, {key: coerce(item, inner[1]) for key, item in value.items()})
    if getattr(origin, "_is_protocol", False) and not getattr(origin, "_is_runtime_protocol", False):
        return _value_if(dataclasses.is_dataclass(value), value)
    return _value_if(isinstance(origin, type) and isinstance(value, origin), value)


def _value_if(fits: bool, value: Any) -> Any:
    if not fits:
        raise TypeError
    return value


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if hint in (None, types.NoneType):
        return "None"
    if hint is bool:
        return "True or False"
    name = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b(\w+\.)+(?=\w)", "", name)  # without the modules


def union_members(hint: Any) -> tuple[Any, ...]:
    """Returns the members of a union, or the type itself if it is no union. Resolves aliases and bounds."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(inner for member in typing.get_args(hint) for inner in union_members(member))
    if typing.get_origin(hint) is typing.Annotated:
        return union_members(typing.get_args(hint)[0])
    if isinstance(hint, TypeVar):
        return union_members(hint.__bound__ or Any)
    for attribute in ("__supertype__", "__value__"):  # NewType; `type X = ...` of Python 3.12
        if hasattr(hint, attribute):
            return union_members(getattr(hint, attribute))
    return (hint,)


@functools.cache
def field_hint(cls: type, name: str) -> Any:
    """Resolves a field's annotation. Returns Any if it has a name that exists for type checkers only."""
    owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    holder = type(owner.__name__, (), {"__annotations__": {name: inspect.get_annotations(owner)[name]}})
    try:
        return typing.get_type_hints(holder, vars(sys.modules[owner.__module__]))[name]
    except NameError:
        return Any


def _item_hint(hint: Any, node: object, name: str) -> Any:
    """Returns the type of the item `name` of a tuple or dictionary; None if the hint does not give one."""
    origin = typing.get_origin(hint)
    inner = typing.get_args(hint)
    if not isinstance(origin, type) or not isinstance(node, origin) or not inner:
        return None
    if origin is not tuple or inner[-1] is Ellipsis:
        return inner[1] if isinstance(node, Mapping) else inner[0]
    return inner[int(name)] if int(name) < len(inner) else None
