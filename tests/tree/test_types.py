"""Coercion to annotations of every kind that a dataclass may have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import make_dataclass
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union

import pytest

from jaxasr import tree

Number = TypeVar("Number", bound=float)
Hertz = NewType("Hertz", int)
Point = make_dataclass("Point", [("x", int)], frozen=True)


@pytest.mark.parametrize(
    ("hint", "given", "value"),
    [
        (Optional[float], 3, 3.0),  # noqa: UP045
        (Union[int, float], 3, 3),  # noqa: UP007
        (Union[float, int], 3, 3),  # noqa: UP007
        (float | str, "3", 3.0),
        (float | str, "x", "x"),
        (Hertz, "16000", 16000),
        (Number, "3", 3.0),
        (Annotated[float, "seconds"], "3", 3.0),
        ("float", "3", 3.0),
        ("SeenByTypeCheckersOnly", 3, 3),
        (Any, "3", 3),
        (object, "x", "x"),
        (tuple, "(1, 2)", (1, 2)),
        (tuple[tuple[int, float], ...], "((1, 2),)", ((1, 2.0),)),
        (Sequence[str], "('a', 'b')", ("a", "b")),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (dict, "{}", {}),
        (Literal[1, "1", None], "1", 1),
    ],
)
def test_a_value_becomes_what_the_annotation_says(hint, given, value):
    node = make_dataclass("Node", [("field", hint)], frozen=True)(None)
    changed = tree.override(node, {"field": given}).field
    assert repr(changed) == repr(value)


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (tuple[int, ...] | None, "(1, 2.5)", r"tuple\[int, ...\] or None"),
        (Sequence[int], "'ab'", r"Sequence\[int\]"),
        (Mapping[str, int], {"a": "b"}, r"Mapping\[str, int\]"),
        (Literal["a", 1], "True", "one of 'a', 1"),
        (Hertz, "x", "int"),
        (Callable[[int], int], "len", r"Callable\[\[int\], int\]"),
        (Point | Literal["none"], "some", "Point or one of 'none'"),
    ],
)
def test_a_value_of_another_type_is_told_the_right_one(hint, given, expected):
    node = make_dataclass("Node", [("field", hint)], frozen=True)(None)
    with pytest.raises(ValueError, match=f"Node.field takes {expected}$"):
        tree.override(node, {"field": given})


def test_items_have_the_types_of_their_places():
    node = make_dataclass("Node", [("field", tuple[Point, Literal["a", "b"]] | None)], frozen=True)((Point(1), "a"))
    assert tree.override(node, {"field.0.x": "2", "field.1": "b"}).field == (Point(2), "b")
    with pytest.raises(ValueError, match=r"field.1=c: Node.field.1 takes one of 'a', 'b'"):
        tree.override(node, {"field.1": "c"})
    with pytest.raises(ValueError, match=r"field.0=1: Node.field.0 takes Point"):
        tree.override(node, {"field.0": "1"})
