"""Adds up the costs of the equations of a jaxpr. The conventions are in `flops`."""

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from typing import Literal

from jaxasr.cost.flop_rules import CALLS, Cost, cost_of
from jaxasr.cost.jaxprs import Atom, Equation, Graph, is_literal
from jaxasr.cost.trips import Known, known_constants, known_inputs, propagate_constants, trips_of

NOTES = ("at_most", "unbounded", "assumed", "uncounted")  # fields of flops.Flops
_NOTHING: Known = {}


class FlopCounter:
    """The sums of a walk through a jaxpr."""

    def __init__(self):
        self.kinds: Counter[str] = Counter()
        self.products: Counter[tuple[Literal["matmul", "convolution"], str, int, int]] = Counter()
        self.notes: dict[str, dict[str, None]] = {kind: {} for kind in NOTES}  # sets that keep order

    @property
    def total(self) -> int:
        """The FLOPs of all kinds."""
        products = sum(flops * times for (_, _, flops, _), times in self.products.items())
        return products + sum(self.kinds[kind] for kind in ("elementwise", "reduction", "other"))

    def add(self, cost: Cost, times: int) -> None:
        """Adds the cost of an equation that runs `times` times."""
        self.kinds["bytes"] += cost.bytes * times
        if cost.kind == "matmul" or cost.kind == "convolution":
            self.products[cost.kind, cost.dtype, cost.flops, cost.bytes] += times * bool(cost.flops)
        else:
            self.kinds[cost.kind] += cost.flops * times

    def note(self, kind: str, text: str) -> None:
        """Notes a loop or a primitive that is counted in part or not at all."""
        self.notes[kind][text] = None

    def merge(self, other: "FlopCounter") -> None:
        """Adds the sums and notes of another counter."""
        self.kinds.update(other.kinds)
        self.products.update(other.products)
        for kind, texts in other.notes.items():
            self.notes[kind] |= texts


def walk(
    graph: Graph, times: int, tally: FlopCounter, *, known: Known = _NOTHING, used: Sequence[bool] | None = None
) -> None:
    """Adds the costs of a graph that runs `times` times.

    Args:
        graph: the jaxpr.
        times: number of its runs.
        tally: gets the costs.
        known: values of integer inputs, where they are known.
        used: True for each result that is used; None: all are.
    """
    known = {**known, **known_constants(graph.constants)}
    for equation, needed in live_equations(graph, used):
        name = equation.name
        if name == "scan":
            (body,) = equation.called
            carried = [True] * equation.carried + needed[equation.carried :]
            walk(body, times * equation.scan_length, tally, used=carried)
        elif name == "while":
            _while(equation, times, known, tally)
        elif name == "cond":
            branches = [_tallied(branch, times, needed) for branch in equation.called]
            choose = min if equation.platform_decides else max
            tally.merge(choose(branches, key=lambda branch: branch.total))
        elif _is_call(equation):
            (called,) = equation.called
            given = known_inputs(called, equation.operands, known)
            walk(called, times * equation.devices, tally, known=given, used=needed)
        elif name == "pallas_call" and equation.programs is not None:
            for called in equation.called:
                walk(called, times * equation.programs, tally)
        elif (cost := cost_of(equation)) is not None:
            tally.add(cost, times)
        else:
            _without_rule(equation, times, tally)
        known |= propagate_constants(equation, known)


def _is_call(equation: Equation) -> bool:
    """Returns True for an equation that calls one graph once and computes nothing else."""
    return equation.name in CALLS and len(equation.called) == 1


def _without_rule(equation: Equation, times: int, tally: FlopCounter) -> None:
    """Counts the called graphs once, and notes the primitive."""
    for called in equation.called:
        walk(called, times, tally)
    tally.note("assumed" if equation.called else "uncounted", equation.label)


def live_equations(graph: Graph, used: Sequence[bool] | None) -> list[tuple[Equation, list[bool]]]:
    """Returns the equations that a used result depends on, in order, each with True for its own results that are used.

    Args:
        graph: the jaxpr.
        used: True for each result of the graph that is used; None: all are.
    """
    return _live_equations_and_inputs(graph, used)[0]


def _live_equations_and_inputs(
    graph: Graph, used: Sequence[bool] | None
) -> tuple[list[tuple[Equation, list[bool]]], list[bool]]:
    """Returns the result of `live_equations`, and True for each input of the graph that is used."""
    outs = zip(graph.results, used or repeat(True), strict=False)
    live = {out for out, use in outs if use and not is_literal(out)}
    found = []
    for equation in reversed(graph.equations):
        needed = [out in live for out in equation.results]
        if any(needed) or equation.has_effects:
            found.append((equation, needed))
            live.update(atom for atom in _read(equation, needed) if not is_literal(atom))
    return found[::-1], [var in live for var in graph.inputs]


def _read(equation: Equation, needed: list[bool]) -> list[Atom]:
    """Returns the operands that the needed results depend on."""
    if not _is_call(equation):
        return equation.operands
    (called,) = equation.called
    _, read = _live_equations_and_inputs(called, needed)
    return [atom for atom, reads in zip(equation.operands, read, strict=True) if reads]


def _while(equation: Equation, times: int, known: Known, tally: FlopCounter) -> None:
    trips = trips_of(equation, known)
    name = equation.scope or "while"
    if trips is None:
        tally.note("unbounded", name)
    elif not trips.exact:
        tally.note("at_most", f"{name} ({trips.number})")
    number = 1 if trips is None else trips.number
    walk(equation.loop.body, times * number, tally)
    walk(equation.loop.condition, times * (number + 1), tally)


def _tallied(graph: Graph, times: int, used: Sequence[bool]) -> FlopCounter:
    tally = FlopCounter()
    walk(graph, times, tally, used=used)
    return tally
