"""A tree as lines: their content and order, and the errors for unsupported values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import flax.linen as nn
import numpy as np
import pytest

from jaxasr import tree


@dataclass(frozen=True)
class Encoder:
    depth: int = 6
    rate: float = 0.1
    kind: Literal["lstm", "gru"] = "lstm"
    widths: tuple[float, ...] = (320.0, 640.0)


@dataclass(frozen=True)
class Run:
    encoders: tuple[Encoder, ...] = (Encoder(),)
    evals: Mapping[str, Encoder] = field(default_factory=lambda: {"test-other": Encoder(depth=1)})
    label: str | None = None
    empty: tuple[int, ...] = ()
    none: Mapping[str, int] = field(default_factory=dict)
    deterministic: bool = True
    folder: Path = field(default=Path(), metadata={"show": False})


RENDERED = """\
. = Run
deterministic = True
empty = ()
encoders.0 = Encoder
encoders.0.depth = 6
encoders.0.kind = "lstm"
encoders.0.rate = 0.1
encoders.0.widths = (320.0, 640.0)
evals.test-other = Encoder
evals.test-other.depth = 1
evals.test-other.kind = "lstm"
evals.test-other.rate = 0.1
evals.test-other.widths = (320.0, 640.0)
label = None
none = {}"""


class Block(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x)


class Stack(nn.Module):
    block: nn.Module
    depth: int = 2


@dataclass(frozen=True)
class Anything:
    value: Any


@dataclass
class Loose:
    value: int = 1


def test_render_is_one_sorted_line_a_leaf():
    assert tree.render(Run()) == RENDERED


def test_flatten_has_the_leaves():
    flat = tree.flatten(Run())
    assert flat["encoders.0.widths"] == (320.0, 640.0)
    assert flat["label"] is None
    assert len(flat) == RENDERED.count("\n") + 1 - 3  # without the lines of the three dataclasses
    assert not any("folder" in path for path in flat)


def test_defaults_are_the_paths_that_nobody_chose():
    assert set(tree.defaults(Run())) == set(tree.render(Run()).replace(" = ", "\n").split("\n")[::2]) - {"."}
    chosen = Run(encoders=(Encoder(depth=3), Encoder()), label="two")
    assert {"encoders.0.rate", "encoders.1.depth", "deterministic", "evals.test-other.depth"} <= set(
        tree.defaults(chosen)
    )
    assert not {"encoders.0.depth", "encoders.0", "label", "."} & set(tree.defaults(chosen))
    assert tree.defaults({"block": Stack(Block(8))}) == ("block.block.width", "block.depth")


def test_a_new_option_at_its_default_changes_neither_fingerprint_nor_difference():
    @dataclass(frozen=True)
    class Old:
        depth: int

    @dataclass(frozen=True)
    class New:
        depth: int
        block: Encoder = Encoder()

    New.__name__ = "Old"
    assert tree.fingerprint(Old(3)) == tree.fingerprint(New(3)) != tree.fingerprint(New(3, Encoder(depth=1)))
    old = tree.render(Old(3))
    new = tree.render(New(3))
    assert len(tree.difference(old, new)) == 5
    assert tree.difference(old, new, new_defaults=tree.defaults(New(3))) == []
    other = New(3, Encoder(depth=1))
    found = tree.difference(old, tree.render(other), new_defaults=tree.defaults(other))
    assert found == ["block: absent -> Encoder", "block.depth: absent -> 1"]
    assert tree.difference(new, old, new_defaults=tree.defaults(Old(3)))[0] == "block: Encoder -> absent"


def test_the_fingerprint_is_that_of_what_was_chosen():
    assert tree.fingerprint(Run()) == tree.fingerprint(Run(folder=Path("elsewhere")))
    assert tree.fingerprint(Run()) != tree.fingerprint(Run(label="other"))
    assert (
        tree.fingerprint(Run(label="two")) == "e2789e9b"
    )  # the same on every machine and Python: a run is found by it


def test_an_int_in_a_float_field_is_a_float():
    assert tree.render(Encoder(rate=1, widths=(1, 2))) == tree.render(Encoder(rate=1.0, widths=(1.0, 2.0)))
    assert "rate = 1.0" in tree.render(Encoder(rate=1))


def test_indices_sort_by_number():
    lines = tree.render(tuple(Encoder() for _ in range(11))).split("\n")
    starts = [line.split(" = ")[0] for line in lines if line.endswith("= Encoder")]
    assert starts == [str(index) for index in range(11)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\n\"b\" 'c' ü", r'''"a\n\"b\" 'c' ü"'''),
        (1e-3, "0.001"),
        (1e22, "1e+22"),
        (math.inf, "inf"),
        ((1,), "(1,)"),
        (("a", (1, None)), '("a", (1, None))'),
        (True, "True"),
    ],
)
def test_leaves_are_written_one_way(value, text):
    assert tree.render(Anything(value)) == f". = Anything\nvalue = {text}"


def test_a_linen_module_is_a_node():
    assert tree.render(Stack(Block(4))) == ". = Stack\nblock = Block\nblock.width = 4\ndepth = 2"
    assert tree.render(Stack(Block(4, name="inner"), name="outer")) == tree.render(Stack(Block(4)))


def test_any_mapping_is_a_node():
    assert tree.flatten(Anything(MappingProxyType({"a": 1, "b": Encoder()})))["value.b.depth"] == 6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float32(0.5), r"value is np.float32\(0.5\) \(numpy.float32\); a tree holds plain int"),
        (np.float64(0.5), r"numpy.float64"),
        (np.zeros(2), r"numpy.ndarray"),
        ([1, 2], r"value is \[1, 2\] \(builtins.list\)"),
        (nn.gelu, "value is the function or class gelu.*choose by a Literal"),
        (lambda x: x, "function or class .*lambda"),
        (Encoder, "function or class Encoder"),
        ({1: 2}, r"keys \[1\]; a key is a str without a dot"),
        ({"a.b": 2}, "without a dot"),
        (Loose(), "value: Loose isn't frozen"),
        (Path("model"), "PosixPath"),
    ],
)
def test_what_cannot_be_written_down_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        tree.flatten(Anything(value))


def test_a_leaf_of_the_wrong_type_is_refused():
    with pytest.raises(ValueError, match=r"encoders.0.depth is 'six'; Encoder.depth takes int"):
        tree.render(Run(encoders=(Encoder(depth="six"),)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"encoders is \(3,\); Run.encoders takes tuple\[Encoder, ...\]"):
        tree.render(Run(encoders=(3,)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"kind is 'rnn'; Encoder.kind takes one of 'lstm', 'gru'"):
        tree.flatten(Encoder(kind="rnn"))  # pyright: ignore[reportArgumentType]


def test_difference_names_what_changed():
    a = tree.render(Run())
    b = tree.render(Run(encoders=(Encoder(depth=4), Encoder(depth=5)), label="two = lines\nhere"))
    assert tree.difference(a, a) == []
    assert tree.difference(a, b)[:3] == [
        "encoders.0.depth: 6 -> 4",
        "encoders.1: absent -> Encoder",
        "encoders.1.depth: absent -> 5",
    ]
    assert tree.difference(a, b)[-1] == r'label: None -> "two = lines\nhere"'
    assert tree.difference(b, a)[1] == "encoders.1: Encoder -> absent"
