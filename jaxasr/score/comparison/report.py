"""The report of a comparison: Markdown for people, JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from jaxasr.report import tables
from jaxasr.score.comparison.paired_tests import holm
from jaxasr.score.comparison.seeds import VarianceParts
from jaxasr.score.comparison.slices import Slice
from jaxasr.score.comparison.systems import SystemComparison
from jaxasr.score.significance import Interval

SHOWN_WORDS = 10  # in each direction
SHOWN_SPEAKERS = 20


def as_json(comparisons: Sequence[SystemComparison]) -> list[dict[str, Any]]:
    """Returns every field of the comparisons with the same baseline, and the p-values after Holm's correction."""
    corrected = holm([comparison.p_value for comparison in comparisons])
    return [
        {
            **asdict(comparison),
            "difference": comparison.difference,
            "interval": asdict(comparison.interval),
            "p_value": comparison.p_value,
            "p_holm": p_value,
        }
        for comparison, p_value in zip(comparisons, corrected, strict=True)
    ]


def as_markdown(comparisons: Sequence[SystemComparison]) -> str:
    """Returns the report of comparisons with the same baseline: a table of all, then the details of each."""
    return "\n".join([*_summary(comparisons), *(line for found in comparisons for line in _details(found))])


def _summary(comparisons: Sequence[SystemComparison]) -> Iterator[str]:
    first = comparisons[0]
    yield f"{first.utterances} utterances, {first.words} words; drawn by {first.blocks[:-1]} ({first.block_count})"
    yield ""
    corrected = holm([comparison.p_value for comparison in comparisons])
    rows = [[first.baseline, str(first.runs[0]), _percent(first.rate_a), "", "", "", "", ""]]
    for found, p_value in zip(comparisons, corrected, strict=True):
        rows.append(
            [
                found.system,
                str(found.runs[1]),
                _percent(found.rate_b),
                f"{100 * found.difference:+.2f}",
                _interval(found.interval),
                _p(found.p_value),
                _p(p_value),
                _percent(found.better, 1),
            ]
        )
    header = ["system", "runs", "WER %", "difference", "95 %", "p", "p (Holm)", "better in %"]
    yield tables.markdown(header, rows)
    yield ""
    yield "difference: percentage points against the first system; interval and p of a t test over what is drawn and seeds"
    yield "better in: share of resampled test sets on which the system makes fewer errors"


def _details(found: SystemComparison) -> Iterator[str]:
    yield ""
    yield f"## {found.system} against {found.baseline}"
    yield ""
    yield from _tests(found)
    if found.variance:
        yield ""
        yield _variance(found.variance)
    yield ""
    yield _slices(found.slices)
    yield from _words(found)


def _tests(found: SystemComparison) -> Iterator[str]:
    yield f"* a difference of {_percent(found.detectable)} points is shown by this test set with a probability of 80 %"
    over = f"seeds and {found.blocks}" if max(found.runs) > 1 else found.blocks
    yield f"* t test over {over}: {_interval(found.interval)}, p = {_p(found.p_value)}"
    yield f"* bootstrap by {found.blocks[:-1]}: {_interval(found.bootstrap.interval)}"
    yield f"* approximate randomisation by {found.blocks[:-1]}: p = {_p(found.randomisation)}"
    if found.mapsswe is not None and found.mcnemar is not None:
        yield f"* MAPSSWE over {found.segments} segments with errors: p = {_p(found.mapsswe)}"
        yield f"* McNemar on utterances without error: p = {_p(found.mcnemar)}"
    if min(found.runs) == 1:
        which = "each has one run" if max(found.runs) == 1 else "one of them has one run"
        yield f"* {which}: the result holds for these models; a claim about the recipes needs several seeds of both"


def _variance(parts: VarianceParts) -> str:
    shares = {
        "seeds": parts.seeds,
        "speakers": parts.speakers,
        "utterances": parts.utterances,
        "seeds x utterances": parts.rest,
    }
    text = ", ".join(f"{name} {100 * part / parts.total:.0f} %" for name, part in shares.items())
    deviation = f"Standard deviation of the WER of one run on such a test set: {_percent(parts.total**0.5)} points"
    return f"{deviation}; of the variance {text}."


def _slices(parts: Sequence[Slice]) -> str:
    speakers = [part for part in parts if part.name.startswith("speaker ")]
    hidden = set(map(id, sorted(speakers, key=lambda part: -part.utterances)[SHOWN_SPEAKERS:]))
    rows = [
        [
            part.name,
            str(part.utterances),
            _percent(part.rate_a),
            _percent(part.rate_b),
            f"{100 * (part.rate_b - part.rate_a):+.2f}",
            _interval(part.comparison.interval) if part.comparison else "",
        ]
        for part in parts
        if id(part) not in hidden
    ]
    table = tables.markdown(["slice", "utterances", "baseline", "system", "difference", "95 %"], rows)
    return f"{table}\n({len(hidden)} speakers with fewer utterances are not shown)" if hidden else table


def _words(found: SystemComparison) -> Iterator[str]:
    for title, sign in (("recognised more often", -1), ("recognised less often", 1)):
        changed = [(word, sign * change) for word, change in found.words_changed.items() if sign * change > 0]
        if changed:
            ordered = sorted(changed, key=lambda item: (-item[1], item[0]))
            listed = ", ".join(f"{word} {times}" for word, times in ordered[:SHOWN_WORDS])
            more = f", and {len(ordered) - SHOWN_WORDS} more words" if len(ordered) > SHOWN_WORDS else ""
            yield ""
            yield f"Words {title}: {listed}{more}"


def _percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}"


def _interval(interval: Interval) -> str:
    return f"[{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
