"""The report of a fitted scaling law: Markdown for people, JSON for programs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from jaxasr.report import tables
from jaxasr.score.scaling_law.bootstrap import LawFit, Prediction
from jaxasr.score.scaling_law.frontier import ComputeUnit, Frontier
from jaxasr.score.scaling_law.points import MEANINGS
from jaxasr.score.significance import Interval

_COEFFICIENTS = "AB"
_EXPONENTS = "ab"


def as_markdown(
    fit: LawFit, held_out: Sequence[Prediction], optimal: Frontier | None, planned: Sequence[Prediction] = ()
) -> str:
    """Returns the law with bands, the predictions of runs that were held out or are planned, and the frontier."""
    frontier = _frontier(optimal, fit) if optimal else ()
    return "\n".join([*_law(fit), *_predictions(held_out), *_planned(planned), *frontier])


def as_json(
    fit: LawFit, held_out: Sequence[Prediction], optimal: Frontier | None, planned: Sequence[Prediction] = ()
) -> dict[str, Any]:
    """Returns every figure of the report, the points, and the figures of every resample."""
    bands = {name: asdict(fit.interval(lambda law, name=name: law.figures[name])) for name in fit.law.figures}
    return {
        "variables": list(fit.variables),
        "figures": fit.law.figures,
        "bands": bands,
        "spread": fit.spread,
        "seed": fit.seed,
        "points": [asdict(point) for point in fit.points],
        "held_out": [{**asdict(found), "is_inside": found.is_inside} for found in held_out],
        "planned": [
            {
                "inputs": dict(found.point.inputs),
                "error": found.error,
                "law": asdict(found.law),
                "new_run": asdict(found.new_run),
            }
            for found in planned
        ],
        "frontier": asdict(optimal) if optimal else None,
        "resamples": [law.figures for law in fit.resamples],
    }


def _law(fit: LawFit) -> Iterator[str]:
    terms = [
        f"{coefficient} {name}^-{exponent}"
        for coefficient, exponent, name in zip(_COEFFICIENTS, _EXPONENTS, fit.variables, strict=False)
    ]
    inputs = {tuple(point.inputs[name] for name in fit.variables) for point in fit.points}
    yield f"error = E + {' + '.join(terms)}"
    yield ", ".join(f"{name}: {MEANINGS[name]}" for name in fit.variables)
    yield f"{len(fit.points)} points with {len(inputs)} different inputs; bands of {fit.level:.0%}: {len(fit.resamples)}"
    yield "resamples of the residuals, runs with the same inputs (seeds) drawn together"
    yield ""
    rows = [["E", _figure(fit.law.irreducible), _interval(fit.interval(lambda law: law.irreducible))]]
    for index, (coefficient, exponent) in enumerate(
        zip(_COEFFICIENTS[: len(terms)], _EXPONENTS[: len(terms)], strict=True)
    ):
        logs = fit.interval(lambda law, index=index: law.log_coefficients[index])
        band = Interval(_exp(logs.low), _exp(logs.high), logs.level)
        rows.append([coefficient, _figure(_exp(fit.law.log_coefficients[index])), _interval(band)])
        band = fit.interval(lambda law, index=index: law.exponents[index])
        rows.append([exponent, _figure(fit.law.exponents[index]), _interval(band)])
    yield tables.markdown(["figure", "value", f"{fit.level:.0%}"], rows)
    yield ""
    yield f"Standard deviation of a run around the law: {fit.spread:.1%} of its error; Huber's delta {fit.delta:.3g}"


def _predictions(held_out: Sequence[Prediction]) -> Iterator[str]:
    if not held_out:
        return
    inside = sum(found.is_inside for found in held_out)
    yield ""
    yield f"## Held out: {inside} of {len(held_out)} inside the band of a new run"
    yield ""
    rows = [
        [
            found.point.name,
            _figure(found.point.error),
            _figure(found.error),
            _interval(found.law),
            _interval(found.new_run),
            "yes" if found.is_inside else "no",
        ]
        for found in held_out
    ]
    yield tables.markdown(["run", "observed", "predicted", "band of the law", "band of a new run", "inside"], rows)


def _planned(planned: Sequence[Prediction]) -> Iterator[str]:
    if not planned:
        return
    yield ""
    yield "## Planned runs"
    yield ""
    rows = [
        [found.point.name, _figure(found.error), _interval(found.law), _interval(found.new_run)] for found in planned
    ]
    yield tables.markdown(["run", "predicted", "band of the law", "band of a new run"], rows)


def _frontier(optimal: Frontier, fit: LawFit) -> Iterator[str]:
    b = 1 - optimal.exponent
    yield ""
    yield "## Compute-optimal frontier"
    yield ""
    yield f"N grows as C^{optimal.exponent:.3f} {_interval(optimal.exponent_band)}, D as C^{b:.3f}"
    unit = optimal.unit
    if unit == ComputeUnit():
        yield "C is in parameter-hours, N x D"
    else:
        yield f"C = {unit.flops:.3g} FLOPs x N x D (of the points: {unit.low:.3g} to {unit.high:.3g})"
    if optimal.left_out:
        yield f"{optimal.left_out} of {len(fit.resamples)} resamples have no optimum and are in no band of it"
    yield ""
    header = ["C", "N", f"{fit.level:.0%}", "D", f"{fit.level:.0%}", "error", f"{fit.level:.0%}"]
    rows = [
        [
            f"{found.best.compute:.1e}",
            *(_figure(found.best.parameters), _interval(found.parameters)),
            *(_figure(found.best.hours), _interval(found.hours)),
            *(_figure(found.best.error), _interval(found.error)),
        ]
        for found in optimal.allocations
    ]
    yield tables.markdown(header, rows)


def _exp(log: float) -> float:
    return math.exp(log) if log < 700 else math.inf


def _figure(value: float) -> str:
    return f"{value:.4g}" if 1e-4 < abs(value) < 1e4 or not value else f"{value:.2e}"


def _interval(interval: Interval) -> str:
    return f"[{_figure(interval.low)}, {_figure(interval.high)}]"
