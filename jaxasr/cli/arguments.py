"""Options that several commands share: how they are declared, what their texts may be, and what they stand for."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

DATA_DIR = "JAXASR_DATA"
BENCHMARKS = ("data", "lstm", "search", "training")  # those that need no experiment


def experiment_arguments(sub: argparse.ArgumentParser) -> None:
    """An experiment and changes of it."""
    sub.add_argument("experiment", help="FILE.py, FILE.py:function or FILE.py:generator:variant")
    example = "such as model.encoder.width=256 seed=1"
    sub.add_argument("assignments", nargs="*", default=[], metavar="PATH=VALUE", help=example)


def run_arguments(sub: argparse.ArgumentParser) -> None:
    """A trained run, and what its search fuses."""
    sub.add_argument("--workdir", type=Path, required=True, help="the folder of the run")
    sub.add_argument(
        "--checkpoint", type=checkpoint, default="best", help="best, last, a step, or mean: of all kept (best)"
    )
    sub.add_argument(
        "--lm",
        dest="lms",
        type=named,
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="a language model that the search fuses: FILE.arpa, or FILE.py@WORKDIR of its experiment and run",
    )


def machine_arguments(sub: argparse.ArgumentParser) -> None:
    """Devices, loaders and data."""
    sub.add_argument(
        "--how",
        choices=("auto", "jit", "pmap", "mesh"),
        default="auto",
        help="how the step is compiled; auto: a mesh of all accelerators or processes where there are several, else jit",
    )
    sub.add_argument("--workers", type=int, default=0, help="loader processes; 0: threads (0)")
    data_dir(sub)


def mesh_argument(sub: argparse.ArgumentParser) -> None:
    """How a state is laid out over devices: of what trains. A search shares out the examples over all there are."""
    sub.add_argument(
        "--mesh",
        default="",
        metavar="AXIS=N,...",
        help="its axes, such as data=4,fsdp=2,tensor=2 (all devices are data)",
    )


def rules_argument(sub: argparse.ArgumentParser) -> None:
    """Where single arrays of the state lie on it."""
    sub.add_argument(
        "--rules", metavar="FILE.py", help="its rules() returns scale.Rules: where the state lies on the mesh"
    )


def data_dir(sub: argparse.ArgumentParser) -> None:
    """Where prepared corpora are."""
    default = Path(os.environ.get(DATA_DIR) or Path.home() / ".cache" / "jaxasr" / "data")
    sub.add_argument("--data-dir", type=Path, default=default, help=f"prepared corpora ({DATA_DIR}, else {default})")


def names(text: str) -> tuple[str, ...]:
    """A,B"""
    return tuple(filter(None, text.split(",")))


def counts(text: str) -> tuple[int, ...]:
    """1,2"""
    if not all(each.isdigit() for each in names(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers, such as 2,1,4")
    return tuple(int(count) for count in names(text))


def numbers(text: str) -> tuple[float, ...]:
    """0.5,2"""
    try:
        return tuple(float(number) for number in names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, such as 0.5,2") from None


def benchmark(text: str) -> str:
    """The name of one, or an experiment."""
    if text not in BENCHMARKS and not text.partition(":")[0].endswith(".py"):
        raise argparse.ArgumentTypeError(f"{text!r} is no benchmark; there are {', '.join(BENCHMARKS)} and FILE.py")
    return text


def axis(text: str) -> tuple[str, tuple[str, ...]]:
    """PATH=V,V,V"""
    path, _, values = text.partition("=")
    if not path or not names(values):
        raise argparse.ArgumentTypeError(f"{text!r} is no PATH=V,V,V, such as ctc_weight=0.1,0.3")
    return path, names(values)


def named(text: str) -> tuple[str, str]:
    """NAME=PLACE"""
    name, _, place = text.partition("=")
    if not name or not place:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PLACE, such as words=lm.arpa")
    return name, place


def checkpoint(text: str) -> int | str:
    """best, last, mean or a step."""
    if text in ("best", "last", "mean"):
        return text
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no checkpoint; it is best, last, mean or a step")
    return int(text)


def experiment_of(options: argparse.Namespace) -> Any:
    """The experiment, changed as the assignments say."""
    from jaxasr import tree
    from jaxasr.experiment import load

    return load(options.experiment, tree.parse(options.assignments))


def machine_of(options: argparse.Namespace) -> Any:
    """What the options say of devices, loaders and data."""
    from jaxasr import scale
    from jaxasr.experiment import Machine

    return Machine(
        data_dir=options.data_dir,
        how=options.how,
        workers=options.workers,
        layout=scale.Layout.parse(getattr(options, "mesh", "")),
        rules=rules_of(getattr(options, "rules", None)),
        **({"stuck_s": options.stuck_s} if "stuck_s" in options else {}),
    )


def rules_of(file: str | None) -> Any:
    """What the function `rules` of the file gives; without a file the built-in ones."""
    from jaxasr import scale
    from jaxasr.experiment import function_of

    rules = function_of(file, "rules")() if file else scale.Rules()
    if not isinstance(rules, scale.Rules):
        raise ValueError(f"{file}: rules() gives a {type(rules).__name__}; scale.Rules is needed")
    return rules


def use_this_machine() -> None:
    """Process-wide choices that change no number: the compile cache, and freed memory that stays with the process."""
    from jaxasr import scale

    scale.keep_freed_memory()
    print(
        f"compiled programs are kept in {scale.use_compile_cache()}", file=sys.stderr
    )  # what is asked for goes to stdout
