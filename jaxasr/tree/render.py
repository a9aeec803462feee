"""From a tree to lines.

Nodes are frozen dataclasses (Flax Linen modules too), tuples and dictionaries with str keys. Leaves are int, float,
bool, str, None, tuples of leaves and empty dictionaries. `parent` and `name` of a Linen module and fields declared
with `metadata={"show": False}` aren't part of the tree.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jaxasr.tree.types import FieldRef, coerce

Leaf = bool | int | float | str | tuple | dict | None


def flatten(node: object) -> dict[str, Leaf]:
    """The leaves by their dotted paths; what is in a tuple or dictionary goes by its index or key.

    Raises:
        ValueError: something in the tree is neither node nor leaf (a function, an array, a list), or isn't of the type
            that its field declares.
    """
    return {".".join(path): value for path, value in _walk(node, FieldRef()) if not dataclasses.is_dataclass(value)}


def render(node: object) -> str:
    """One line `path = value` for each leaf and each dataclass (its class name), sorted; no newline at the end.

    The same on every machine: floats as Python's shortest repr, strings as JSON. Raises like `flatten`.
    """
    rows = sorted(_walk(node, FieldRef()), key=lambda row: _sort_key(row[0]))
    return "\n".join(f"{'.'.join(path) or '.'} = {_text(value)}" for path, value in rows)


def defaults(node: object) -> tuple[str, ...]:
    """The paths whose values nobody chose: they are what the fields' declarations say. Raises like `flatten`."""
    rows = (path for path, _ in _walk(node, FieldRef()))
    unchosen = set(_default_paths(node, FieldRef()))
    return tuple(".".join(path) for path in rows if any(path[: n + 1] in unchosen for n in range(len(path))))


def fingerprint(node: object) -> str:
    """8 hex digits of the rendered lines that somebody chose, so that a new option leaves a tree what it was.

    Raises like `flatten`.
    """
    left_out = set(defaults(node))
    lines = [line for line in render(node).split("\n") if line.partition(" = ")[0] not in left_out]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def difference(a: str, b: str, *, new_defaults: Iterable[str] = ()) -> list[str]:
    """What changes from one rendered tree to another, as lines: `model.depth: 6 -> 4`, `seed: absent -> 0`.

    Args:
        new_defaults: paths of `b` that may be absent in `a`, because it was rendered before there was such an option.
    """
    values_a, values_b = (dict(line.split(" = ", 1) for line in text.split("\n") if line) for text in (a, b))
    values_b = {path: value for path, value in values_b.items() if path in values_a or path not in set(new_defaults)}
    paths = sorted(values_a.keys() | values_b.keys(), key=lambda path: _sort_key(tuple(path.split("."))))
    pairs = ((path, values_a.get(path, "absent"), values_b.get(path, "absent")) for path in paths)
    return [f"{path}: {was} -> {now}" for path, was, now in pairs if was != now]


def is_leaf(value: object) -> bool:
    """Whether it is written on one line, as a whole."""
    if type(value) is tuple:
        return all(map(is_leaf, value))
    return value is None or type(value) in (bool, int, float, str) or (type(value) is dict and not value)


def children(node: object, ref: FieldRef) -> dict[str, Any]:
    """What is directly below a node, by name; a tuple of leaves has children too.

    Raises:
        ValueError: what stands at the slot is no node.
    """
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {field.name: getattr(node, field.name) for field in fields(node, ref)}
    if isinstance(node, tuple) and type(node) is tuple:
        return {str(index): item for index, item in enumerate(node)}
    if isinstance(node, Mapping):
        wrong = [key for key in node if not isinstance(key, str) or not key or "." in key]
        if wrong:
            raise ValueError(f"{ref.dotted} has the keys {wrong}; a key is a str without a dot, to be part of a path")
        return dict(node)
    if callable(node):
        name = getattr(node, "__qualname__", type(node).__name__)
        raise ValueError(
            f"{ref.dotted} is the function or class {name}, which can't be written down and compared: choose by a "
            "Literal, or make it a frozen dataclass that is called"
        )
    raise ValueError(
        f"{ref.dotted} is {node!r} ({type(node).__module__}.{type(node).__name__}); a tree holds plain int, float, "
        "bool, str, None, tuples, dictionaries and frozen dataclasses"
    )


def fields(node: Any, ref: FieldRef) -> list[dataclasses.Field]:
    """The fields of a dataclass that are part of the tree. Raises ValueError if it isn't frozen."""
    every = dataclasses.fields(node)
    is_linen = {"parent", "name"} <= {field.name for field in every} and hasattr(node, "clone")
    if not is_linen and not type(node).__dataclass_params__.frozen:
        raise ValueError(f"{ref.dotted}: {type(node).__name__} isn't frozen; make it @dataclass(frozen=True)")
    hidden = {"parent", "name"} if is_linen else set()
    return [field for field in every if field.name not in hidden and field.metadata.get("show", True)]


def _walk(value: object, ref: FieldRef) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Leaves and dataclasses with their paths."""
    if is_leaf(value):
        yield ref.path, _coerced(value, ref)
        return
    below = children(value, ref)
    if dataclasses.is_dataclass(value):
        yield ref.path, _coerced(value, ref)
    for name, child in below.items():
        yield from _walk(child, ref.child(value, name))


def _default_paths(value: object, ref: FieldRef) -> Iterator[tuple[str, ...]]:
    """The topmost paths that hold their declared defaults."""
    if is_leaf(value):
        return
    declared = _declared_defaults(value, ref) if dataclasses.is_dataclass(value) else {}
    for name, child in children(value, ref).items():
        below = ref.child(value, name)
        if name in declared and render(child) == render(declared[name]):
            yield below.path
        else:
            yield from _default_paths(child, below)


def _declared_defaults(node: Any, ref: FieldRef) -> dict[str, Any]:
    """The fields' defaults by name."""
    missing = dataclasses.MISSING
    made = {f.name: f.default_factory() for f in fields(node, ref) if f.default_factory is not missing}
    return made | {f.name: f.default for f in fields(node, ref) if f.default is not missing}


def _coerced(value: object, ref: FieldRef) -> Any:
    try:
        return coerce(value, ref.hint)
    except TypeError as error:
        raise ValueError(f"{ref.dotted} is {value!r}; {ref.field} takes {error}") from None


def _sort_key(path: tuple[str, ...]) -> list[tuple[int, str]]:
    """Indices by number: 2 before 10."""
    return [(int(name) if name.isdecimal() else -1, name) for name in path if name]


def _text(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return type(value).__name__
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' * (len(value) == 1)})"
    return repr(value)
