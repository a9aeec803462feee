"""The evaluation at the end of a run: every split is decoded with the best checkpoint and gets a row of results."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxasr import report, tree
from jaxasr.data import BoundPipeline, RecordingCondition
from jaxasr.evaluation.decode_split import no_check
from jaxasr.evaluation.evaluators import make_evaluator
from jaxasr.evaluation.language_models import NO_LMS, check_lms_given, load_language_models
from jaxasr.evaluation.outputs import output_name
from jaxasr.evaluation.run_page import write_run_page
from jaxasr.experiment.changes import read_extensions
from jaxasr.experiment.early_stopping import is_out_of_patience
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.goodput_totals import read_goodput
from jaxasr.experiment.restore import Choice, TrainedVariables, restore_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.split import Split, named_splits, normalizer_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.report.results import SOURCES
from jaxasr.scale import hardware, is_primary
from jaxasr.scale.hosts import broadcast_from_primary
from jaxasr.training import read_metrics

RESULTS = "results.jsonl"
# keys of a row that decide about its scores; others tell which code and machine made it
IDENTITY = (
    *("name", "split", "split_data", "normalizer", "normalizers", "conditions", "search", "lms"),
    *("experiment", "checkpoint", "step", "trained", "data", "tokenizer"),
)


def evaluate_run(
    experiment: Experiment,
    workdir: str | Path,
    runtime: RuntimeConfig | None = None,
    *,
    splits: Sequence[str] = (),
    checkpoint: Choice = "best",
    name: str = "",
    source: Path | None = None,
    results: Path | None = None,
    lms: Mapping[str, str] = NO_LMS,
    conditions: Sequence[RecordingCondition] = (),
    only_missing: bool = False,
    before_batch: Callable[[], None] = no_check,
    print_fn: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Decodes the splits of `experiment.evals` and returns their rows, which are also added to the run's results.jsonl.

    Args:
        workdir: the folder of the run.
        runtime: data folder and devices; None: the defaults.
        splits: names; none means all.
        checkpoint: "best" (by the validation split), "last", a step, or "mean": the mean of all that are kept.
        name: the name of the run in tables; the name of its folder if empty.
        source: the experiment's file; the git commit of its folder is stored in the row.
        results: an additional file for the rows.
        lms: the language models that the searches fuse, as in `load_language_models`.
        conditions: recording conditions under which every split is decoded as well, instead of its own.
        only_missing: True: a split that has a row of this checkpoint, data and search in the run's results.jsonl is not
            decoded again.
        before_batch: called before each batch; an error that it raises ends the evaluation after the rows that are written.
        print_fn: receives a line per split.

    Raises:
        KeyError: no such split.
        FileNotFoundError: no such run or checkpoint.
    """
    runtime = runtime or RuntimeConfig()
    chosen = select_splits(experiment, splits, conditions)
    measurements = report.Measurements(print_fn if is_primary() else None)
    loaded = load_language_models(lms, experiment.tokenizer)
    with Workdir.for_this_process(Path(workdir)) as run:
        found, about = _restored(experiment, run, checkpoint, source)
        name = name or Path(workdir).resolve().name
        rows: list[dict[str, Any]] = []
        decoded: dict[str, BoundPipeline] = {}
        for split_name, split in chosen.items():
            identity = {"name": name, "split": split_name, "lms": loaded.provenance, **about}
            identity |= _identity_of_split(split, runtime.data_dir)
            row = _row_there(run, identity) if only_missing else None
            line = "its row is there"
            if row is None:
                outputs = _output_name(run, found.metadata.experiment, experiment, identity)
                evaluator = make_evaluator(
                    experiment, outputs, split, runtime.data_dir, loaded.models, runtime.parallelism, measurements
                )
                result = evaluator(found.variables, run, workers=runtime.workers, before_batch=before_batch)
                row = {**identity, **result.row, "outputs": outputs}
                decoded[outputs] = evaluator.data
                line = result.line
                if outputs != split_name:
                    line += f"; no decoding of {split_name} as in the run itself: the names of its files have {outputs}"
            rows.append(row)
            _report(f"{split_name}: {line}", row, print_fn, run.path / RESULTS, results)
        _draw_page(run, decoded, measurements)
    return rows


def _draw_page(run: Workdir, decoded: Mapping[str, BoundPipeline], measurements: report.Measurements) -> None:
    """Writes the page of the run anew if splits were decoded."""
    if decoded and is_primary():
        with measurements.optional("the page of the run"):
            write_run_page(run, decoded, measurements)


def select_splits(
    experiment: Experiment, names: Sequence[str] = (), conditions: Sequence[RecordingCondition] = ()
) -> dict[str, Split]:
    """Returns the named splits of `experiment.evals`; no names mean all. Recording conditions replace their own.

    Raises:
        KeyError: no such split.
    """
    chosen = named_splits(experiment.evals, names)
    if not conditions:
        return chosen
    return {name: dataclasses.replace(split, conditions=tuple(conditions)) for name, split in chosen.items()}


