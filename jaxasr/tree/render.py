"""Rendering of configuration trees as text lines: flattening, defaults, fingerprints and differences.

Nodes are frozen dataclasses (Flax Linen modules too), tuples and dictionaries with str keys. Leaves are int, float,
bool, str, None, tuples of leaves and empty dictionaries. `parent` and `name` of a Linen module and fields declared
with `metadata={"show": False}` are not part of the tree.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from jaxasr.tree.types import FieldRef, coerce, is_mapping, is_plain_tuple

_SHOWN = 80  # characters of a value in an error message
Leaf = bool | int | float | str | tuple[Any, ...] | dict[str, Any] | None


def flatten(node: object) -> dict[str, Leaf]:
    """Returns the leaves by their dotted paths. The path of an item in a tuple or dictionary has its index or key.

    Raises:
        ValueError: a value in the tree is neither node nor leaf (a function, an array, a list), or is not of the type that
            its field declares.
    """
    return {".".join(path): value for path, value in _walk(node, FieldRef()) if not dataclasses.is_dataclass(value)}


def render(node: object) -> str:
    """Renders one line `path = value` for each leaf and each dataclass (its class name), sorted, without a final newline.

    The text is equal on every machine: floats are Python's shortest repr, strings are JSON. Raises like `flatten`.
    """
    rows = sorted(_walk(node, FieldRef()), key=lambda row: _sort_key(row[0]))
    return "\n".join(f"{'.'.join(path) or '.'} = {_text(value)}" for path, value in rows)


def defaults(node: object) -> tuple[str, ...]:
    """Returns the paths whose values are the defaults of their fields. Raises like `flatten`."""
    rows = (path for path, _ in _walk(node, FieldRef()))
    at_default = set(_default_paths(node, FieldRef()))
    return tuple(".".join(path) for path in rows if any(path[: n + 1] in at_default for n in range(len(path))))


def fingerprint(node: object) -> str:
    """Returns a hash, 8 hex digits, of the rendered lines that differ from the defaults.

    A new field with a default therefore does not change fingerprints. Raises like `flatten`.
    """
    left_out = set(defaults(node))
    lines = [line for line in render(node).split("\n") if line.partition(" = ")[0] not in left_out]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def difference(a: str, b: str, *, new_defaults: Iterable[str] = ()) -> list[str]:
    """Lists the differences between two rendered trees as lines: `model.depth: 6 -> 4`, `seed: absent -> 0`.

    Args:
        new_defaults: paths of `b` that may be absent in `a`, because `a` was rendered before these fields existed.
    """
    values_a, values_b = (dict(line.split(" = ", 1) for line in text.split("\n") if line) for text in (a, b))
    values_b = {path: value for path, value in values_b.items() if path in values_a or path not in set(new_defaults)}
    paths = sorted(values_a.keys() | values_b.keys(), key=lambda path: _sort_key(tuple(path.split("."))))
    pairs = ((path, values_a.get(path, "absent"), values_b.get(path, "absent")) for path in paths)
    return [f"{path}: {was} -> {now}" for path, was, now in pairs if was != now]


def is_below(line: str, paths: Iterable[str]) -> bool:
    """Returns True if a line of `difference` is about one of these paths, or about a path below one."""
    path = line.partition(":")[0]
    return any(path == above or path.startswith(f"{above}.") for above in paths)


def is_leaf(value: object) -> bool:
    """Returns True for a value that is rendered as a whole on one line."""
    if is_plain_tuple(value):
        return all(map(is_leaf, value))
    return value is None or type(value) in (bool, int, float, str) or (type(value) is dict and not value)


def children(node: object, ref: FieldRef) -> dict[str, Any]:
    """Returns the fields or items of a node by name. A tuple of leaves has children too.

    Raises:
        ValueError: the value is not a node.
    """
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {field.name: getattr(node, field.name) for field in fields(node, ref)}
    if is_plain_tuple(node):
        return {str(index): item for index, item in enumerate(node)}
    if is_mapping(node):
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


def fields(node: Any, ref: FieldRef) -> list[dataclasses.Field[Any]]:
    """Returns the fields of a dataclass that are part of the tree. Raises ValueError if the dataclass is not frozen."""
    every = dataclasses.fields(node)
    is_linen = {"parent", "name"} <= {field.name for field in every} and hasattr(node, "clone")
    if not is_linen and not node.__dataclass_params__.frozen:
        raise ValueError(f"{ref.dotted}: {type(node).__name__} isn't frozen; make it @dataclass(frozen=True)")
    hidden: set[str] = {"parent", "name"} if is_linen else set()
    return [field for field in every if field.name not in hidden and field.metadata.get("show", True)]


def _walk(value: object, ref: FieldRef) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields leaves and dataclasses with their paths."""
    if is_leaf(value):
        yield ref.path, _coerced(value, ref)
        return
    below = children(value, ref)
    if dataclasses.is_dataclass(value):
        yield ref.path, _coerced(value, ref)
    for name, child in below.items():
        yield from _walk(child, ref.child(value, name))


def _default_paths(value: object, ref: FieldRef) -> Iterator[tuple[str, ...]]:
    """Yields the topmost paths whose values are their declared defaults."""
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
    """Returns the defaults of the fields by name."""
    missing = dataclasses.MISSING
    made = {f.name: f.default_factory() for f in fields(node, ref) if f.default_factory is not missing}
    return made | {f.name: f.default for f in fields(node, ref) if f.default is not missing}


def _coerced(value: object, ref: FieldRef) -> Any:
    try:
        return coerce(value, ref.hint)
    except TypeError as error:
        shown = repr(value) if len(repr(value)) <= _SHOWN else f"{repr(value)[:_SHOWN]}..."
        raise ValueError(f"{ref.dotted} is {shown}; {ref.field} takes {error}") from None


def _sort_key(path: tuple[str, ...]) -> list[tuple[int, str]]:
    """Returns a sort key that orders indices as numbers: 2 before 10."""
    return [(int(name) if name.isdecimal() else -1, name) for name in path if name]


def _text(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return type(value).__name__
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if is_plain_tuple(value):
        return f"({', '.join(map(_text, value))}{',' * (len(value) == 1)})"
    return repr(value)
