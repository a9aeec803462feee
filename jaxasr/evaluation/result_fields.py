"""The scores of an evaluation as fields of a row of results, and as one line for people."""

import math
from collections.abc import Mapping
from typing import Any

from jaxasr import score
from jaxasr.score.estimates import TEXT_SCORES

NO_FORMS: Mapping[str, score.EvalOutput | str] = {}
_RATES = ("wer", "cer", "mer", "ser")  # of further forms and conditions, in rows of results


def headline(
    evaluation: score.EvalOutput,
    loss: float | None = None,
    normalized: Mapping[str, score.EvalOutput | str] = NO_FORMS,
) -> str:
    """Returns WER with its interval, CER and the number of utterances in one line.

    Args:
        loss: the teacher-forced loss of a target token in nats, if it is known.
        normalized: the evaluation in further forms, by name, or the reason why there is none.
    """
    estimates = evaluation.estimates()
    wer = estimates["wer"]
    parts = [
        f"WER {wer.value:.2%} [{wer.interval.low:.2%}, {wer.interval.high:.2%}] over {evaluation.units.title}",
        f"CER {estimates['cer'].value:.2%}",
        f"{len(evaluation.utterances)} utterances",
    ]
    parts += [] if loss is None else [f"loss {loss:.4f}"]
    parts += [f"MER {estimates['mer'].value:.2%}"] if evaluation.scores.mer != evaluation.scores.wer else []
    parts += [f"{len(evaluation.cut)} cut at the limit"] if evaluation.cut else []
    parts += [f"{len(evaluation.repetitive)} loop"] if evaluation.repetitive else []
    for kind, found in normalized.items():
        parts.append(f"{kind}: {found}" if isinstance(found, str) else f"{kind}: WER {found.scores.wer:.2%}")
    return ", ".join(parts)


def normalized_fields(normalized: Mapping[str, score.EvalOutput | str]) -> dict[str, Any]:
    """Returns the error rates in further forms for a row of results: with intervals and words, or the reason for none."""
    return {
        kind: {"error": found} if isinstance(found, str) else rate_fields(found) for kind, found in normalized.items()
    }


def rate_fields(evaluation: score.EvalOutput) -> dict[str, Any]:
    """Returns error rates with their intervals, and the number of words, for a part of a row of results."""
    rates = {name: estimate for name, estimate in evaluation.estimates().items() if name in _RATES}
    values = {name: _finite(estimate.value) for name, estimate in rates.items()}
    return {**values, "words": evaluation.scores.words.references, "intervals": _bounds(rates)}


def condition_lines(by_condition: Mapping[str, score.EvalOutput]) -> str:
    """Returns a line for each recording condition, with WER and its interval; empty without any."""
    width = max(map(len, by_condition), default=0)
    lines: list[str] = []
    for name, evaluation in by_condition.items():
        wer = evaluation.estimates()["wer"]
        lines.append(f"\n  {name:{width}}  WER {wer.value:.2%} [{wer.interval.low:.2%}, {wer.interval.high:.2%}]")
    return "".join(lines)


def row_of(evaluation: score.EvalOutput, rate_hz: int) -> dict[str, Any]:
    """Returns the scores of a row of results: fractions with 95 % intervals, counts and speed.

    A rate is None if it is infinite: there are insertions and no reference words.
    """
    rtfx = evaluation.speed.audio_per_wall(rate_hz)
    return {
        **dict.fromkeys(sorted(TEXT_SCORES)),  # None: does not apply
        **score_fields(evaluation),
        "unit_errors": evaluation.unit_errors,
        "bleu_tokenizer": evaluation.scores.tokenizer,
        "words": evaluation.scores.words.references,
        "characters": evaluation.scores.characters.references,
        "utterances": len(evaluation.utterances),
        "oracle_wer": _finite(evaluation.oracle),
        "cut": list(evaluation.cut),
        "looping": list(evaluation.repetitive),
        "audio_s_per_s": None if rtfx is None else round(rtfx, 1),
    }


def score_fields(evaluation: score.EvalOutput | score.PerplexityResult) -> dict[str, Any]:
    """Returns the scores and their intervals for a row of results, with the units that the intervals rest on.

    `intervals` are over speakers if there are enough of them; `intervals_over_utterances` are there as well then.
    """
    units = evaluation.units
    found = evaluation.estimates()
    fields = {name: _finite(estimate.value) for name, estimate in found.items()}
    fields |= {"intervals": _bounds(found), "intervals_over": units.kind, "units": units.count}
    if units.kind == "speakers":
        fields["intervals_over_utterances"] = _bounds(evaluation.estimates("utterances"))
    return fields | {"interval_method": score.METHOD}


def _bounds(found: Mapping[str, score.Estimate]) -> dict[str, list[float | None]]:
    return {name: [_finite(estimate.interval.low), _finite(estimate.interval.high)] for name, estimate in found.items()}


def _finite(rate: float) -> float | None:
    return round(rate, 6) if math.isfinite(rate) else None
