"""Paired comparison of two hypothesis files, as an evaluation writes them (`hypotheses.SPLIT.jsonl`)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxasr.score.significance import RESAMPLES, Comparison, compare

ERRORS = ("substitutions", "deletions", "insertions")
SHOWN = 5  # ids that an error lists


@dataclass(frozen=True)
class _Errors:
    """The errors of one utterance."""

    speaker: str
    reference: str
    errors: int
    words: int


def compare_hypotheses(a: str | Path, b: str | Path, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compares the word errors of system b with those of system a on the same utterances.

    Utterances are resampled by speaker if there are at least two speakers, because errors of one speaker are not independent.

    Args:
        a: hypotheses of the baseline, a `hypotheses.SPLIT.jsonl`.
        b: hypotheses of the other system.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is no file of hypotheses, or the two have different utterances or references.
    """
    errors_a = _read(Path(a))
    errors_b = _read(Path(b))
    different = sorted(errors_a.keys() ^ errors_b.keys())
    if different:
        raise ValueError(
            f"{a} and {b} have different utterances: {len(different)} are in one only, such as {different[:SHOWN]}; "
            "compare runs on the same split"
        )
    changed = [id for id, row in errors_a.items() if row.reference != errors_b[id].reference]
    if changed:
        raise ValueError(
            f"{a} and {b} have different references of {len(changed)} utterances, such as {changed[:SHOWN]}; both need the "
            "same normaliser"
        )
    speakers = [row.speaker for row in errors_a.values()]
    return compare(
        [row.errors for row in errors_a.values()],
        [errors_b[id].errors for id in errors_a],
        [row.words for row in errors_a.values()],
        blocks=speakers if len(set(speakers)) > 1 else None,
        resamples=resamples,
        seed=seed,
    )


def _read(path: Path) -> dict[str, _Errors]:
    """Returns the errors of a file by utterance id."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of hypotheses {path}: `jaxasr eval` writes hypotheses.SPLIT.jsonl to the workdir"
        )
    rows: dict[str, _Errors] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row: dict[str, Any] = json.loads(line)
            errors = sum(int(row[kind]) for kind in ERRORS)
            rows[str(row["id"])] = _Errors(str(row["speaker"]), str(row["reference"]), errors, int(row["words"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number} is no line of hypotheses ({error!r}): id, speaker, reference, words, "
                f"{', '.join(ERRORS)} are needed"
            ) from error
    if not rows:
        raise ValueError(f"{path} holds no hypotheses")
    return rows
