"""Options that several subcommands share: their declarations, the parsers of their values and the objects they stand for."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxasr.cli.numbers import whole_number
from jaxasr.files import DATA_DIR, default_data_dir

MOST_WORKERS = 1_024  # processes at once
MOST_MICROBATCHES = 4_096
STEP_DIGITS = 18


def experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares an experiment and the overrides of its fields."""
    experiment_argument(parser)
    overrides_argument(parser)


def experiment_argument(parser: argparse.ArgumentParser) -> None:
    """Declares an experiment."""
    parser.add_argument("experiment", help="FILE.py, FILE.py:function or FILE.py:generator:variant")


def overrides_argument(
    parser: argparse.ArgumentParser, text: str = "overrides of the experiment, such as model.encoder.width=256 seed=1"
) -> None:
    """Declares PATH=VALUE arguments. They may stand anywhere after the subcommand, but must be declared last."""
    parser.add_argument("assignments", nargs="*", default=[], metavar="PATH=VALUE", help=text)


def run_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declares a trained run, and the language models that its search fuses.

    Args:
        required: False: the command checks itself whether there is a workdir.
    """
    parser.add_argument("--workdir", type=Path, required=required, help="the folder of the run")
    parser.add_argument(
        "--checkpoint",
        type=checkpoint,
        default="best",
        help="best, last, a step, or mean, the average of all kept checkpoints (default: best)",
    )
    lm_argument(parser)


def lm_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares the language models that the search fuses."""
    parser.add_argument(
        "--lm",
        dest="lms",
        type=lm_spec,
        action="append",
        default=[],
        metavar="NAME=SPEC",
        help="a language model that the search fuses: FILE.arpa, or FILE.py@WORKDIR for an experiment and its run; "
        "may be given several times",
    )


def runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the devices, the loader processes and the folder of the data."""
    parser.add_argument(
        "--parallelism",
        choices=("auto", "jit", "pmap", "mesh"),
        default="auto",
        help="how the step is compiled; auto: mesh if there are several accelerators or processes, else jit (default: auto)",
    )
    workers_argument(parser)
    data_dir_argument(parser)


def workers_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares the number of loader processes."""
    parser.add_argument(
        "--workers",
        type=whole_number(most=MOST_WORKERS),
        default=0,
        metavar="N",
        help="loader processes; 0 loads with threads (default: 0)",
    )


def mesh_argument(parser: argparse.ArgumentParser) -> None:
    """Declares the mesh of a training step. A search needs none: it splits the examples over all devices."""
    parser.add_argument(
        "--mesh",
        default="",
        metavar="AXIS=N,...",
        help="the axes of the device mesh, such as data=4,fsdp=2,tensor=2 (default: all devices on data)",
    )


def microbatches_argument(parser: argparse.ArgumentParser) -> None:
    """Declares the number of microbatches of a training step."""
    parser.add_argument(
        "--microbatches",
        type=whole_number(1, MOST_MICROBATCHES),
        default=1,
        metavar="N",
        help="each device takes its examples of a step in N parts, one after another: the same step with less memory, such "
        "as on fewer devices (default: 1)",
    )


def sharding_rules_argument(parser: argparse.ArgumentParser) -> None:
    """Declares the file of sharding rules for single arrays of the state."""
    parser.add_argument(
        "--sharding-rules",
        metavar="FILE.py",
        help="a file whose function rules() returns scale.Rules: the mesh axes of each array of the state",
    )


def data_dir_argument(parser: argparse.ArgumentParser) -> None:
    """Declares the folder of the prepared corpora."""
    default = default_data_dir()
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default,
        help=f"the folder of the prepared corpora (default: {DATA_DIR}, here {default})".replace("%", "%%"),
    )


def name_list(text: str) -> tuple[str, ...]:
    """Parses names such as "dev,test"."""
    return tuple(filter(None, text.split(",")))


def grid_axis(text: str) -> tuple[str, tuple[str, ...]]:
    """Parses PATH=V,V,V: a field of a search and the values to try."""
    path, _, values = text.partition("=")
    if not path or not name_list(values):
        raise argparse.ArgumentTypeError(f"{text!r} is no PATH=V,V,V, such as ctc_weight=0.1,0.3")
    return path, name_list(values)


def recording_conditions(text: str) -> tuple[Any, ...]:
    """Parses "standard" or the fields of a recording condition."""
    from jaxasr.data import parse_conditions

    try:
        return parse_conditions(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def lm_spec(text: str) -> tuple[str, str]:
    """Parses NAME=SPEC: the name under which a search fuses a language model, and its file or run."""
    name, _, spec = text.partition("=")
    if not name or not spec:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=SPEC, such as words=lm.arpa")
    return name, spec


def checkpoint(text: str) -> int | str:
    """Parses "best", "last", "mean" or a step."""
    if text in ("best", "last", "mean"):
        return text
    if not (text.isascii() and text.isdecimal()) or len(text) > STEP_DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no checkpoint; it is best, last, mean or a step")
    return int(text)


def step_range(text: str) -> tuple[int, int]:
    """Parses A:B, two numbers of steps, the first below the second."""
    first, _, last = text.partition(":")
    numbers = [part for part in (first, last) if part.isascii() and part.isdecimal() and len(part) <= STEP_DIGITS]
    if len(numbers) < 2 or not int(first) < int(last):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: a range of steps A:B with A below B is needed, such as 100:110"
        )
    return int(first), int(last)


def load_experiment(options: argparse.Namespace) -> Any:
    """Returns the experiment, with the fields changed that the command line overrides."""
    from jaxasr import tree
    from jaxasr.experiment import load

    return load(options.experiment, tree.parse(options.assignments))


def runtime_config(options: argparse.Namespace) -> Any:
    """Returns the RuntimeConfig that the options stand for."""
    from jaxasr import scale
    from jaxasr.experiment import RuntimeConfig

    return RuntimeConfig(
        data_dir=options.data_dir,
        parallelism=options.parallelism,
        workers=options.workers,
        layout=scale.MeshShape.parse(getattr(options, "mesh", "")),
        rules=load_sharding_rules(getattr(options, "sharding_rules", None)),
        microbatches=getattr(options, "microbatches", 1),
        **({"step_timeout_s": options.step_timeout_s} if "step_timeout_s" in options else {}),
        **({"trackers": tuple(options.trackers), "profile": options.profile} if "trackers" in options else {}),
    )


def load_sharding_rules(file: str | None) -> Any:
    """Returns the sharding rules that the function `rules` of a file returns, or the built-in rules if there is no file."""
    from jaxasr import scale
    from jaxasr.experiment import load_function

    rules = load_function(file, "rules")() if file else scale.Rules()
    if not isinstance(rules, scale.Rules):
        raise ValueError(f"{file}: rules() gives a {type(rules).__name__}; scale.Rules is needed")
    return rules


def set_up_process() -> None:
    """Turns on the compile cache and keeps freed memory with the process. Neither changes a number."""
    from jaxasr import report, scale

    with report.Measurements().optional("keeping freed memory"):
        scale.keep_freed_memory()
    # on stderr, because stdout is for the results
    print(f"compiled programs are kept in {scale.use_compile_cache()}", file=sys.stderr)
