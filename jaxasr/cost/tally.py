"""The walk through a jaxpr that adds up what its equations cost. The conventions stand in `flops`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal

from jax.extend import core

from jaxasr.cost.flop_rules import CALLS, Cost, cost_of, devices_of
from jaxasr.cost.trips import Known, inside, learnt, learnt_by, trips_of

_NOTHING: Known = {}


class Tally:
    """Sums that grow during the walk."""

    def __init__(self):
        self.kinds: Counter[str] = Counter()
        self.products: Counter[tuple[Literal["matmul", "convolution"], str, int, int]] = Counter()
        self.notes: dict[str, dict[str, None]] = {"at_most": {}, "unbounded": {}, "assumed": {}}  # sets that keep order

    @property
    def total(self) -> int:
        """FLOPs of all kinds."""
        products = sum(each[2] * times for each, times in self.products.items())
        return products + sum(self.kinds[kind] for kind in ("elementwise", "reduction", "other"))

    def add(self, name: str, cost: Cost, times: int) -> None:
        """Adds what a primitive of this name costs."""
        self.kinds["bytes"] += cost.bytes * times
        if cost.kind == "matmul" or cost.kind == "convolution":
            self.products[cost.kind, cost.dtype, cost.flops, cost.bytes] += times * bool(cost.flops)
        else:
            self.kinds[cost.kind] += cost.flops * times
        if cost.assumed:
            self.note("assumed", name)

    def note(self, kind: str, text: str) -> None:
        """Keeps what a reader of the count has to know."""
        self.notes[kind][text] = None

    def merge(self, other: "Tally") -> None:
        """Adds all that another one holds."""
        self.kinds.update(other.kinds)
        self.products.update(other.products)
        for kind, texts in other.notes.items():
            self.notes[kind] |= texts


def walk(jaxpr: Any, times: int, tally: Tally, *, known: Known = _NOTHING, used: Sequence[bool] | None = None) -> None:
    """Adds what a jaxpr does `times` times.

    Args:
        known: the integers among its inputs that are known.
        used: which of its results anybody needs; None: all.
    """
    opened = getattr(jaxpr, "jaxpr", jaxpr)
    known = {**known, **learnt(opened.constvars, getattr(jaxpr, "consts", ()))}
    for equation, needed in _needed(opened, used):
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            carried = [True] * params["num_carry"] + needed[params["num_carry"] :]
            walk(params["jaxpr"], times * params["length"], tally, used=carried)
        elif name == "while":
            _while(equation, times, known, tally)
        elif name == "cond":
            branches = [_tallied(each, times, needed) for each in params["branches"]]
            by_platform = params.get(
                "branches_platforms"
            )  # one thing said in several ways: what is counted is its cheapest
            tally.merge((min if by_platform else max)(branches, key=lambda each: each.total))
        elif name in CALLS:
            (called,) = _called(params)
            given = inside(called, equation.invars, known)
            walk(called, times * devices_of(equation), tally, known=given, used=needed)
        else:
            cost = cost_of(equation)
            for called in _called(params) if cost.assumed else ():
                walk(called, times, tally)
            tally.add(name, cost, times)
        known |= learnt_by(equation, known)


def _needed(jaxpr: Any, used: Sequence[bool] | None) -> list[tuple[Any, list[bool]]]:
    """The equations that a result depends on, in order, and which of their own results anybody needs."""
    return _traced_back(jaxpr, used)[0]


def _traced_back(jaxpr: Any, used: Sequence[bool] | None) -> tuple[list[tuple[Any, list[bool]]], list[bool]]:
    """What `_needed` gives, and which inputs are read."""
    outs = zip(jaxpr.outvars, used or repeat(True), strict=False)
    live = {out for out, use in outs if use and not isinstance(out, core.Literal)}
    found = []
    for equation in reversed(jaxpr.eqns):
        needed = [out in live for out in equation.outvars]
        if any(needed) or equation.effects:
            found.append((equation, needed))
            live.update(atom for atom in _read(equation, needed) if not isinstance(atom, core.Literal))
    return found[::-1], [var in live for var in jaxpr.invars]


def _read(equation: Any, needed: list[bool]) -> list[Any]:
    """The operands that the needed results depend on."""
    if equation.primitive.name not in CALLS:
        return equation.invars
    (called,) = _called(equation.params)
    _, read = _traced_back(getattr(called, "jaxpr", called), needed)
    return [atom for atom, reads in zip(equation.invars, read, strict=True) if reads]


def _while(equation: Any, times: int, known: Known, tally: Tally) -> None:
    trips = trips_of(equation, known)
    name = f"{equation.source_info.name_stack or 'while'}"
    if trips is None:
        tally.note("unbounded", name)
    elif not trips.exact:
        tally.note("at_most", f"{name} ({trips.number})")
    number = 1 if trips is None else trips.number
    walk(equation.params["body_jaxpr"], times * number, tally)
    walk(equation.params["cond_jaxpr"], times * (number + 1), tally)


def _tallied(jaxpr: Any, times: int, used: Sequence[bool]) -> Tally:
    tally = Tally()
    walk(jaxpr, times, tally, used=used)
    return tally


def _called(params: Mapping[str, Any]) -> Iterator[Any]:
    """The jaxprs that a primitive calls."""
    for value in params.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, core.ClosedJaxpr | core.Jaxpr):
                yield each
