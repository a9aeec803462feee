"""The subcommands that show, train and sweep experiments."""

import argparse
import math
import shlex
import sys
from pathlib import Path

from jaxasr.cli.arguments import (
    MOST_WORKERS,
    data_dir_argument,
    experiment_arguments,
    load_experiment,
    mesh_argument,
    microbatches_argument,
    overrides_argument,
    run_arguments,
    runtime_arguments,
    runtime_config,
    set_up_process,
    sharding_rules_argument,
    step_range,
)
from jaxasr.cli.command import Command
from jaxasr.cli.evaluation import evaluate_workdir, result_arguments
from jaxasr.cli.numbers import MOST_S, int_list, number, whole_number


def declare_show(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr show`."""
    experiment_arguments(parser)
    data_dir_argument(parser)


def show(options: argparse.Namespace) -> int:
    """Prints an experiment, its fingerprint and, if its data is prepared, its parameters, batch shapes and splits.

    The status is 1 if a split cannot be opened or has nothing to work with.
    """
    from jaxasr import tree
    from jaxasr.experiment.data_report import describe_split
    from jaxasr.run.loop import parameter_count_m

    experiment = load_experiment(options)
    print(tree.render(experiment))
    print(f"\nfingerprint {tree.fingerprint(experiment)}")
    try:
        data = experiment.train_data.open(options.data_dir)
    except FileNotFoundError as missing:
        print(f"(no shapes: {missing})")
        return 0
    print(data.describe())
    print(f"{parameter_count_m(experiment, data)} M parameters\n")
    faults = 0
    for path, pipeline in {
        "train_data": experiment.train_data,
        **{f"{name}.data": split.data for name, split in experiment.splits.items()},
    }.items():
        try:
            print("\n".join(describe_split(path, pipeline, options.data_dir)))
        except (ValueError, OSError) as error:
            print(f"jaxasr show: {path}: {error}", file=sys.stderr)
            faults += 1
    return int(faults > 0)


def declare_train(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr train`."""
    experiment_arguments(parser)
    run_arguments(parser, required=False)
    runtime_arguments(parser)
    mesh_argument(parser)
    sharding_rules_argument(parser)
    microbatches_argument(parser)
    parser.add_argument(
        "--extend",
        action="store_true",
        help="take the `steps`, `patience` and `optimizer.schedule` of this command for a run that has begun with others",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train on two batches of every shape, evaluate one batch, print what the run will take, and write nothing",
    )
    parser.add_argument(
        "--step-timeout-s",
        type=number(most=MOST_S, above=0.0),
        default=1_800.0,
        metavar="S",
        help="seconds without a step after which a process ends, and with it the job (default: 1800)",
    )
    parser.add_argument(
        "--tracker",
        dest="trackers",
        choices=("wandb", "trackio"),
        action="append",
        default=[],
        help="a tracker of metrics besides TensorBoard, offline unless its settings say otherwise; can be repeated",
    )
    parser.add_argument(
        "--profile",
        type=step_range,
        metavar="A:B",
        help="write an XProf trace of the steps after A up to B, such as 100:110, into the folder profile of the workdir",
    )
    parser.add_argument("--teacher", type=Path, help="the workdir of the run of the experiment's `teacher`")
    parser.add_argument(
        "--fusion-lm", type=Path, help="the workdir of the run of the language model that the decoder fuses"
    )
    parser.add_argument(
        "--init-from",
        type=Path,
        metavar="RUN",
        help="the workdir of a run, trained or imported, whose parameters the model begins with where path and shape match",
    )
    result_arguments(parser)


def train(options: argparse.Namespace) -> int:
    """Trains a run, or resumes it, and evaluates it at its end."""
    from jaxasr import report, run, scale
    from jaxasr.evaluation import check_data_ready, check_lms_used, select_splits
    from jaxasr.experiment import Workdir
    from jaxasr.run.clocks import process_start_s

    folder = options.workdir
    if folder is None and not options.dry_run:
        raise ValueError("a run needs a folder: give --workdir, or --dry-run to see what it will take")
    set_up_process()
    experiment = load_experiment(options)
    lms = dict(options.lms)
    check_lms_used(lms, [split.search for split in experiment.splits.values()])
    runtime = runtime_config(options)
    decoded = (experiment.validation, *select_splits(experiment, options.splits).values())
    check_data_ready(decoded, options.data_dir, lms)
    others = {"teacher": options.teacher, "fusion_lm": options.fusion_lm, "init_from": options.init_from, "lms": lms}
    if options.dry_run:
        run.dry_run(experiment, runtime, **others)
        return 0
    started_s = None
    if sys.argv[1:2] == ["train"]:  # the process does nothing but train, so its start is the start of the run
        with report.Measurements().optional("the time before training"):
            started_s = process_start_s()
    try:
        with Workdir.held_for_this_process(options.workdir) as workdir, run.faults_after_steps():
            run.train(experiment, workdir, runtime, **others, extends=options.extend, started_s=started_s)
            return evaluate_workdir(options, experiment, only_missing=True)
    except run.TrainingInterrupt as interrupt:
        if scale.is_primary():
            print(f"jaxasr train: {interrupt}", file=sys.stderr)
        return 128 + interrupt.signum


def declare_sweep(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr sweep`."""
    parser.add_argument(
        "experiment",
        metavar="FILE:GENERATOR",
        help="a generator that yields (name, overrides) of the file's experiment",
    )
    overrides_argument(parser, "overrides of every variant")
    parser.add_argument(
        "--jobs",
        type=whole_number(1, MOST_WORKERS),
        default=1,
        metavar="N",
        help="the number of runs at once (default: 1)",
    )
    parser.add_argument(
        "--devices-per-run",
        type=whole_number(1, MOST_WORKERS),
        default=0,
        metavar="N",
        help="accelerators that each run sees, no two runs the same (default: each sees all)",
    )
    _halving_arguments(parser)
    _slurm_arguments(parser)
    parser.add_argument(
        "--workdir", type=Path, help="the folder that holds the workdir of each run (default: runs/FOLDER/GENERATOR)"
    )
    parser.add_argument(
        "--results", type=Path, help="the file that collects the rows of all runs (default: results.jsonl beside FILE)"
    )
    runtime_arguments(parser)
    mesh_argument(parser)


def _halving_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where the weaker runs of a sweep stop."""
    parser.add_argument(
        "--halving-rungs",
        type=int_list(1),
        default=(),
        metavar="STEPS,STEPS",
        help="evaluations at which the runs that are worse on the validation split stop (default: none)",
    )
    parser.add_argument(
        "--halving-factor",
        type=whole_number(2),
        default=3,
        metavar="N",
        help="at a rung one of N runs continues (default: 3)",
    )
    parser.add_argument(
        "--budget-device-hours",
        type=number(above=0.0),
        default=math.inf,
        metavar="X",
        help="device-hours of all trainings together, after which all runs save and stop (default: no limit)",
    )


def _slurm_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares how a sweep becomes an array of Slurm jobs."""
    parser.add_argument(
        "--slurm-array",
        type=whole_number(1, MOST_WORKERS),
        default=0,
        metavar="N",
        help="submit the sweep as an array of N Slurm jobs, which share the variants, instead of running it here",
    )
    parser.add_argument(
        "--slurm-script", type=Path, default=Path("launch/slurm.sh"), help="the job script (default: launch/slurm.sh)"
    )
    parser.add_argument(
        "--sbatch", default="", metavar="OPTIONS", help="options of sbatch, such as --sbatch='--gpus=1 --time=8:00:00'"
    )


def sweep(options: argparse.Namespace) -> int:
    """Trains and evaluates the variants that have no rows yet."""
    from jaxasr import sweep, tree
    from jaxasr.experiment import variants

    file, _, generator = options.experiment.partition(":")
    path = Path(file)
    halving = sweep.Halving(options.halving_rungs, options.halving_factor)
    if options.slurm_array:
        built = variants(options.experiment, tree.parse(options.assignments))
        halving.check(built)  # a mistake shows here, not in the jobs
        given = shlex.split(options.sbatch)
        elements = options.slurm_array
        print(sweep.submit_array(options.words, elements=elements, script=options.slurm_script, options=given))
        return 0
    result = sweep.sweep(
        options.experiment,
        options.workdir or Path("runs") / path.resolve().parent.name / (generator or "_"),
        options.results or path.with_name("results.jsonl"),
        runtime_config(options),
        jobs=options.jobs,
        devices_per_run=options.devices_per_run,
        halving=halving,
        budget_device_hours=options.budget_device_hours,
        assignments=options.assignments,
    )
    print(f"{len(result.done)} done, {len(result.skipped)} were done already, {len(result.failed)} failed")
    for name, where in result.stopped.items():
        print(f"{name} stopped {where}")
    for name, why in result.failed.items():
        print(f"jaxasr sweep: {name} {why}", file=sys.stderr)
    return 128 + result.signum if result.signum else int(bool(result.failed))


COMMANDS = (
    Command(
        "show",
        "Prints the fields of an experiment, its fingerprint and the shapes of its batches.",
        declare_show,
        show,
        ("jaxasr show experiments/an4/las.py", "jaxasr show experiments/an4/las.py model.encoder.width=256 seed=1"),
    ),
    Command(
        "train",
        "Trains an experiment, or resumes its run, and evaluates it at the end.",
        declare_train,
        train,
        (
            "jaxasr train experiments/an4/las.py --dry-run",
            "jaxasr train experiments/an4/las.py --workdir runs/an4 patience=10",
            "jaxasr train experiments/an4/las.py --workdir runs/an4 --extend steps=8000 optimizer.schedule.decay_until=8000",
            "jaxasr train experiments/an4/las.py --workdir runs/an4-wide model.encoder.width=512 --parallelism mesh",
        ),
        distributed=True,
    ),
    Command(
        "sweep",
        "Trains and evaluates the variants of an experiment that have no results yet.",
        declare_sweep,
        sweep,
        (
            "jaxasr sweep experiments/ablations/encoders.py:encoders --jobs 2",
            "jaxasr sweep experiments/ablations/encoders.py:encoders --jobs 8 --devices-per-run 1",
            "jaxasr sweep experiments/ablations/encoders.py:encoders --halving-rungs 600,1200 --budget-device-hours 4",
            "jaxasr sweep experiments/ablations/encoders.py:encoders --slurm-array 4 --sbatch=--gpus=1",
        ),
    ),
)
