"""What may stand at a place of a tree, read off the annotations of the dataclasses."""

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
from typing import Any, Literal, NamedTuple, TypeVar, Union


class FieldRef(NamedTuple):
    """A place in a tree."""

    path: tuple[str, ...] = ()
    hint: Any = Any  # the type of what stands here
    field: str = "the tree"  # the name of the place where it is declared: "Encoder.depth"

    @property
    def dotted(self) -> str:
        """The path as it is written."""
        return ".".join(self.path) or self.field

    def child(self, node: object, name: str) -> "FieldRef":
        """The place of field, index or key `name` of the node that stands here."""
        path = (*self.path, name)
        if dataclasses.is_dataclass(node):
            return FieldRef(path, _field_hint(type(node), name), f"{type(node).__name__}.{name}")
        hints = tuple(_item_hint(hint, node, name) for hint in _union_members(self.hint))
        known = tuple(hint for hint in hints if hint is not None)
        return FieldRef(path, Union[known] if known else Any, f"{self.field}.{name}")  # noqa: UP007


def coerce(value: object, hint: Any) -> Any:
    """The value as the type has it: equal, and float where an int stands for one.

    Raises:
        TypeError: it isn't of the type; the message says what is.
    """
    fits = []
    for alternative in _union_members(hint):
        with contextlib.suppress(TypeError):
            fits.append(_coerce_one(value, alternative))
    if not fits:
        raise TypeError(" or ".join(dict.fromkeys(map(_describe, _union_members(hint)))))
    return next((one for one in fits if type(one) is type(value)), fits[0])


def accepts_anything(hint: Any) -> bool:
    """Whether anything may stand there."""
    return not {Any, object}.isdisjoint(_union_members(hint))


def _coerce_one(value: Any, hint: Any) -> Any:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in (Any, object):
        return value
    if origin is Literal:
        return _value_if(any(value == option and type(value) is type(option) for option in inner), value)
    if hint is float:
        return float(_value_if(type(value) in (int, float), value))
    if hint in (int, bool, str) or type(value) is str:  # a str is no Sequence here
        return _value_if(type(value) is hint, value)
    if type(value) is tuple and inner and origin in (tuple, collections.abc.Sequence):
        many = inner[:1] * len(value) if origin is not tuple or inner[-1] is Ellipsis else inner
        return tuple(coerce(item, one) for item, one in zip(value, many, strict=_value_if(len(many) == len(value), True)))
    if isinstance(value, Mapping) and len(inner) == 2 and isinstance(value, origin):
        return type(value)({key: coerce(item, inner[1]) for key, item in value.items()})  # pyright: ignore[reportCallIssue]
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


def _union_members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself where it is none; aliases and bounds looked through."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(one for member in typing.get_args(hint) for one in _union_members(member))
    if typing.get_origin(hint) is typing.Annotated:
        return _union_members(typing.get_args(hint)[0])
    if isinstance(hint, TypeVar):
        return _union_members(hint.__bound__ or Any)
    for behind in ("__supertype__", "__value__"):  # NewType; `type X = ...` of Python 3.12
        if hasattr(hint, behind):
            return _union_members(getattr(hint, behind))
    return (hint,)


@functools.cache
def _field_hint(cls: type, name: str) -> Any:
    """A field's annotation, resolved; Any where it has a name that only type checkers see."""
    owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    holder = type(owner.__name__, (), {"__annotations__": {name: inspect.get_annotations(owner)[name]}})
    try:
        return typing.get_type_hints(holder, vars(sys.modules[owner.__module__]))[name]
    except NameError:
        return Any


def _item_hint(hint: Any, node: object, name: str) -> Any:
    """What a tuple or dictionary of this type holds at `name`; None if it is no such type or doesn't say."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if not isinstance(origin, type) or not isinstance(node, origin) or not inner:
        return None
    if origin is not tuple or inner[-1] is Ellipsis:
        return inner[1] if isinstance(node, Mapping) else inner[0]
    return inner[int(name)] if int(name) < len(inner) else None
