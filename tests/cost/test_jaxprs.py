"""Tests of the adapter for jaxprs: one for each property of JAX that it depends on."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from jaxasr.cost.jaxprs import Equation, Graph, dtype_of, is_literal, literal, shape_of, trace

ROOT = Path(__file__).parents[2]
ADAPTER, READERS = "jaxasr/cost/jaxprs.py", ("jaxasr/cost/hlo.py", "jaxasr/cost/hlo_groups.py")
SNIPPETS = tuple(f"tests/cost/test_{name}.py" for name in ("hlo", "collectives", "traffic", "jaxprs"))
OF_JAXPRS = {"eqns", "invars", "outvars", "constvars", "jaxpr", "aval", "primitive", "source_info", "name_stack"}
PARAMETERS = (
    "num_carry",
    "num_consts",
    "ft_out",
    "ft_in",
    "cond_jaxpr",
    "body_jaxpr",
    "call_jaxpr",
    "branches_platforms",
)
OF_HLO = (
    "HloModule",
    "replica_groups=",
    "source_target_pairs=",
    "custom_call_target=",
    "to_apply=",
    "known_trip_count",
)
SQUARE = jax.ShapeDtypeStruct((4, 4), jnp.float32)


def only(function, name, *shapes) -> Equation:
    """Returns the only equation of a primitive in a function, also from inner graphs."""
    (found,) = [equation for equation in trace(function, *shapes or (SQUARE,)).everything() if equation.name == name]
    return found


def test_a_graph_has_inputs_results_constants_and_equations():
    table = jnp.arange(3.0)
    graph = trace(lambda x: (x + 2.5, x[0, :3] * table), SQUARE)
    assert [shape_of(atom) for atom in graph.inputs] == [(4, 4)]
    assert [shape_of(atom) for atom in graph.results] == [(4, 4), (3,)]
    assert [np.asarray(value).tolist() for _, value in graph.constants] in ([[0.0, 1.0, 2.0]], [])  # in place in 0.12
    (add,) = [equation for equation in graph.equations if equation.name == "add"]
    assert add.operands[0] is graph.inputs[0]
    assert add.results[0] is graph.results[0]
    assert (is_literal(add.operands[0]), is_literal(add.operands[1])) == (False, True)
    assert float(literal(add.operands[1])) == 2.5
    assert dtype_of(add.results[0]) == jnp.float32
    assert not add.has_effects


def test_closed_and_open_graphs_are_the_same():
    closed = jax.make_jaxpr(lambda x: jnp.sin(x) + x)(SQUARE)
    assert [equation.name for equation in Graph(closed).equations] == ["sin", "add"]
    remat = only(jax.checkpoint(lambda x: jnp.sin(x) + x), "remat2")  # of which 0.10 keeps the open one
    assert [equation.name for equation in remat.called[0].equations] == ["sin", "add"]


def test_scopes_are_names():
    with jax.named_scope("outer"):
        assert only(lambda x: jnp.sin(x), "sin").scope == ""  # of the trace alone

    def named(x):
        with jax.named_scope("inner"):
            return jnp.sin(x)

    assert only(named, "sin").scope == "inner"


def test_a_scan_knows_its_length_and_what_it_carries():
    def function(x):
        return lax.scan(lambda c, y: ((c[0] @ x, c[1] + 1), (c[0][0], y * 2, -y)), (x, 0), jnp.arange(7.0))

    scan = only(function, "scan")
    assert (scan.scan_length, scan.carried, len(scan.results)) == (7, 2, 5)
    assert [equation.name for equation in scan.called[0].equations if equation.name == "dot_general"] == ["dot_general"]
    assert only(lambda x: lax.map(jnp.sin, x), "scan").carried == 0
    gradient = list(trace(jax.grad(lambda x: function(x)[0][0].sum()), SQUARE).everything())
    for scan in (equation for equation in gradient if equation.name == "scan"):
        assert 1 <= scan.carried <= 3
        body = scan.called[0]
        for kept, given in zip(scan.results[: scan.carried], body.results, strict=False):
            assert shape_of(kept) == shape_of(given)  # what is stacked has an axis more


def test_a_while_loop_tells_its_constants_apart():
    def function(x, limit, by):
        return lax.while_loop(lambda c: c[0] < limit, lambda c: (c[0] + 1, c[1] @ by @ by), (0, x))

    loop = only(function, "while", SQUARE, jax.ShapeDtypeStruct((), jnp.int32), SQUARE)
    condition, body, condition_constants, body_constants = loop.loop
    assert (condition_constants, body_constants) == (1, 1)
    assert len(loop.operands) == 4
    assert "lt" in [equation.name for equation in condition.equations]
    assert [equation.name for equation in body.equations].count("dot_general") == 2


def test_branches_come_in_order_and_say_who_decides():
    switch = only(
        lambda i, x: lax.switch(i, (jnp.sin, jnp.cos), x), "cond", jax.ShapeDtypeStruct((), jnp.int32), SQUARE
    )
    assert [[equation.name for equation in branch.equations] for branch in switch.called] == [["sin"], ["cos"]]
    assert not switch.platform_decides
    assert only(lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos), "cond").platform_decides


@jax.custom_vjp
def _cube(x):
    return x @ x @ x


_cube.defvjp(lambda x: (_cube(x), x), lambda x, d: (d @ x,))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("jit", jax.jit(lambda x: x @ x @ x)),
        ("custom_vjp_call", _cube),
        ("custom_jvp_call", jax.nn.relu),
        ("remat2", jax.checkpoint(lambda x: x @ x @ x)),
    ],
)
def test_a_call_has_one_graph(name, function):
    (call,) = [equation for equation in trace(lambda x: function(x) + 1, SQUARE).equations if equation.name == name]
    assert len(call.called) == 1
    assert len(call.called[0].inputs) == len(call.operands)


def test_work_on_a_mesh_knows_its_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    split = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    assert only(split, "shard_map", jax.ShapeDtypeStruct((8, 3), jnp.float32)).devices == 4
    assert only(jnp.sin, "sin").devices == 1


def test_a_primitive_that_is_expanded_later_is_expanded():
    """jax 0.12 has such a primitive for a search in a sorted array."""
    search = trace(jnp.searchsorted, jax.ShapeDtypeStruct((8,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32))
    late = [equation for equation in search.everything() if equation.name == "call_hi_primitive"]
    assert all(equation.label == "call_hi_primitive SearchSorted" and len(equation.called) == 1 for equation in late)
    assert [equation.name for equation in search.everything()].count("scan") == 1


def test_products_windows_transforms_and_sorts():
    product = only(lambda x: lax.dot_general(x, x, (((0,), (0,)), ((), ())), precision="highest"), "dot_general")
    assert product.contracted == (0,)
    assert product.precision == (lax.Precision.HIGHEST, lax.Precision.HIGHEST)
    assert only(lambda x: x @ x, "dot_general").precision == ()
    window = only(lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3), (1, 1), "VALID"), "reduce_window_sum")
    assert window.window == (1, 3)
    for function, real in ((jnp.fft.rfft, True), (jnp.fft.fft, False)):
        spectrum = only(function, "fft")
        assert (spectrum.transformed, spectrum.is_real) == ((4,), real)
    assert only(lambda x: jnp.sort(x, axis=0), "sort").sorted_axis == 0
    assert only(lambda x: lax.top_k(x, 2), "top_k").sorted_axis == 1
    assert only(lambda x: lax.approx_max_k(x, 2), "approx_top_k").sorted_axis == -1


def test_a_convolution_says_how_it_lies():
    def convolve(x, w):
        return lax.conv_general_dilated(
            x, w, (2,), [(1, 3)], lhs_dilation=(1,), rhs_dilation=(2,), dimension_numbers=("NWC", "WIO", "NWC")
        )

    shapes = (jax.ShapeDtypeStruct((2, 9, 6), jnp.float32), jax.ShapeDtypeStruct((3, 6, 4), jnp.float32))
    assert only(convolve, "conv_general_dilated", *shapes).convolution == (
        (0, 2, 1),
        (2, 1, 0),
        (0, 2, 1),
        (2,),
        ((1, 3),),
        (1,),
        (2,),
    )


def test_a_jitted_function_is_traced_once():
    traced = []

    @jax.jit
    def function(x):
        traced.append(x.shape)
        return x + 1

    trace(function, SQUARE)
    function(jnp.ones((4, 4)))
    assert traced == [(4, 4)]


def python_files():
    for folder in ("jaxasr", "experiments", "tests", "launch"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def attributes(tree):
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def texts(tree):
    """The strings that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    own = [
        node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node) is not None
    ]
    docstrings = {expression.value for expression in own if isinstance(expression, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in docstrings)
    return [node.value for node in constants if isinstance(node.value, str)]


def names(tree):
    """What is imported, and from where."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_other_file_reads_jaxprs():
    found = {}
    for path, tree in python_files():
        if path in (ADAPTER, "tests/cost/test_jaxprs.py"):
            continue
        found[path] = sorted(attributes(tree) & OF_JAXPRS) + [text for text in texts(tree) if text in PARAMETERS]
        makes_primitives = path in ("tests/cost/test_flops.py", "tests/cost/test_flops_structure.py")
        found[path] += ["jax.extend.core"] * ("jax.extend.core" in names(tree) and not makes_primitives)
    assert {path: what for path, what in found.items() if what} == {}, (
        f"{ADAPTER} has what is needed, or should have it"
    )


def test_no_other_file_reads_the_text_of_compiled_programs():
    found = {}
    for path, tree in python_files():
        if path in READERS:
            continue
        marks = [mark for mark in OF_HLO if any(mark in text for text in texts(tree))] if path not in SNIPPETS else []
        asks = "as_text" in attributes(tree) and "jaxasr.cost.hlo.read_program" not in names(tree)
        found[path] = marks + ["as_text"] * asks + sorted(attributes(tree) & {"attributes"})
    assert {path: what for path, what in found.items() if what} == {}, (
        f"{READERS[0]} has what is needed, or should have it"
    )
