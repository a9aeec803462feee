"""Overrides by text and by value: their effect and their error messages."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import flax.linen as nn
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr import tree


class Shape(Protocol):
    def area(self) -> float: ...


@dataclass(frozen=True)
class Block:
    width: int = 8
    heads: int = 2
    area_scale: float = 1.0

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} isn't divisible by heads {self.heads}")

    def area(self) -> float:
        return self.width * self.area_scale


@dataclass(frozen=True)
class Encoder:
    depth: int = 6
    rate: float = 0.1
    kind: Literal["lstm", "gru"] = "lstm"
    name: str = ""
    bias: bool = True
    limit: int | None = None
    seconds: tuple[float, ...] = (6.0, 12.0)
    pair: tuple[int, str] = (1, "a")
    block: Block = Block()
    blocks: tuple[Block, ...] = (Block(), Block(4))
    evals: Mapping[str, Block] = field(default_factory=lambda: {"test-other": Block()})
    shape: Shape = Block()
    free: Any = 0.5
    size: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "size", self.depth * self.block.width)


BLOCKS = st.builds(Block, st.integers(1, 9).map(lambda n: 2 * n), area_scale=st.floats(allow_nan=False))
INTEGERS = st.integers(-(2**40), 2**40)  # a product of two has at most 63 bits
ENCODERS = st.builds(
    Encoder,
    depth=INTEGERS,
    rate=st.floats(allow_nan=False),
    kind=st.sampled_from(["lstm", "gru"]),
    name=st.text(),
    bias=st.booleans(),
    limit=st.none() | INTEGERS,
    seconds=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    pair=st.tuples(INTEGERS, st.text()),
    block=BLOCKS,
    blocks=st.tuples(BLOCKS, BLOCKS),
    evals=st.fixed_dictionaries({"test-other": BLOCKS}),
    shape=BLOCKS,
    free=st.floats(allow_nan=False),
)


@given(ENCODERS, ENCODERS)
def test_the_leaves_of_another_tree_make_it(one, other):
    changed = tree.override(one, tree.flatten(other))
    assert changed == other
    assert tree.render(changed) == tree.render(other)
    assert (tree.difference(tree.render(one), tree.render(other)) == []) == (tree.render(one) == tree.render(other))


@given(ENCODERS, ENCODERS)
def test_the_text_of_another_tree_makes_it(one, other):
    texts = {path: value if isinstance(value, str) else repr(value) for path, value in tree.flatten(other).items()}
    assert tree.override(one, texts) == other


@pytest.mark.parametrize(
    ("argument", "path", "value"),
    [
        ("depth=4", "depth", 4),
        ("depth = 1_000", "depth", 1000),
        ("rate=1", "rate", 1.0),
        ("rate=1e-3", "rate", 0.001),
        ("rate=-inf", "rate", -math.inf),
        ("kind=gru", "kind", "gru"),
        ("name=3", "name", "3"),
        ("name=None", "name", "None"),
        ("name=a=b", "name", "a=b"),
        ("name=", "name", ""),
        ("bias=False", "bias", False),
        ("limit=3", "limit", 3),
        ("limit=None", "limit", None),
        ("seconds=(1, 2.5, 3)", "seconds", (1.0, 2.5, 3.0)),
        ("seconds=4,5", "seconds", (4.0, 5.0)),
        ("seconds=()", "seconds", ()),
        ("seconds.1=24", "seconds", (6.0, 24.0)),
        ("pair.1=3", "pair", (1, "3")),
        ("blocks.1.width=6", "blocks", (Block(), Block(6))),
        ("evals.test-other.width=6", "evals", {"test-other": Block(6)}),
        ("shape.width=6", "shape", Block(6)),
        ("free=2", "free", 2.0),
        ("size=48", "size", 48),
    ],
)
def test_text_is_read_by_the_type_of_its_field(argument, path, value):
    changed = tree.override(Encoder(), tree.parse([argument]))
    assert getattr(changed, path) == value
    assert repr(getattr(changed, path)) == repr(value)
    assert dataclasses.replace(changed, **{} if path == "size" else {path: getattr(Encoder(), path)}) == Encoder()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dept": 4}, "^Encoder has no field 'dept'; it has depth, rate, .*Did you mean 'depth'[?]$"),
        ({"block.blok": 4}, "^block: Block has no field 'blok'; it has width, heads, area_scale$"),
        ({"blocks.2.width": 4}, "^blocks has no field '2'; it has 0, 1$"),
        ({"evals.test-othr.width": 4}, "^evals has no field 'test-othr'; it has test-other. Did you mean 'test-other'"),
        ({"depth.x": 4}, "^depth is 6 and has nothing below it, so no 'x'$"),
        ({"depth": "six"}, "^depth=six: Encoder.depth takes int$"),
        ({"depth": 4.0}, "^depth=4.0: Encoder.depth takes int$"),
        ({"depth": "True"}, "^depth=True: Encoder.depth takes int$"),
        ({"depth": np.int64(3)}, r"^depth=np.int64\(3\): Encoder.depth takes int$"),
        ({"depth": None}, "^depth=None: Encoder.depth takes int$"),
        ({"rate": True}, "^rate=True: Encoder.rate takes float$"),
        ({"rate": np.float64(3)}, r"^rate=np.float64\(3.0\): Encoder.rate takes float$"),
        ({"bias": "true"}, "^bias=true: Encoder.bias takes True or False$"),
        ({"bias": 1}, "^bias=1: Encoder.bias takes True or False$"),
        ({"name": 3}, "^name=3: Encoder.name takes str$"),
        ({"kind": "rnn"}, "^kind=rnn: Encoder.kind takes one of 'lstm', 'gru'$"),
        ({"limit": "x"}, "^limit=x: Encoder.limit takes int or None$"),
        ({"seconds": "(1, 'a')"}, r"seconds=\(1, 'a'\): Encoder.seconds takes tuple\[float, ...\]$"),
        ({"seconds": [1.0]}, r"seconds=\[1.0\]: Encoder.seconds takes tuple\[float, ...\]$"),
        ({"seconds.0": "a"}, r"seconds.0=a: Encoder.seconds.0 takes float$"),
        ({"pair": (1, "a", 2)}, r"takes tuple\[int, str\]$"),
        ({"pair.0": "a"}, r"pair.0=a: Encoder.pair.0 takes int$"),
        (
            {"block": "3"},
            "^block=3: Encoder.block takes Block; to change the Block that is there, set its width, heads",
        ),
        ({"block": Encoder()}, "^block=Encoder: Encoder.block takes Block;"),
        ({"shape": 3}, "^shape=3: Encoder.shape takes Shape;"),
        ({"evals": {"a": 3}}, r"^evals={'a': 3}: Encoder.evals takes Mapping\[str, Block\];"),
        ({"free": "x"}, "^free=x: Encoder.free takes float$"),
        ({"block.width": 7}, "^block: width 7 isn't divisible by heads 2$"),
        ({"size": 3}, "^size follows from the other fields, is 48 and can't be set to 3$"),
        ({"a..b": 3}, "'a..b' is no path"),
        ({"": 3}, "'' is no path"),
    ],
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        tree.override(Encoder(), changes)


def test_changes_of_one_node_are_made_at_once():
    changed = tree.override(Encoder(), {"block.width": "9", "block.heads": "3"})
    assert changed.block == Block(9, 3)
    assert changed.size == 54


def test_whole_nodes_are_values_and_may_be_changed_in_the_same_call():
    assert tree.override(Encoder(), {"block.heads": 5, "block": Block(10)}).block == Block(10, 5)
    assert tree.override(Encoder(), {"evals": {"dev": Block(2)}, "evals.dev.width": 4}).evals == {"dev": Block(4)}
    assert tree.override(Encoder(), {"free": Block(2)}).free == Block(2)


def test_what_does_not_change_is_shared():
    encoder = Encoder()
    changed = tree.override(encoder, {"depth": 1})
    assert changed.evals is encoder.evals
    assert encoder.depth == 6
    assert tree.override(encoder, {}) is encoder


@pytest.mark.parametrize("argument", ["depth", "=4", "a..b=4", ".a=4", "a b=4", "--depth=4", "", "a.=1"])
def test_a_malformed_argument_is_shown_a_good_one(argument):
    with pytest.raises(ValueError, match=r"is no override: write path=value, as in model.encoder.depth=4"):
        tree.parse([argument])


def test_a_path_given_twice_is_refused():
    assert tree.parse(["a.b=1", "a.c = 2"]) == {"a.b": "1", "a.c": "2"}
    with pytest.raises(ValueError, match=r"a\.b is given twice: '1' and '2'"):
        tree.parse(["a.b=1", "a.b=2"])


class Layer(nn.Module):
    width: int = 3

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x)


class Model(nn.Module):
    layer: nn.Module
    layers: tuple[nn.Module, ...] = ()
    rate: float = 0.1

    def __call__(self, x):
        for layer in (self.layer, *self.layers):
            x = layer(x)
        return x


def test_linen_modules_are_rebuilt_unbound_and_work():
    model = Model(Layer(4), (Layer(1), Layer(2)))
    changed = tree.override(model, {"layer.width": "5", "layers.1.width": 7, "rate": "1"})
    assert changed == Model(Layer(5), (Layer(1), Layer(7)), 1.0)
    assert hash(changed) == hash(Model(Layer(5), (Layer(1), Layer(7)), 1.0))
    assert hash(changed) != hash(model)
    assert changed.layer.parent is None
    params = changed.init(jax.random.key(0), np.ones((1, 2), np.float32))["params"]
    assert params["layer"]["Dense_0"]["kernel"].shape == (2, 5)
    assert params["layers_1"]["Dense_0"]["kernel"].shape == (1, 7)
    swapped = tree.override(model, {"layer": nn.Dense(2), "layer.features": 3})
    assert swapped.layer == nn.Dense(3)
    with pytest.raises(ValueError, match=r"^Model has no field 'name'; it has layer, layers, rate$"):
        tree.override(model, {"name": "x"})


@pytest.mark.parametrize("digits", [20, 400, 5_000])
def test_a_number_of_more_than_63_bits_is_an_error_with_a_short_message(digits):
    """NumPy, JAX and other readers of JSON have no such integers."""
    for path in ("depth", "limit", "block.width"):
        with pytest.raises(ValueError, match=rf"{path}=9+.* takes ") as found:
            tree.override(Encoder(), {path: "9" * digits})
        assert len(str(found.value)) < 400
    with pytest.raises(ValueError, match=r"depth is .*; Encoder.depth takes numbers of at most 63 bits"):
        tree.flatten(dataclasses.replace(Encoder(), depth=10 ** min(digits, 400), block=Block()))


def test_an_integer_of_many_bits_may_be_a_float_unless_it_overflows():
    assert tree.override(Encoder(), {"rate": "1" + "0" * 30}).rate == 1e30
    with pytest.raises(
        ValueError, match=r"rate=9+\.\.\. \(400 characters\): Encoder.rate takes numbers of at most 63 bits"
    ):
        tree.override(Encoder(), {"rate": "9" * 400})
