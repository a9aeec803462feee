"""The subcommand that measures a part of the package, a trained run or an experiment on this machine."""

import argparse
from pathlib import Path

from jaxasr.cli.arguments import (
    checkpoint,
    data_dir_argument,
    lm_argument,
    name_list,
    overrides_argument,
    set_up_process,
    workers_argument,
)
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import float_list, int_list, number, whole_number

OF_A_RUN = ("non-speech", "streaming")
BENCHMARKS = ("data", "intervals", "lstm", "opening", "search", "training", *OF_A_RUN)  # those that need no experiment


def declare_bench(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr bench`."""
    parser.add_argument(
        "target", type=bench_target, help=f"{', '.join(BENCHMARKS)}, or an experiment: FILE.py or FILE.py:function"
    )
    overrides_argument(parser, "overrides of the experiment")
    parser.add_argument(
        "--threads",
        type=int_list(1),
        metavar="N,N",
        help="numbers of cores; for each, the benchmark runs in a process that is bound to so many",
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(1),
        metavar="N",
        help="the number of measurements of which medians are taken; of `intervals`: simulated test sets",
    )
    parser.add_argument(
        "--benchmarks",
        type=name_list,
        metavar="A,B",
        help="the models of `training`, the groups of `search`, or step, evaluation, loader, loop of an experiment "
        "(default: all)",
    )
    data_dir_argument(parser)
    _declare_run(parser)
    scaling = parser.add_argument_group("options of the benchmark of an experiment")
    scaling.add_argument(
        "--devices", type=int_list(1), metavar="1,2,4", help="numbers of devices (default: one, and all there are)"
    )
    scaling.add_argument(
        "--parallelism",
        type=name_list,
        metavar="A,B",
        help="how the step is compiled: jit, pmap, mesh, fsdp (default: jit,pmap,mesh)",
    )
    scaling.add_argument(
        "--batch-scale",
        type=float_list(above=0.0),
        metavar="1,2",
        help="factors on the number of examples in the batches of the experiment (default: 1)",
    )
    scaling.add_argument(
        "--all-shapes",
        action="store_const",
        const=True,
        help="time a training step for every batch shape; without it, for the most frequent one",
    )
    scaling.add_argument("--profile", action="store_const", const=True, help="write traces of the JAX profiler")
    scaling.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the folder of rows, picture and traces (default: runs/bench/FOLDER-FILE)",
    )
    workers_argument(scaling)
    lm_argument(scaling)


def _declare_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("options of non-speech and streaming, the benchmarks of a trained run")
    run.add_argument("--experiment", metavar="FILE.py", help="the experiment of the run")
    run.add_argument("--workdir", type=Path, metavar="RUN", help="the folder of the run")
    run.add_argument("--checkpoint", type=checkpoint, help="best, last, a step, or mean (default: best)")
    run.add_argument(
        "--seconds",
        type=number(most=3_600.0, above=0.0),
        metavar="S",
        help="seconds of each sound of non-speech (default: 20)",
    )
    run.add_argument(
        "--utterances",
        type=whole_number(1),
        metavar="N",
        help="utterances of the first eval (default: 100; all as streams); of `opening`: of the largest corpus",
    )


def bench_target(text: str) -> str:
    """Parses the name of a benchmark or an experiment."""
    if text not in BENCHMARKS and not text.partition(":")[0].endswith(".py"):
        raise argparse.ArgumentTypeError(f"{text!r} is no benchmark; there are {', '.join(BENCHMARKS)} and FILE.py")
    return text


def bench(options: argparse.Namespace) -> int:
    """Measures a part of the package, or an experiment, on this machine."""
    from jaxasr import tree
    from jaxasr.bench import bench_experiment, bench_plan, benchmark
    from jaxasr.experiment import load

    names = ("threads", "rounds", "benchmarks", "devices", "parallelism", "batch_scale", "all_shapes")
    given = {name: getattr(options, name) for name in names}
    of_run = {name: getattr(options, name) for name in ("experiment", "workdir", "checkpoint", "seconds", "utterances")}
    if options.target in BENCHMARKS:
        given |= of_run
        if options.target in OF_A_RUN:
            set_up_process()
            given["data_dir"] = options.data_dir
        lines = benchmark(options.target, **given, profile=options.profile, out=options.out)
    elif unused := [f"--{name}" for name, value in of_run.items() if value is not None]:
        raise ValueError(
            f"{', '.join(unused)} are options of bench {' and '.join(OF_A_RUN)}, not of the benchmark of an experiment"
        )
    else:
        set_up_process()
        source = Path(options.target.partition(":")[0])
        lines = bench_experiment(
            load(options.target, tree.parse(options.assignments)),
            options.data_dir,
            options.out or Path("runs", "bench", f"{source.resolve().parent.name}-{source.stem}"),
            source=source,
            plan=bench_plan(given),
            workers=options.workers,
            lms=dict(options.lms),
            profile=bool(options.profile),
        )
    for line in lines:
        print(line, flush=True)
    return 0


COMMANDS = (
    Command(
        "bench",
        "Measures the speed of the loader, an LSTM, search, training steps or an experiment on this machine, the coverage of "
        "confidence intervals, words without speech, streams, or the opening of corpora.",
        declare_bench,
        bench,
        (
            "jaxasr bench training --threads 1 --benchmarks conformer",
            "jaxasr bench non-speech --experiment experiments/an4/las.py --workdir runs/an4",
            "jaxasr bench streaming --experiment experiments/quickstart/streaming.py --workdir runs/streaming",
            "jaxasr bench experiments/an4/las.py --benchmarks step,loop --devices 1,8",
            "jaxasr bench intervals --rounds 1000",
            "jaxasr bench opening --utterances 1000000",
        ),
    ),
)
