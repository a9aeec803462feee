"""The evaluation at the end of a run: every split is decoded with the best checkpoint and gets a row of results."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxasr import report, tree
from jaxasr.evaluation.evaluators import make_evaluator
from jaxasr.evaluation.language_models import NO_LMS, check_lms_given, load_language_models
from jaxasr.experiment.experiment import Experiment, Split, named_splits, normalizer_of, selection_metric
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from jaxasr.scale import hardware, is_primary
from jaxasr.training import Checkpoints

RESULTS = "results.jsonl"


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
        print_fn: receives a line per split.

    Raises:
        KeyError: no such split.
        FileNotFoundError: no such run or checkpoint.
    """
    folder = Path(workdir)
    runtime = runtime or RuntimeConfig()
    chosen = select_splits(experiment, splits)
    measurements = report.Measurements(print_fn if is_primary() else None)
    loaded = load_language_models(lms, experiment.tokenizer)
    with Workdir.for_this_process(folder) as run:
        variables, about = _restored(experiment, run, checkpoint, source)
        rows = []
        for split_name, split in chosen.items():
            evaluator = make_evaluator(
                experiment, split_name, split, runtime.data_dir, loaded.models, runtime.parallelism, measurements
            )
            result = evaluator(variables, run, workers=runtime.workers)
            row = {
                "name": name or folder.resolve().name,
                "split": split_name,
                **result.row,
                "lms": loaded.provenance,
                "normalizer": normalizer_of(split.data),
                "split_data": evaluator.data.hash,
                **about,
            }
            rows.append(row)
            if is_primary():
                print_fn(f"{split_name}: {result.line}")
                for path in (run.path / RESULTS, results):
                    if path is not None:
                        report.append(path, row)
    return rows


def select_splits(experiment: Experiment, names: Sequence[str] = ()) -> dict[str, Split]:
    """Returns the named splits of `experiment.evals`; no names mean all.

    Raises:
        KeyError: no such split.
    """
    return named_splits(experiment.evals, names)


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


def _restored(
    experiment: Experiment, workdir: Workdir, checkpoint: Choice, source: Path | None
) -> tuple[Any, dict[str, Any]]:
    """Restores the variables, with the provenance that every row of results carries."""
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
