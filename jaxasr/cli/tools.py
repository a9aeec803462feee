"""The subcommands that forecast and verify: plans, the synthetic alignment task, verification of resuming."""

import argparse
import sys
from pathlib import Path

from jaxasr.cli.arguments import (
    MOST_WORKERS,
    data_dir_argument,
    experiment_arguments,
    load_sharding_rules,
    set_up_process,
    sharding_rules_argument,
)
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import MOST_S, float_list, int_list, number, whole_number


def declare_plan(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr plan`."""
    experiment_arguments(parser)
    parser.add_argument(
        "--topology",
        required=True,
        help="the devices: v5e:16x16 (also v4, v5p, v6e, tpu7x), h100x8:8 (8 nodes of 8 GPUs), or cpu:8",
    )
    parser.add_argument(
        "--mesh",
        action="append",
        default=[],
        metavar="AXIS=N,...",
        help="a mesh to try; may be given several times (default: a few usual ones)",
    )
    sharding_rules_argument(parser)
    parser.add_argument(
        "--batch-scale",
        type=float_list(above=0.0),
        default=(1.0,),
        metavar="1,2",
        help="factors on the batch size of the experiment (default: 1)",
    )
    parser.add_argument(
        "--chip-hour-price",
        type=number(0.0),
        metavar="X",
        help="the price of one chip for one hour, for the cost of the run",
    )
    parser.add_argument(
        "--efficiency",
        type=number(0.0, 1.0),
        default=0.5,
        metavar="X",
        help="the scaling efficiency below which more chips are not worthwhile (default: 0.5)",
    )
    parser.add_argument(
        "--no-scaling",
        action="store_true",
        help="leave out the table of scaling, which needs compiling for fewer chips",
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="search the number of examples of each batch shape that fills the memory, and print the overrides for training",
    )
    parser.add_argument(
        "--jobs", type=whole_number(1, MOST_WORKERS), default=1, metavar="N", help="compilations at once (default: 1)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="a file to which the report is written as well")
    data_dir_argument(parser)


def plan(options: argparse.Namespace) -> int:
    """Forecasts memory, FLOPs, communication, time and cost of a run on another machine."""
    from jaxasr import cost, plan, scale, tree
    from jaxasr.experiment import ExperimentRef
    from jaxasr.plan import PlanRequest, render_report

    request = PlanRequest(
        cost.topology(options.topology),
        layouts=tuple(scale.MeshShape.parse(mesh) for mesh in options.mesh),
        rules=load_sharding_rules(options.sharding_rules),
        batch_scales=options.batch_scale,
        chip_hour_price=options.chip_hour_price,
        efficiency=options.efficiency,
        with_scaling=not options.no_scaling,
        jobs=options.jobs,
        fit=options.fit,
    )
    forecast = plan.plan(
        ExperimentRef(options.experiment, tree.parse(options.assignments)),
        request,
        options.data_dir,
        log_fn=lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = render_report(forecast, "jaxasr " + " ".join(options.words))
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0 if forecast.run else 1


def declare_toy_task(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr toy-task`."""
    parser.add_argument(
        "tasks",
        metavar="FILE:GENERATOR",
        help="a generator that yields (name, ToyTask), such as experiments/alignable/mechanisms.py:attentions",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="the file of the rows; a task with a row is not trained again (default: results.jsonl beside FILE)",
    )


def toy_task(options: argparse.Namespace) -> int:
    """Trains and tests models on the synthetic alignment task, and prints their table."""
    from jaxasr.bench import run_suite

    set_up_process()
    results = options.results or Path(options.tasks.partition(":")[0]).with_name("results.jsonl")
    for line in run_suite(options.tasks, results):
        print(line, flush=True)
    return 0


def declare_verify_resume(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr verify-resume`."""
    experiment_arguments(parser)
    parser.add_argument(
        "--hosts",
        type=int_list(1, MOST_WORKERS),
        required=True,
        metavar="2,1,4",
        help="the number of processes of each attempt; every attempt but the last is killed",
    )
    parser.add_argument(
        "--steps", type=whole_number(1), metavar="N", help="steps of the whole run (default: 4 for each attempt)"
    )
    parser.add_argument(
        "--limit-s",
        type=number(most=MOST_S, above=0.0),
        default=900.0,
        metavar="S",
        help="seconds that an attempt may take (default: 900)",
    )
    parser.add_argument(
        "--workdir", type=Path, help="a new folder for everything that the runs write (default: a temporary one)"
    )
    data_dir_argument(parser)


def verify_resume(options: argparse.Namespace) -> int:
    """Trains with and without interruptions, and compares the two runs."""
    from jaxasr import verify

    report = verify.verify_resume(
        options.experiment,
        options.assignments,
        options.data_dir,
        options.workdir,
        hosts=options.hosts,
        steps=options.steps,
        limit_s=options.limit_s,
    )
    print("\n".join(report.lines()))
    return 0 if report.holds else 1


COMMANDS = (
    Command(
        "plan",
        "Forecasts memory, communication, time and cost of a run on devices that this machine does not have.",
        declare_plan,
        plan,
        (
            "jaxasr plan experiments/specaugment_park2019/las_6_1280.py --topology v5e:16x16",
            "jaxasr plan experiments/an4/las.py --topology h100x8:2 --mesh fsdp=8 --chip-hour-price 2.5 --out plan.md",
        ),
    ),
    Command(
        "toy-task",
        "Trains and tests models on a synthetic alignment task, strings of tones, and prints their table.",
        declare_toy_task,
        toy_task,
        ("jaxasr toy-task experiments/alignable/mechanisms.py:attentions",),
    ),
    Command(
        "verify-resume",
        "Verifies that a run that is killed and resumed, on any number of hosts, equals an uninterrupted run.",
        declare_verify_resume,
        verify_resume,
        ("jaxasr verify-resume experiments/an4/las.py --hosts 2,1,4",),
    ),
)
