"""The adapter for jaxprs: the only module that reads how JAX represents a traced function.

JAX changes the structure of jaxprs and the parameters of its primitives between minor versions. This module depends on
the following, with jax 0.10 and 0.12 (tests/cost/test_jaxprs.py checks each point on the version that is installed):

* A jaxpr has `invars`, `outvars`, `constvars` and `eqns`. A closed one has `consts` too; before 0.12 it has a separate
  class, and the open one is its `jaxpr`.
* An equation has `primitive.name`, `params`, `invars`, `outvars`, `effects` and `source_info.name_stack`.
* A variable is hashed by identity and has an `aval` with `shape` and `dtype`. A `Literal` also has `val`.
* A jaxpr that a primitive calls is a parameter, or an element of a tuple that is a parameter.
* scan: `jaxpr`, `length`; carried values are the first results. Their number is `num_carry` in 0.10, and in 0.12 the
  length of the first part of `ft_out`.
* while: `cond_jaxpr`, `body_jaxpr`, `cond_nconsts`, `body_nconsts`; operands are the constants of both, then carried values.
* cond: `branches`, and `branches_platforms` if the platform selects the branch.
* shard_map: `mesh` and `newly_manual_axes`.
* pallas_call: `grid_mapping.grid`. ffi_call: `target_name`.
* call_hi_primitive (0.12): `_prim`, whose method `expand` does the same computation on values of the shapes `in_avals`.
* dot_general: `dimension_numbers`, `precision`. conv_general_dilated: `dimension_numbers` (`lhs_spec`, `rhs_spec`,
  `out_spec`), `window_strides`, `padding`, `lhs_dilation`, `rhs_dilation`, `precision`. Windowed reductions:
  `window_dimensions`. fft: `fft_type`, `fft_lengths`. sort: `dimension`; top_k: `axis`; approx_top_k: `reduction_dimension`.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
from jax.extend import core

_KINDS = (core.Jaxpr, getattr(core, "ClosedJaxpr", core.Jaxpr))  # one class in 0.12

Atom = Any  # an operand or a result: a variable, which is hashed by identity, or a literal


class While(NamedTuple):
    """The parts of a `while`. Its operands are constants of the condition, constants of the body, and carried values."""

    condition: "Graph"
    body: "Graph"
    condition_constants: int
    body_constants: int


class Convolution(NamedTuple):
    """The geometry of a convolution. Axes are batch or output channels first, channels second, then the spatial axes."""

    left_axes: tuple[int, ...]
    right_axes: tuple[int, ...]
    result_axes: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    left_dilation: tuple[int, ...]
    right_dilation: tuple[int, ...]


class Equation:
    """An application of a primitive. A property of another primitive raises KeyError or AttributeError."""

    def __init__(self, raw: Any):
        self._raw = raw
        self._params = raw.params

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self._raw.primitive.name

    @property
    def label(self) -> str:
        """The name of the primitive, and of the foreign function that it calls."""
        called = self._params.get("target_name") or type(self._params.get("_prim")).__name__
        return f"{self.name} {called}" if self.name in ("ffi_call", "call_hi_primitive") else self.name

    @property
    def operands(self) -> list[Atom]:
        """The operands in the order of the primitive."""
        return self._raw.invars

    @property
    def results(self) -> list[Atom]:
        """The results in the order of the primitive."""
        return self._raw.outvars

    @property
    def has_effects(self) -> bool:
        """A boolean: the equation has an effect besides its results, such as a write to a reference."""
        return bool(self._raw.effects)

    @property
    def scope(self) -> str:
        """The names of the functions and modules around the equation."""
        return str(self._raw.source_info.name_stack)

    @cached_property
    def called(self) -> tuple["Graph", ...]:
        """The graphs that the equation calls once or more."""
        if self.name == "call_hi_primitive":
            return _expanded(self._params["_prim"])
        return tuple(Graph(value) for value in _jaxprs(self._params.values()))

    @property
    def scan_length(self) -> int:
        """The trips of a `scan`."""
        return self._params["length"]

    @property
    def carried(self) -> int:
        """The number of results of a `scan` that are carried from trip to trip. They come first."""
        if "num_carry" in self._params:
            return self._params["num_carry"]
        return len(self._params["ft_out"].unpack()[0])

    @cached_property
    def loop(self) -> While:
        """The parts of a `while`."""
        return While(
            condition=Graph(self._params["cond_jaxpr"]),
            body=Graph(self._params["body_jaxpr"]),
            condition_constants=self._params["cond_nconsts"],
            body_constants=self._params["body_nconsts"],
        )

    @property
    def platform_decides(self) -> bool:
        """A boolean: the branches of a `cond` are one computation, written for several platforms."""
        return bool(self._params.get("branches_platforms"))

    @property
    def devices(self) -> int:
        """The number of devices that run a called graph on parts of the data."""
        if self.name != "shard_map":
            return 1
        mesh = self._params["mesh"]
        return math.prod(mesh.shape[axis] for axis in self._params["newly_manual_axes"])

    @property
    def programs(self) -> int | None:
        """The runs of the kernel of a `pallas_call`; None if they depend on a value of the program."""
        grid = self._params["grid_mapping"].grid
        return math.prod(grid) if all(isinstance(size, int) for size in grid) else None

    @property
    def contracted(self) -> tuple[int, ...]:
        """The axes of the left operand that a `dot_general` sums over."""
        return self._params["dimension_numbers"][0][0]

    @property
    def convolution(self) -> Convolution:
        """The geometry of a `conv_general_dilated`."""
        params = self._params
        numbers = params["dimension_numbers"]
        return Convolution(
            numbers.lhs_spec,
            numbers.rhs_spec,
            numbers.out_spec,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
        )

    @property
    def precision(self) -> tuple[Any, ...]:
        """The precision of each operand of a product; empty: the default."""
        return self._params["precision"] or ()

    @property
    def window(self) -> tuple[int, ...]:
        """The sizes of the window of a windowed reduction."""
        return self._params["window_dimensions"]

    @property
    def transformed(self) -> tuple[int, ...]:
        """The sizes that an `fft` runs over."""
        return self._params["fft_lengths"]

    @property
    def is_real(self) -> bool:
        """A boolean: an `fft` has real input or output."""
        return self._params["fft_type"].name in ("RFFT", "IRFFT")

    @property
    def sorted_axis(self) -> int:
        """The axis that a `sort`, `top_k` or `approx_top_k` orders."""
        names = ("dimension", "axis", "reduction_dimension")
        return next(self._params[name] for name in names if name in self._params)


class Graph:
    """A jaxpr, open or closed."""

    def __init__(self, jaxpr: Any):
        self._raw = jaxpr if isinstance(jaxpr, core.Jaxpr) else jaxpr.jaxpr
        self._constants = getattr(jaxpr, "consts", ())

    @property
    def inputs(self) -> list[Atom]:
        """The inputs without the constants."""
        return self._raw.invars

    @property
    def results(self) -> list[Atom]:
        """The results of the graph."""
        return self._raw.outvars

    @property
    def constants(self) -> list[tuple[Atom, Any]]:
        """The constants of a closed jaxpr: variables and their values."""
        return list(zip(self._raw.constvars, self._constants, strict=False))

    @cached_property
    def equations(self) -> list[Equation]:
        """The equations in the order of their computation."""
        return [Equation(raw) for raw in self._raw.eqns]

    def everything(self) -> Iterator[Equation]:
        """Yields every equation once, including equations of loops, branches and calls."""
        for equation in self.equations:
            yield equation
            for inner in equation.called:
                yield from inner.everything()


def trace(function: Callable[..., Any], *shapes: Any) -> Graph:
    """Traces a function. Nothing is compiled or computed.

    Args:
        function: pure. A jitted one keeps its trace for later calls with such arguments.
        shapes: its arguments: arrays, or trees of jax.ShapeDtypeStruct.
    """
    own = getattr(function, "trace", None)
    return Graph(jax.make_jaxpr(function)(*shapes) if own is None else own(*shapes).jaxpr)


def is_literal(atom: Atom) -> bool:
    """Returns True for a value that is part of the graph."""
    return isinstance(atom, core.Literal)


def literal(atom: Atom) -> Any:
    """Returns the value of a literal."""
    return atom.val


def shape_of(atom: Atom) -> tuple[int, ...]:
    """Returns the shape, or () if the value is no array."""
    return getattr(atom.aval, "shape", ())


def dtype_of(atom: Atom) -> Any:
    """Returns the dtype, which may be an extended dtype of JAX, or None if the value is no array."""
    return getattr(atom.aval, "dtype", None)


def _jaxprs(values: Any) -> Iterator[Any]:
    for value in values:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, _KINDS):
                yield part


def _expanded(primitive: Any) -> tuple[Graph, ...]:
    """Returns the computation of a primitive that JAX expands before it compiles.

    Returns an empty tuple if the primitive can't be traced with its own types.
    """
    try:
        return (trace(primitive.expand, *primitive.in_avals),)
    except (AttributeError, TypeError, NotImplementedError):
        return ()