def check_data_ready(splits: Iterable[Split], data_dir: Path, lms: Mapping[str, str]) -> None:
    """Checks, before a training of days, that all data and language models for these splits are there.

    Raises:
        FileNotFoundError: a corpus is not prepared.
        ValueError: a corpus has no such split or is damaged, or a search fuses a language model that is not given.
    """
    splits = tuple(splits)
    check_lms_given(lms, [split.search for split in splits])
    for split in splits:
        split.data.open(data_dir)


def _report(line: str, row: Mapping[str, Any], print_fn: Callable[[str], None], *paths: Path | None) -> None:
    """Prints a line and adds the row to the files, in the primary process."""
    if is_primary():
        print_fn(line)
        for path in filter(None, paths):
            report.append(path, row, unless_there=True)


def _row_there(run: Workdir, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the last row of the run with the IDENTITY of a new one; None if there is none. Every process calls it."""
    wanted = _plain({key: identity[key] for key in IDENTITY})
    same = [row for row in _rows(run) if {key: row.get(key) for key in IDENTITY} == wanted]
    return json.loads(broadcast_from_primary("row", json.dumps(same[-1] if same else None)))


def _identity_of_split(split: Split, data_dir: Path) -> dict[str, Any]:
    return {
        "search": {} if split.search is None else tree.flatten(split.search),
        "normalizer": split.normalizer or normalizer_of(split.data),
        "normalizers": list(split.normalizers) or None,  # further forms; None also in rows of older versions
        "conditions": [condition.name for condition in split.conditions] or None,
        "split_data": split.data.open(data_dir).hash,
    }


def _output_name(run: Workdir, trained: str, experiment: Experiment, identity: Mapping[str, Any]) -> str:
    """Returns the name of the files of a decoding, as the primary process finds it. Every process calls it."""
    return broadcast_from_primary("outputs", output_name(trained, experiment, identity, _rows(run)))


def _rows(run: Workdir) -> list[dict[str, Any]]:
    path = run.path / RESULTS
    return report.read(path) if path.is_file() else []


def _plain(values: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(values))


def _restored(
    experiment: Experiment, workdir: Workdir, checkpoint: Choice, source: Path | None
) -> tuple[TrainedVariables, dict[str, Any]]:
    """Restores the variables, with the provenance that every row of results carries."""
    found = restore_variables(experiment.model, experiment.tokenizer, workdir, checkpoint, by=experiment.ranked_by)
    extensions = read_extensions(workdir.extensions)
    return found, {
        "experiment": tree.fingerprint(experiment),
        "recipe": _recipe(experiment, extensions),
        "step": found.step,
        "checkpoint": checkpoint,
        "trained": found.trained,
        "steps": _steps(experiment, workdir, found.trained),
        **_spent(found, workdir),
        "seed": experiment.seed,
        "data": found.metadata.data,
        "tokenizer": found.metadata.tokenizer,
        "trained_sources": found.metadata.versions.get(SOURCES),
        **({"extended": extensions} if extensions else {}),
        **(json.loads(workdir.pretrained.read_text(encoding="utf-8")) if workdir.pretrained.is_file() else {}),
        "hardware": dataclasses.asdict(hardware()),
        **report.provenance(source.parent if source else Path.cwd()),
    }


def _spent(found: TrainedVariables, workdir: Workdir) -> dict[str, Any]:
    """Returns the size of the model and what its training took; None where the run does not know it."""
    totals = next(iter(reversed(read_goodput(workdir.path, _print_nothing))), None)
    device_s = totals.device_s if totals else None
    audio_s = totals.audio_s if totals else None
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(found.variables["params"])),
        "train_hours": found.metadata.train_hours or None,
        "seen_hours": None if not audio_s else round(audio_s / 3600, 4),
        "train_flops": (totals.flops if totals else None) or None,
        "device_hours": None if device_s is None else round(device_s / 3600, 4),
    }


def _print_nothing(_: str) -> None:
    """Takes the warnings about lines of goodput, which the training has printed."""


def _steps(experiment: Experiment, workdir: Workdir, trained: int) -> int:
    """Returns the step at which the run ends: the last one of the experiment, or that at which it was out of patience."""
    rows = read_metrics(workdir.metrics) if experiment.patience is not None and workdir.metrics.is_file() else []
    return trained if is_out_of_patience(experiment, rows, trained) else experiment.steps


def _recipe(experiment: Experiment, extensions: Sequence[Mapping[str, Any]]) -> str:
    """Returns the fingerprint without the seed. That of an extended run differs from that of one with so many steps."""
    recipe = tree.fingerprint(dataclasses.replace(experiment, seed=0))
    if not extensions:
        return recipe
    return hashlib.sha256(f"{recipe} {json.dumps(extensions, sort_keys=True)}".encode()).hexdigest()[: len(recipe)]
