"""The subcommands that evaluate trained runs: decode splits, tune a search, calibrate confidences, render tables."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxasr.cli.arguments import (
    experiment_arguments,
    grid_axis,
    load_experiment,
    name_list,
    recording_conditions,
    run_arguments,
    runtime_arguments,
    runtime_config,
    set_up_process,
)
from jaxasr.cli.command import Command


def result_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what is evaluated and where the rows of results are written, for `jaxasr train` and `jaxasr eval`."""
    parser.add_argument(
        "--name", dest="run_name", default="", help="the name of the run in tables (default: the name of the workdir)"
    )
    parser.add_argument(
        "--splits",
        type=name_list,
        default=(),
        metavar="A,B",
        help="the evals of the experiment to decode (default: all)",
    )
    parser.add_argument("--results", type=Path, help="a file to which the rows of results are appended as well")


def declare_eval(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr eval`."""
    experiment_arguments(parser)
    run_arguments(parser)
    runtime_arguments(parser)
    result_arguments(parser)
    parser.add_argument(
        "--tuned",
        type=Path,
        metavar="FILE",
        help="tuned.json of `jaxasr tune-decoding`: its values replace those of the splits with the same search",
    )
    parser.add_argument(
        "--condition",
        dest="conditions",
        type=recording_conditions,
        action="extend",
        default=[],
        metavar="FIELDS",
        help="decode the splits under a recording condition as well, such as sound=engine,snr_db=5 or reverberation_s=0.4 or "
        "speed=1.2,gain_db=-20; standard: eleven of them. May be repeated",
    )


def evaluate(options: argparse.Namespace) -> int:
    """Decodes splits with a checkpoint and writes rows of results."""
    from jaxasr import tree
    from jaxasr.evaluation import check_data_ready, check_lms_used, select_splits, tuned_changes

    set_up_process()
    experiment = load_experiment(options)
    if options.tuned:
        changes = tuned_changes(options.tuned, experiment, options.splits)
        print("\n".join(f"tuned: {path}={value}" for path, value in changes.items()), file=sys.stderr)
        experiment = tree.override(experiment, changes)
    chosen = select_splits(experiment, options.splits, options.conditions).values()
    check_lms_used(dict(options.lms), [split.search for split in chosen])
    check_data_ready(chosen, options.data_dir, dict(options.lms))
    return evaluate_workdir(options, experiment, conditions=options.conditions)


def evaluate_workdir(
    options: argparse.Namespace, experiment: Any, *, only_missing: bool = False, conditions: Sequence[Any] = ()
) -> int:
    """Decodes the chosen splits with a checkpoint of the workdir, and prints where the results are.

    Returns the exit status: 0, or 128 + signal if a signal ended the evaluation between two batches.
    """
    from jaxasr import run, scale
    from jaxasr.evaluation import evaluate_run

    try:
        with run.stoppable_evaluation() as before_batch:
            evaluate_run(
                experiment,
                options.workdir,
                runtime_config(options),
                splits=options.splits,
                checkpoint=options.checkpoint,
                name=options.run_name,
                source=Path(options.experiment.partition(":")[0]),
                results=options.results,
                lms=dict(options.lms),
                conditions=conditions,
                only_missing=only_missing,
                before_batch=before_batch,
            )
    except run.EvaluationInterrupt as interrupt:
        if scale.is_primary():
            print(f"jaxasr {options.name}: {interrupt}", file=sys.stderr)
        return 128 + interrupt.signum
    if scale.is_primary():
        print(f"rows, hypotheses, curves and alignments are in {options.workdir}")
    return 0


def declare_tune_decoding(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr tune-decoding`."""
    experiment_arguments(parser)
    run_arguments(parser)
    runtime_arguments(parser)
    parser.add_argument(
        "--split", default="validation", help="the split to decode: validation, or an eval (default: validation)"
    )
    parser.add_argument(
        "--grid",
        type=grid_axis,
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH=V,V,V",
        help="a field of the split's search and its values, such as ctc_weight=0,0.3 scorers.0.weight=0.2,0.4",
    )


def tune_decoding(options: argparse.Namespace) -> int:
    """Decodes a split with every point of a grid, and writes the best point and all others into the workdir."""
    from jaxasr import evaluation

    set_up_process()
    grid = dict(options.grid)
    evaluation.tune(
        load_experiment(options),
        options.workdir,
        runtime_config(options),
        grid,
        split=options.split,
        checkpoint=options.checkpoint,
        lms=dict(options.lms),
    )
    tuned = f"{options.workdir}/tuned.json"
    print(f"{tuned} holds the best and all points: jaxasr eval ... --tuned {tuned}")
    print(f"picture: {options.workdir}/pictures/tuned.png")
    return 0


def declare_calibrate(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr calibrate`."""
    experiment_arguments(parser)
    run_arguments(parser)
    runtime_arguments(parser)
    parser.add_argument(
        "--splits",
        type=name_list,
        default=(),
        metavar="A,B",
        help="the evals on which the calibration is tested, besides the validation split (default: all)",
    )


def calibrate(options: argparse.Namespace) -> int:
    """Fits word confidences and the no-speech decision on the validation split, and writes them into the workdir."""
    from jaxasr import transcription

    set_up_process()
    transcription.calibrate(
        load_experiment(options),
        options.workdir,
        runtime_config(options),
        splits=options.splits,
        checkpoint=options.checkpoint,
        lms=dict(options.lms),
    )
    print(f"confidence.json and no_speech.json in {options.workdir} hold the maps; picture: pictures/confidence.png")
    return 0


def declare_table(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr table`."""
    parser.add_argument("file", type=Path, help="FILE.py with COLUMNS and ROWS; FILE.md is written beside it")
    parser.add_argument("--results", type=Path, help="the file of the rows (default: results.jsonl beside FILE)")
    parser.add_argument("--latex", action="store_true", help="write FILE.tex as well, for booktabs")
    parser.add_argument("--html", action="store_true", help="write FILE.html as well")


def table(options: argparse.Namespace) -> int:
    """Renders a table file with the rows of results beside it."""
    from jaxasr import sweep

    formats: tuple[sweep.TableFormat, ...] = ("latex", "html")
    print(sweep.table(options.file, options.results, formats=[name for name in formats if getattr(options, name)]))
    return 0


COMMANDS = (
    Command(
        "eval",
        "Decodes the splits of an experiment with a checkpoint and writes error rates, hypotheses and alignments.",
        declare_eval,
        evaluate,
        (
            "jaxasr eval experiments/an4/las.py --workdir runs/an4 --splits test",
            "jaxasr eval experiments/an4/las.py --workdir runs/an4 --splits test --condition standard",
            "jaxasr eval experiments/an4/searches.py --workdir runs/an4 --tuned runs/an4/tuned.json "
            "--lm chars=characters.arpa",
        ),
        distributed=True,
    ),
    Command(
        "tune-decoding",
        "Decodes one split with every point of a grid of search parameters, and keeps the best point in the workdir.",
        declare_tune_decoding,
        tune_decoding,
        (
            "jaxasr tune-decoding experiments/an4/searches.py --workdir runs/an4 --split dev-joint-chars "
            "--grid ctc_weight=0.1,0.3 scorers.0.weight=0.2,0.4 --lm chars=characters.arpa",
        ),
    ),
    Command(
        "calibrate",
        "Fits word confidences and the no-speech decision on the validation split, for `jaxasr transcribe`.",
        declare_calibrate,
        calibrate,
        ("jaxasr calibrate experiments/an4/las.py --workdir runs/an4",),
    ),
    Command(
        "table",
        "Renders a published table with our results beside it.",
        declare_table,
        table,
        (
            "jaxasr table experiments/conformer_gulati2020/table_2.py",
            "jaxasr table experiments/ablations/attention_table.py --latex --html",
        ),
    ),
)
