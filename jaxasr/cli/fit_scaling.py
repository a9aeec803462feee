"""The subcommand that fits a scaling law to runs of several sizes and amounts of data."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from jaxasr.cli.command import Command
from jaxasr.cli.numbers import float_list, number, whole_number

_OVER = {"N,D": ("N", "D"), "N": ("N",), "D": ("D",), "C": ("C",)}


def declare_fit_scaling(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr fit-scaling`."""
    parser.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULTS",
        help="results.jsonl of runs, or .csv or .json with columns N, D, loss (and C, name)",
    )
    parser.add_argument(
        "--over",
        choices=tuple(_OVER),
        default="N,D",
        help="what the error depends on: N parameters, D hours of training data, C FLOPs of training (default: N,D)",
    )
    parser.add_argument("--split", default="", help="the split of rows of results (default: the only one)")
    parser.add_argument("--metric", default="wer", help="the error of rows of results (default: wer)")
    parser.add_argument("--runs", default="*", metavar="PATTERN", help="names of runs, with * and ? (default: all)")
    parser.add_argument(
        "--hours",
        choices=("train_hours", "seen_hours"),
        default="train_hours",
        help="D of rows: hours of audio trained on, or hours with repetitions (default: train_hours)",
    )
    parser.add_argument(
        "--hold-out-largest",
        type=whole_number(),
        default=0,
        metavar="K",
        help="predict the runs of the K largest inputs instead of fitting them (default: 0)",
    )
    parser.add_argument(
        "--predict",
        type=planned_inputs,
        action="append",
        default=[],
        metavar="N=X,D=Y",
        help="a run that is not trained yet: its error is predicted before it is known; may be repeated",
    )
    parser.add_argument(
        "--compute",
        type=float_list(above=0.0),
        metavar="C,C",
        help="computes of the frontier (default: powers of 10 up to 100 times the largest point)",
    )
    parser.add_argument(
        "--flops-per-parameter-hour",
        type=number(above=0.0),
        metavar="X",
        help="C = X N D (default: the mean of the points that have C; else C is in parameter-hours)",
    )
    parser.add_argument(
        "--delta",
        type=number(above=0.0),
        metavar="X",
        help="of Huber's loss of log residuals; 0.001 in Hoffmann et al. (default: what suits the noise of the points)",
    )
    parser.add_argument(
        "--resamples", type=whole_number(20), default=500, help="resamples of the bootstrap (default: 500)"
    )
    parser.add_argument("--seed", type=whole_number(most=2**32 - 1), default=0, help="of resampling (default: 0)")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="a file for the picture of the law")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a file for every figure of the fit")


def planned_inputs(text: str) -> dict[str, float]:
    """Parses the inputs of a run, such as N=2e6,D=1.9."""
    parse = number(above=0.0)
    parts = [part.partition("=") for part in text.split(",")]
    unknown = [name for name, _, _ in parts if name not in _OVER["N,D"] and name != "C"]
    if unknown or len({name for name, _, _ in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no run: its inputs by name are needed, such as N=2e6,D=1.9")
    return {name: parse(value) for name, _, value in parts}


def fit_scaling(options: argparse.Namespace) -> int:
    """Fits a scaling law, prints it with its bands, and predicts what is held out."""
    from jaxasr.files import write_whole
    from jaxasr.score import scaling_law

    variables = _OVER[options.over]
    for inputs in options.predict:
        if inputs.keys() != set(variables):
            raise ValueError(
                f"--predict gives {', '.join(inputs)}, and the law is over {', '.join(variables)}: give these"
            )
    selection = scaling_law.RowSelection(options.split, options.metric, options.runs, options.hours)
    points = scaling_law.read_points(options.results, selection, variables)
    fitted, held_out = scaling_law.hold_out_largest(points, variables, options.hold_out_largest)
    fit = scaling_law.fit_points(fitted, variables, delta=options.delta, resamples=options.resamples, seed=options.seed)
    predictions = scaling_law.predict(fit, held_out)
    planned = scaling_law.predict(fit, [scaling_law.planned_point(inputs) for inputs in options.predict])
    optimal = _frontier(options, fit) if len(variables) == 2 else None
    print(scaling_law.as_markdown(fit, predictions, optimal, planned))
    if options.json:
        found = scaling_law.as_json(fit, predictions, optimal, planned)
        write_whole(options.json, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if options.picture:
        title = f"{options.metric if options.split else 'error'} {options.split} over {' and '.join(variables)}"
        scaling_law.draw_law(fit, predictions, optimal, path=options.picture, title=title)
    return 0


def _frontier(options: argparse.Namespace, fit: Any) -> Any:
    """Returns the compute-optimal frontier; None, with a line on stderr, if the points do not give one."""
    from jaxasr.score import scaling_law

    given = options.flops_per_parameter_hour
    unit = scaling_law.ComputeUnit(given, given, given) if given else scaling_law.ComputeUnit.of_points(fit.points)
    try:
        return scaling_law.frontier(fit, unit, options.compute or ())
    except ValueError as error:
        print(f"no compute-optimal frontier: {error}", file=sys.stderr)
        return None


COMMANDS = (
    Command(
        "fit-scaling",
        "Fits a scaling law of error over parameters, data or compute, with bands, predictions and the best use of compute.",
        declare_fit_scaling,
        fit_scaling,
        (
            "jaxasr fit-scaling experiments/quickstart/results.jsonl --split test --hold-out-largest 1 --picture law.png",
            "jaxasr fit-scaling points.csv --over C --json law.json",
            "jaxasr fit-scaling points.csv --predict N=2e9,D=50000",
        ),
    ),
)
