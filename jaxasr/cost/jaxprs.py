"""The adapter for jaxprs: the only module that reads how JAX represents a traced function.

JAX changes the structure of jaxprs and the parameters of its primitives between minor versions. This module depends on
the following, with jax 0.10 and 0.12 (tests/scale/test_jaxprs.py checks each point on the version that is installed):

* A jaxpr has `invars`, `outvars`, `constvars` and `eqns`. A closed one has `consts` too; before 0.12 it is a class of its
  own, and the open one is its `jaxpr`.
* An equation has `primitive.name`, `params`, `invars`, `outvars`, `effects` and `source_info.name_stack`.
* A variable is hashed by identity and has an `aval` with `shape` and `dtype`. A `Literal` has `val` besides.
* A jaxpr that a primitive calls is a parameter, or an element of a tuple that is one.
* scan: `jaxpr`, `length`; carried values are the first results. Their number is `num_carry` in 0.10, and in 0.12 the
  length of the first part of `ft_out`.
* while: `cond_jaxpr`, `body_jaxpr`, `cond_nconsts`, `body_nconsts`; operands are the constants of both, then what is carried.
* cond: `branches`, and `branches_platforms` where the platform decides.
* shard_map: `mesh` and `newly_manual_axes`.
* pallas_call: `grid_mapping.grid`. ffi_call: `target_name`.
* call_hi_primitive (0.12): `_prim`, of which `expand`, called with values of the shapes `in_avals`, is the same computation.
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
    """A `while`: operands are the constants of the condition, those of the body, and what is carried."""

    condition: "Graph"
    body: "Graph"
    condition_constants: int
    body_constants: int


class Convolution(NamedTuple):
    """How a convolution lies. Axes are batch or out-channels first, channels second, then the spatial ones."""

    left_axes: tuple[int, ...]
    right_axes: tuple[int, ...]
    result_axes: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    left_dilation: tuple[int, ...]
    right_dilation: tuple[int, ...]


class Equation:
    """One application of a primitive. A property that is not of this primitive raises KeyError or AttributeError."""

    def __init__(self, raw: Any):
        self._raw, self._params = raw, raw.params

    @property
    def name(self) -> str:
        """Of the primitive."""
        return self._raw.primitive.name

    @property
    def label(self) -> str:
        """The name, and what foreign function is called."""
        called = self._params.get("target_name") or type(self._params.get("_prim")).__name__
        return f"{self.name} {called}" if self.name in ("ffi_call", "call_hi_primitive") else self.name

    @property
    def operands(self) -> list[Atom]:
        """In the order of the primitive."""
        return self._raw.invars

    @property
    def results(self) -> list[Atom]:
        """In the order of the primitive."""
        return self._raw.outvars

    @property
    def has_effects(self) -> bool:
        """Whether it does something besides its results, such as writing to a reference."""
        return bool(self._raw.effects)

    @property
    def scope(self) -> str:
        """The names of the functions and modules that it stands in."""
        return str(self._raw.source_info.name_stack)

    @cached_property
    def called(self) -> tuple["Graph", ...]:
        """The graphs that it calls, however often."""
        if self.name == "call_hi_primitive":
            return _expanded(self._params["_prim"])
        return tuple(Graph(value) for value in _jaxprs(self._params.values()))

    @property
    def scan_length(self) -> int:
        """The trips of a `scan`."""
        return self._params["length"]

    @property
    def carried(self) -> int:
        """How many of the results of a `scan` are carried from trip to trip; they come first."""
        if "num_carry" in self._params:
            return self._params["num_carry"]
        return len(self._params["ft_out"].unpack()[0])

    @cached_property
    def loop(self) -> While:
        """A `while`."""
        params = self._params
        graphs = Graph(params["cond_jaxpr"]), Graph(params["body_jaxpr"])
        return While(*graphs, params["cond_nconsts"], params["body_nconsts"])

    @property
    def platform_decides(self) -> bool:
        """Whether the branches of a `cond` are one computation written for several platforms."""
        return bool(self._params.get("branches_platforms"))

    @property
    def devices(self) -> int:
        """On how many devices a called graph runs, each with its part of the data."""
        if self.name != "shard_map":
            return 1
        mesh = self._params["mesh"]
        return math.prod(mesh.shape[axis] for axis in self._params["newly_manual_axes"])

    @property
    def programs(self) -> int | None:
        """How often a `pallas_call` runs its kernel; None where a value of the program decides."""
        grid = self._params["grid_mapping"].grid
        return math.prod(grid) if all(isinstance(size, int) for size in grid) else None

    @property
    def contracted(self) -> tuple[int, ...]:
        """The axes of the left operand that a `dot_general` sums over."""
        return self._params["dimension_numbers"][0][0]

    @property
    def convolution(self) -> Convolution:
        """A `conv_general_dilated`."""
        params, numbers = self._params, self._params["dimension_numbers"]
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
        """Of a product: what is asked for each operand; empty: the default."""
        return self._params["precision"] or ()

    @property
    def window(self) -> tuple[int, ...]:
        """Of a reduction over a window: its sizes."""
        return self._params["window_dimensions"]

    @property
    def transformed(self) -> tuple[int, ...]:
        """The sizes that an `fft` runs over."""
        return self._params["fft_lengths"]

    @property
    def is_real(self) -> bool:
        """Whether an `fft` has real input or output."""
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
        """Without the constants."""
        return self._raw.invars

    @property
    def results(self) -> list[Atom]:
        """What it gives back."""
        return self._raw.outvars

    @property
    def constants(self) -> list[tuple[Atom, Any]]:
        """Variables and their values, where it is closed."""
        return list(zip(self._raw.constvars, self._constants, strict=False))

    @cached_property
    def equations(self) -> list[Equation]:
        """In the order of their computation."""
        return [Equation(raw) for raw in self._raw.eqns]

    def everything(self) -> Iterator[Equation]:
        """Every equation, those of loops, branches and calls included, once each."""
        for equation in self.equations:
            yield equation
            for inner in equation.called:
                yield from inner.everything()


def trace(function: Callable[..., Any], *shapes: Any) -> Graph:
    """Traces a function. Nothing is compiled or computed.

    Args:
        function: pure. A jitted one keeps its trace: a later call with such arguments makes no other.
        shapes: its arguments: arrays, or trees of jax.ShapeDtypeStruct.
    """
    own = getattr(function, "trace", None)
    return Graph(jax.make_jaxpr(function)(*shapes) if own is None else own(*shapes).jaxpr)


def is_literal(atom: Atom) -> bool:
    """Whether the value stands in the graph itself."""
    return isinstance(atom, core.Literal)


def literal(atom: Atom) -> Any:
    """The value of a literal."""
    return atom.val


def shape_of(atom: Atom) -> tuple[int, ...]:
    """The shape; () of what is no array."""
    return getattr(atom.aval, "shape", ())


def dtype_of(atom: Atom) -> Any:
    """The dtype, which may be one of JAX's own; None of what is no array."""
    return getattr(atom.aval, "dtype", None)


def _jaxprs(values: Any) -> Iterator[Any]:
    for value in values:
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, _KINDS):
                yield part


def _expanded(primitive: Any) -> tuple[Graph, ...]:
    """The computation of a primitive that JAX expands before it compiles; nothing where it works on types of its own."""
    try:
        return (trace(primitive.expand, *primitive.in_avals),)
    except (AttributeError, TypeError, NotImplementedError):
        return ()
