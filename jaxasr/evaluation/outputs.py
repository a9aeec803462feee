"""Names of the files that an evaluation, a tuning or a calibration writes: no search replaces the files of another one."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxasr import tree
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import Choice

DECODING = ("search", "lms", "checkpoint", "split_data", "normalizer")  # entries of a row that decide its hypotheses
DIGEST = 8  # hex digits

Row = Mapping[str, Any]  # of results.jsonl


def decoding_changes(trained: str, experiment: Experiment, split: str, checkpoint: Choice) -> list[str]:
    """Returns how a decoding differs from that at the end of the run's training, line by line.

    Args:
        trained: the experiment of the run, as `tree.render` gives it.
        experiment: the experiment of the evaluation.
        split: a name that both have among their evals.
        checkpoint: the checkpoint that is decoded; training ends with "best".
    """
    lines = tree.difference(trained, tree.render(experiment), new_defaults=tree.defaults(experiment))
    decides = (f"evals.{split}.", f"evals.{split}:", *(("selection_metric:",) if checkpoint == "best" else ()))
    changes = [line for line in lines if line.startswith(decides)]
    return changes + ([] if checkpoint == "best" else [f"checkpoint: best -> {checkpoint}"])


def output_name(trained: str, experiment: Experiment, row: Row, rows: Sequence[Row]) -> str:
    """Returns the name of the files of a decoding: SPLIT, or SPLIT.DIGEST if SPLIT belongs to another decoding of the run.

    SPLIT belongs to the decoding that ends the run's training. If the run's experiment has no such split, it belongs to the
    decoding that took it before.

    Args:
        trained: the experiment of the run, as `tree.render` gives it.
        experiment: the experiment of the evaluation.
        row: the name of the split, and the entries of DECODING, of the decoding to come.
        rows: the rows of the run's results so far.
    """
    split = row["split"]
    wanted = _decoding(row)
    named = [_decoding(other) for other in rows if other.get("split") == split and is_own(other)]
    is_changed = False
    if f"\nevals.{split} = " in f"\n{trained}":
        is_changed = bool(decoding_changes(trained, experiment, split, row["checkpoint"]))
        named = [other for other in named if all(other[key] == wanted[key] for key in ("search", "checkpoint"))]
    if not is_changed and (not named or named[-1] == wanted):
        return split
    return f"{split}.{_digest(json.dumps(wanted, sort_keys=True).encode())}"


def is_own(row: Row) -> bool:
    """Returns True for a row whose files have the name of the split alone. Rows of older versions have no other name."""
    return row.get("outputs", row.get("split")) == row.get("split")


def set_aside(file: Path, about: Mapping[str, Any], beside: Iterable[Path] = ()) -> str:
    """Renames a result of other settings, NAME.json, to NAME.DIGEST.json, so that a new one does not replace it.

    Args:
        file: holds JSON, whose entries of the names in `about` are compared. It may be absent.
        about: the settings of the result to come.
        beside: files that belong to the result, which get the same digest.

    Returns:
        A line with the old and the new name; "" if nothing is renamed.
    """
    if not file.is_file():
        return ""
    content = file.read_bytes()
    if _entries(content, about) == json.loads(json.dumps(about, default=str)):
        return ""
    digest = _digest(content)
    renamed = {path: path.with_name(f"{path.stem}.{digest}{path.suffix}") for path in (*beside, file)}  # it comes last
    for path, new in renamed.items():
        if path.is_file():
            path.rename(new)
    return f"{file} was made with other settings; it is kept as {renamed[file].name}"


def _entries(content: bytes, about: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        there = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return {name: there.get(name) for name in about} if isinstance(there, dict) else None


def _decoding(row: Row) -> dict[str, Any]:
    """Returns the entries of DECODING as JSON has them. An option that is None may be newer than a row without it."""
    entries = json.loads(json.dumps({key: row.get(key) for key in DECODING}, default=str))
    search = entries["search"]
    if isinstance(search, dict):
        entries["search"] = {name: value for name, value in search.items() if value is not None}
    return entries


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST]
