"""The subcommand that compares recognisers on one test set."""

import argparse
import glob
import json
from pathlib import Path

from jaxasr.cli.arguments import name_list
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import whole_number


def declare_compare(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr compare`."""
    parser.add_argument(
        "systems",
        nargs="+",
        metavar="[NAME=]PATH[,PATH...]",
        help="a system: the workdir of a run or a file of hypotheses (ours, NeMo's, trn, Kaldi's text); several paths, or "
        "* and ?, are the seeds of one recipe. The first system is the baseline of the others",
    )
    parser.add_argument("--split", default="test", help="the split of workdirs (default: test)")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the references of trn and text files")
    parser.add_argument(
        "--slice-by",
        type=name_list,
        default=(),
        metavar="FIELD,FIELD",
        help="fields of the lines of hypotheses that divide the test set, besides length and speaker",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="a file for every figure of the comparison")
    parser.add_argument(
        "--resamples", type=whole_number(1), default=1_000, help="resamples of the bootstrap (default: 1000)"
    )
    parser.add_argument("--seed", type=whole_number(most=2**32 - 1), default=0, help="of resampling (default: 0)")


def compare(options: argparse.Namespace) -> int:
    """Compares systems with the first one, and prints the report."""
    from jaxasr.files import write_whole
    from jaxasr.score import comparison

    if len(options.systems) < 2:
        raise ValueError(f"one system was given, {options.systems[0]!r}; a baseline and at least one other are needed")
    baseline, *others = [
        comparison.System.read(name, paths, options.reference)
        for name, paths in (_system(text, options.split) for text in options.systems)
    ]
    found = [
        comparison.compare_systems(
            baseline, other, slice_by=options.slice_by, resamples=options.resamples, seed=options.seed
        )
        for other in others
    ]
    print(comparison.as_markdown(found))
    if options.json:
        write_whole(options.json, json.dumps(comparison.as_json(found), indent=1, ensure_ascii=False) + "\n")
    return 0


def _system(text: str, split: str) -> tuple[str, list[Path]]:
    """Returns the name of a system and the hypothesis files of its runs.

    Raises:
        FileNotFoundError: a path is not there.
    """
    name, separator, listed = text.partition("=")
    if not separator or "/" in name:  # a folder may have "=" in its name
        name = listed = text
    paths = [Path(path) for part in listed.split(",") for path in _expanded(part)]
    return name, [path / f"hypotheses.{split}.jsonl" if path.is_dir() else path for path in paths]


def _expanded(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern))
    if not found:
        raise FileNotFoundError(f"nothing matches {pattern!r}; a workdir or a file of hypotheses is needed")
    return found


COMMANDS = (
    Command(
        "compare",
        "Compares recognisers on the same utterances: paired tests, intervals, slices and the words that changed.",
        declare_compare,
        compare,
        (
            "jaxasr compare soft=runs/las-0 mocha=runs/mocha-0 --split test",
            "jaxasr compare 'las=runs/an4-[0-4]' 'crdnn=runs/an4-crdnn-*' --json comparison.json",
            "jaxasr compare a.trn b.trn --reference ref.trn",
        ),
    ),
)
