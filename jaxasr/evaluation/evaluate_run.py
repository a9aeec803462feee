"""The end of a run: every split decoded with its best checkpoint, and a row of results for each that says what it is of."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxasr import report, tree
from jaxasr.evaluation.evaluators import make_evaluator
from jaxasr.evaluation.language_models import NO_LMS, load_language_models, check_lms_given
from jaxasr.experiment.experiment import Experiment, Split, named_splits, normalizer_of, selection_metric
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from jaxasr.scale import hardware, is_primary
from jaxasr.training import Checkpoints

RESULTS = "results.jsonl"


def evaluate_run(
    experiment: Experiment,
    folder: Path,
    runtime: RuntimeConfig,
    *,
    splits: Sequence[str] = (),
    checkpoint: Choice = "best",
    name: str = "",
    source: Path | None = None,
    results: Path | None = None,
    lms: Mapping[str, str] = NO_LMS,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Decodes the splits of `experiment.evals` and returns their rows, which are also added to the run's results.jsonl.

    Args:
        folder: the run's.
        splits: names; none means all.
        checkpoint: "best" (by the watched split), "last", a step, or "mean": of all that are kept.
        name: of the run in tables; its folder's where none is given.
        source: the experiment's file, whose git commit stands in the row.
        results: one more file that takes the rows.
        lms: where the language models are that the searches fuse, by name (language_models.py).
        say: takes the lines that are for people.

    Raises:
        KeyError: no such split.
        FileNotFoundError: no such run or checkpoint.
    """
    chosen = select_splits(experiment, splits)
    fused = load_language_models(lms, experiment.tokenizer)
    with Workdir.for_this_process(folder) as workdir:
        variables, about = _restored(experiment, workdir, checkpoint, source)
        rows = []
        for split_name, split in chosen.items():
            judge = make_evaluator(experiment, split_name, split, runtime.data_dir, fused.models, runtime.parallelism)
            verdict = judge(variables, workdir, workers=runtime.workers)
            row = {
                "name": name or folder.resolve().name,
                "split": split_name,
                **verdict.row,
                "lms": fused.provenance,
                "normalizer": normalizer_of(split.data),
                "split_data": judge.data.hash,
                **about,
            }
            rows.append(row)
            if is_primary():
                say(f"{split_name}: {verdict.line}")
                for path in (workdir.path / RESULTS, results):
                    if path is not None:
                        report.append(path, row)
    return rows


def select_splits(experiment: Experiment, names: Sequence[str] = ()) -> dict[str, Split]:
    """Those of `experiment.evals`; no names mean all.

    Raises:
        KeyError: no such split.
    """
    return named_splits(experiment.evals, names)


def check_data_ready(splits: Iterable[Split], data_dir: Path, lms: Mapping[str, str]) -> None:
    """Finds at once what would be missing when these splits are decoded, which may be after days of training.

    Raises:
        FileNotFoundError: a corpus is not prepared.
        ValueError: a corpus has no such split or is damaged, or a search fuses a language model that is not given.
    """
    splits = tuple(splits)
    check_lms_given(lms, [split.search for split in splits])
    for split in splits:
        split.data.open(data_dir)


def _restored(
    experiment: Experiment, workdir: Workdir, checkpoint: Choice, source: Path | None
) -> tuple[Any, dict[str, Any]]:
    """The variables that are decoded with, and what the rows say of where they are from."""
    variables, metadata = trained_variables(experiment, workdir, checkpoint)
    with Checkpoints(workdir.checkpoints, by=selection_metric(experiment.model), mode="read") as checkpoints:
        trained = checkpoints.last()
        step = {"best": checkpoints.best(), "last": trained}.get(str(checkpoint), checkpoint)
    return variables, {
        "experiment": tree.fingerprint(experiment),
        "recipe": tree.fingerprint(dataclasses.replace(experiment, seed=0)),
        "step": step,
        "checkpoint": checkpoint,
        "trained": trained,
        "steps": experiment.steps,
        "seed": experiment.seed,
        "data": metadata.data,
        "tokenizer": metadata.tokenizer,
        "hardware": dataclasses.asdict(hardware()),
        **report.provenance(source.parent if source else Path.cwd()),
    }
