"""Overrides of configuration trees: `parse` reads `a.b.c=value` arguments and `override` applies them."""

import ast
import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jaxasr.tree.render import children, fields, is_leaf
from jaxasr.tree.types import FieldRef, accepts_anything, coerce, is_mapping, is_plain_tuple, rebuilt_mapping

T = TypeVar("T")
_SHOWN = 80  # characters of a value that an error message shows
_SELF = ""  # key of the new value of a node itself, among the changes of its children


def parse(arguments: Iterable[str]) -> dict[str, str]:
    """Parses `a.b.c=value` arguments to texts by path, the input of `override`. Strips blanks around both.

    Raises:
        ValueError: an argument has another form, or a path is given twice.
    """
    changes: dict[str, str] = {}
    for argument in arguments:
        path, equals, text = (part.strip() for part in argument.partition("="))
        if not equals or path.startswith("-") or not _is_path(path):
            raise ValueError(f"{argument!r} is no override: write path=value, as in model.encoder.depth=4")
        if path in changes:
            raise ValueError(f"{path} is given twice: {changes[path]!r} and {text!r}")
        changes[path] = text
    return changes


def override(node: T, changes: Mapping[str, object]) -> T:
    """Returns a tree with changed values at some paths. Changed nodes run their own checks again.

    Args:
        node: the tree. It is not modified, and the result shares its unchanged parts.
        changes: values by dotted path. A str is text: for a str field it is the value, for other fields it is parsed as a
            Python literal (`4`, `1e-3`, `True`, `None`, `(1, 2)`). Other values, also whole nodes, are used directly. A
            path may lead into a node that is given in the same call.

    Raises:
        ValueError: there is no such field, a value is not of the field's type, or a check of the node fails.
    """
    by_name: dict[str, Any] = {}
    for path, value in changes.items():
        if not _is_path(path):
            raise ValueError(f"{path!r} is no path; it reads like model.encoder.depth")
        branch: dict[str, Any] = by_name
        for name in path.split("."):
            branch = branch.setdefault(name, {})
        branch[_SELF] = value
    return _rebuild(node, by_name, FieldRef())


def _is_path(path: str) -> bool:
    return all(path.split(".")) and not any(char.isspace() for char in path)


def _rebuild(value: Any, changes: dict[str, Any], ref: FieldRef) -> Any:
    if _SELF in changes:
        value = _coerce_given(changes[_SELF], value, ref)
    below = {name: branch for name, branch in changes.items() if name != _SELF}
    if not below:
        return value
    if is_leaf(value) and not is_plain_tuple(value):
        raise ValueError(f"{ref.dotted} is {value!r} and has nothing below it, so no {next(iter(below))!r}")
    items = children(value, ref)
    for name in below:
        if name not in items:
            raise ValueError(_no_such_field(value, name, list(items), ref))
    return _replace_children(
        value, {name: _rebuild(items[name], below[name], ref.child(value, name)) for name in below}, ref
    )


def _coerce_given(given: object, current: object, ref: FieldRef) -> Any:
    """Coerces a given value to the type of the field. A text is parsed first."""
    hint = ref.hint
    expected = ""
    if accepts_anything(hint) and current is not None:
        hint = type(current) if is_leaf(given) else Any
    for value in _parsed_values(given) if isinstance(given, str) else [given]:
        try:
            return coerce(value, hint)
        except TypeError as error:
            expected = expected or str(error)
    message = f"{ref.dotted}={_shown(given)}: {ref.field} takes {expected}"
    if not is_leaf(current):
        message += (
            f"; to change the {type(current).__name__} that is there, set its {', '.join(children(current, ref))}"
        )
    raise ValueError(message)


def _shown(given: object) -> str:
    if isinstance(given, str):
        return given if len(given) <= _SHOWN else f"{given[:_SHOWN]}... ({len(given):,} characters)"
    return type(given).__name__ if dataclasses.is_dataclass(given) else repr(given)


def _parsed_values(text: str) -> list[object]:
    """Returns the possible values of a text: the literal, if it is one, and the text itself."""
    if text.lstrip("+-").lower() in ("inf", "nan"):
        return [float(text), text]
    try:
        literal = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [text]
    return [text] if isinstance(literal, str) else [literal, text]


def _no_such_field(node: object, name: str, names: list[str], ref: FieldRef) -> str:
    where = ref.dotted
    if dataclasses.is_dataclass(node):
        where = f"{where}: {type(node).__name__}" if ref.path else type(node).__name__
    close = difflib.get_close_matches(name, names, n=1)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    return f"{where} has no field {name!r}; it has {', '.join(names) or 'none'}{hint}"


def _replace_children(node: Any, changes: dict[str, Any], ref: FieldRef) -> Any:
    if is_plain_tuple(node):
        return tuple(changes.get(str(index), item) for index, item in enumerate(node))
    if is_mapping(node):
        return rebuilt_mapping(node, {**node, **changes})
    settable = {field.name for field in fields(node, ref) if field.init}
    try:
        changed = dataclasses.replace(node, **{name: changes[name] for name in changes.keys() & settable})
    except ValueError as error:
        raise ValueError(f"{ref.dotted}: {error}" if ref.path else str(error)) from error
    for name in changes.keys() - settable:
        follows = getattr(changed, name)
        if follows != changes[name]:
            where = ".".join((*ref.path, name))
            raise ValueError(
                f"{where} follows from the other fields, is {follows!r} and can't be set to {changes[name]!r}"
            )
    return changed
