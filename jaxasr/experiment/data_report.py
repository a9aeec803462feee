"""Lines about one split of an experiment: its amount, sampling rates, and the texts that its tokenizer cannot encode."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jaxasr.data import Pipeline

_SHOWN = 5  # utterances of each reason


def describe_split(path: str, pipeline: Pipeline, data_dir: Path) -> Iterator[str]:
    """Yields lines about a split.

    Args:
        path: of the field, such as "validation.data".
        pipeline: the value of the field.
        data_dir: the folder of the prepared corpora.

    Raises:
        ValueError: the corpus is damaged or has no such split, or no text can be encoded.
        FileNotFoundError: the corpus is not prepared.
    """
    opened = pipeline.open(data_dir)
    rates: Counter[int] = Counter()
    for source in opened.sources:
        rates.update(source.rates_hz.tolist())
    hours = float(opened.examples.seconds.sum()) / 3600
    other = {
        rate: count for rate, count in rates.items() if rate != pipeline.rate_hz and pipeline.shapes.audio and hours
    }
    resampled = ", ".join(f"{count:,} from {rate:,} Hz" for rate, count in other.items())
    yield (
        f"{path}: {len(opened.ids):,} utterances, {hours:.2f} h"
        + (f"; resampled to {pipeline.rate_hz:,} Hz: {resampled}" if resampled else "")
    )
    reasons: dict[str, list[str]] = {}
    for i, found in opened.examples.filtered:
        reasons.setdefault(found.reason, []).append(f"{opened.ids[i]} ({found.detail})")
    for reason, utterances in reasons.items():
        more = f" and {len(utterances) - _SHOWN:,} more" if len(utterances) > _SHOWN else ""
        yield f"  {len(utterances):,} ({reason}): {'; '.join(utterances[:_SHOWN])}{more}"
        if reason == "text cannot be encoded" and len(utterances) == len(opened.ids):
            raise ValueError(
                f"no text can be encoded, the first is {utterances[0]}: check the alphabet and the normalizer"
            )
