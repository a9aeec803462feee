"""The command line: parses, and calls what cli/commands.py does.

jaxasr prepare CORPUS [--from DIR] [OPTION=VALUE ...]      a corpus becomes a prepared one
jaxasr pieces CORPUS FILE --pieces N                       a SentencePiece vocabulary from a corpus's transcripts
jaxasr ngram EXPERIMENT FILE.arpa --order N                an n-gram model of the experiment's transcripts
jaxasr show EXPERIMENT [PATH=VALUE ...]                    the flattened experiment, its fingerprint, its shapes
jaxasr train EXPERIMENT --workdir DIR [PATH=VALUE ...]     trains, or goes on; ends with an evaluation
jaxasr eval EXPERIMENT --workdir DIR [PATH=VALUE ...]      decodes the experiment's splits with a checkpoint
jaxasr tune EXPERIMENT --workdir DIR --grid PATH=V,V ...   the numbers of a search, by what they do on one split
jaxasr transcribe EXPERIMENT --workdir DIR FILE ...        speech files of any length to text
jaxasr calibrate EXPERIMENT --workdir DIR                  confidences of words that mean what they say
jaxasr transcribe EXPERIMENT --workdir DIR --stream -      a microphone's pipe, or one file, to words as they become sure
jaxasr alignable FILE:GENERATOR                            every mechanism on strings of tones, and its table
jaxasr sweep FILE:GENERATOR [PATH=VALUE ...]               every variant that has no rows yet, some at once
jaxasr plan EXPERIMENT --topology v5e:16x16                what a run takes on a machine that is not here
jaxasr table FILE                                          a published table beside our rows
jaxasr bench data|lstm|search|training                     what loader, recurrence, search and training steps take here
jaxasr bench EXPERIMENT [--devices 1,2,4,8]                its step, search and loader over devices, batches and ways
jaxasr verify-resume EXPERIMENT --hosts 2,1,4              that a killed run goes on as if it had not been, on any hosts
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxasr.cli import commands
from jaxasr.cli import transcribe as transcription
from jaxasr.cli.arguments import (
    BENCHMARKS,
    axis,
    benchmark,
    counts,
    data_dir,
    experiment_arguments,
    machine_arguments,
    mesh_argument,
    named,
    names,
    numbers,
    rules_argument,
    run_arguments,
)

JOBS = ("train", "eval")  # commands that several processes run together


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0, 1 for a mistake of the user's, 128 + signal when it was interrupted."""
    options = _parsed(arguments)
    try:
        with _joined(options.name):
            return options.command(options)
    except (ValueError, KeyError, OSError, RuntimeError, FloatingPointError) as error:
        if options.traceback:
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"jaxasr {options.name}: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"jaxasr {options.name}: interrupted; what was finished before is kept", file=sys.stderr)
        return 128 + signal.SIGINT


def _joined(name: str) -> contextlib.AbstractContextManager[None]:
    """What several processes do together is in here; the others of a job are met before JAX is used."""
    if name not in JOBS:
        _refuse_several(name)
        return contextlib.nullcontext()
    from jaxasr.scale import hosts

    return hosts.joined()


def _refuse_several(name: str) -> None:
    """Each of them would do the whole of it, into the same files."""
    if (os.environ.get("JAXASR_PROCESSES") or "1") != "1":
        raise ValueError(
            f"it is one process's work, and JAXASR_PROCESSES={os.environ['JAXASR_PROCESSES']}: start it without "
            f"launch/local.sh, or as one task; several processes run {', '.join(JOBS)} together"
        )


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; assignments may stand anywhere behind the command, which argparse alone does not allow."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "files"):  # files may stand on both sides of an option
        options.files += [Path(each) for each in rest if not each.startswith("-")]
        rest = [each for each in rest if each.startswith("-")]
    strangers = [each for each in rest if each.startswith("-") or "=" not in each]
    if strangers or (rest and not hasattr(options, "assignments")):
        parser.error(f"unrecognized arguments: {' '.join(strangers or rest)}")
    options.assignments = [*getattr(options, "assignments", ()), *rest]
    options.words = list(sys.argv[1:] if arguments is None else arguments)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxasr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def command(name: str, call: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        summary = (call.__doc__ or "").strip()
        sub = subparsers.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=call)
        sub.add_argument("--traceback", action="store_true", help="show where an error came from")
        return sub

    sub = command("prepare", commands.prepare)
    sub.add_argument(
        "corpus", help="an4, librispeech, manifest (your own), text (lines of text alone) or spoken (made here)"
    )
    sub.add_argument("--from", dest="folder", type=Path, help="the folder or archive it is read from")
    sub.add_argument("--overwrite", action="store_true", help="prepare it again though it is there")
    sub.add_argument("--max-bad-share", type=float, default=0.01, help="rows that may be bad before it fails (0.01)")
    sub.add_argument("--normalizer", default="upper", help="a transcript of which it leaves nothing is bad (upper)")
    sub.add_argument("assignments", nargs="*", default=[], metavar="OPTION=VALUE", help="such as split_column=fold")
    data_dir(sub)

    sub = command("pieces", commands.pieces)
    sub.add_argument("corpus", help="a prepared corpus")
    sub.add_argument("file", type=Path, help="the model file to write, beside the experiment")
    sub.add_argument("--pieces", type=int, required=True, help="how many")
    sub.add_argument("--kind", choices=("unigram", "bpe"), default="unigram", help="the method (unigram)")
    sub.add_argument("--split", default="train", help="whose transcripts (train)")
    sub.add_argument("--normalizer", default="upper", help="as in the experiment (upper)")
    data_dir(sub)

    sub = command("ngram", commands.ngram)
    sub.add_argument("experiment", help="FILE.py, FILE.py:function or FILE.py:generator:variant")
    sub.add_argument("file", type=Path, metavar="FILE.arpa", help="the file to write; gzipped if it ends in .gz")
    sub.add_argument("assignments", nargs="*", default=[], metavar="PATH=VALUE", help="of the experiment")
    sub.add_argument("--order", type=int, required=True, help="of the longest n-grams: 6 for characters, 3 for words")
    sub.add_argument("--unit", choices=("token", "word"), default="token", help="of what it is a model (token)")
    sub.add_argument(
        "--text", dest="texts", type=Path, action="append", default=[], metavar="FILE", help="more, a sentence a line"
    )
    sub.add_argument(
        "--prune",
        type=counts,
        default=(),
        metavar="0,0,1",
        help="n-grams of each order that come so often or less are left out; the last number is that of longer ones (0)",
    )
    data_dir(sub)

    sub = command("show", commands.show)
    experiment_arguments(sub)
    data_dir(sub)

    for name, call in {"train": commands.train, "eval": commands.evaluate}.items():
        sub = command(name, call)
        experiment_arguments(sub)
        run_arguments(sub)
        machine_arguments(sub)
        sub.add_argument("--name", dest="run_name", default="", help="of the run in tables (that of the workdir)")
        if name == "train":
            mesh_argument(sub)
            sub.add_argument(
                "--stuck-s",
                type=float,
                default=1_800.0,
                metavar="S",
                help="a process that makes no step for so long ends, and with it the job (1800)",
            )
            rules_argument(sub)
            sub.add_argument("--teacher", type=Path, help="workdir of the run that teaches the experiment's `teacher`")
            sub.add_argument(
                "--fused", type=Path, help="workdir of the run of the language model that the decoder fuses"
            )
        else:
            sub.add_argument(
                "--tuned", type=Path, metavar="FILE", help="tuned.json: its numbers, for splits of the search it is of"
            )
        sub.add_argument(
            "--splits", type=names, default=(), metavar="A,B", help="which of the experiment's evals (all)"
        )
        sub.add_argument("--results", type=Path, help="one more file to add the rows of results to")

    sub = command("tune", commands.tune)
    experiment_arguments(sub)
    run_arguments(sub)
    machine_arguments(sub)
    sub.add_argument("--split", default="watch", help="what is decoded: watch, or one of the evals (watch)")
    sub.add_argument(
        "--grid",
        type=axis,
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH=V,V,V",
        help="a field of the split's search and its values, such as ctc_weight=0,0.3 scorers.0.weight=0.2,0.4",
    )

    sub = command("transcribe", transcription.transcribe)
    transcription.declare(sub)

    sub = command("calibrate", commands.calibrate)
    experiment_arguments(sub)
    run_arguments(sub)
    machine_arguments(sub)
    sub.add_argument("--splits", type=names, default=(), metavar="A,B", help="evals that it is judged on besides (all)")

    sub = command("alignable", commands.alignable)
    sub.add_argument("lessons", metavar="FILE:GENERATOR", help="yields (name, Lesson), as experiments/alignable/zoo.py")
    sub.add_argument("--results", type=Path, help="where rows are kept, and found again (results.jsonl beside FILE)")

    sub = command("sweep", commands.sweep)
    sub.add_argument("experiment", metavar="FILE:GENERATOR", help="yields (name, overrides) of the file's experiment")
    sub.add_argument("assignments", nargs="*", default=[], metavar="PATH=VALUE", help="of every variant")
    sub.add_argument("--jobs", type=int, default=1, help="runs at once (1)")
    sub.add_argument("--workdir", type=Path, help="each run's folder lies in it (runs/FOLDER/GENERATOR)")
    sub.add_argument("--results", type=Path, help="the rows of all (results.jsonl beside FILE)")
    machine_arguments(sub)
    mesh_argument(sub)

    sub = command("table", commands.table)
    sub.add_argument("file", type=Path, help="FILE.py with COLUMNS and ROWS; FILE.md is written beside it")
    sub.add_argument("--results", type=Path, help="the rows (results.jsonl beside FILE)")

    sub = command("plan", commands.plan)
    experiment_arguments(sub)
    sub.add_argument(
        "--topology", required=True, help="v5e:16x16 (v4, v5p, v6e, tpu7x), h100x8:8 (nodes last), or cpu:8"
    )
    sub.add_argument(
        "--mesh",
        action="append",
        default=[],
        metavar="AXIS=N,...",
        help="to be tried; may be given again (some usual ones)",
    )
    rules_argument(sub)
    sub.add_argument(
        "--batch-scale", type=numbers, default=(1.0,), metavar="1,2", help="times the experiment's batch (1)"
    )
    sub.add_argument("--price", type=float, metavar="X", help="of a chip for an hour: what the run costs")
    sub.add_argument(
        "--efficiency",
        type=float,
        default=0.5,
        metavar="X",
        help="the share under which it is said to scale no more (0.5)",
    )
    sub.add_argument("--no-scaling", action="store_true", help="spares compiling for fewer chips: no table of scaling")
    sub.add_argument("--jobs", type=int, default=1, help="compilations at once (1)")
    sub.add_argument("--out", type=Path, metavar="FILE.md", help="takes the report as well")
    data_dir(sub)

    sub = command("verify-resume", commands.verify_resume)
    experiment_arguments(sub)
    sub.add_argument("--hosts", type=counts, required=True, metavar="2,1,4", help="processes of each life of the run")
    sub.add_argument("--steps", type=int, metavar="N", help="of the whole run (4 for each life)")
    sub.add_argument("--limit-s", type=float, default=900.0, metavar="S", help="that a life may take (900)")
    sub.add_argument("--workdir", type=Path, help="a new folder for all that the runs leave (a temporary one)")
    data_dir(sub)

    sub = command("bench", commands.bench)
    sub.add_argument(
        "what",
        type=benchmark,
        help=f"{', '.join(BENCHMARKS)}, or an experiment: FILE.py, FILE.py:function",
    )
    sub.add_argument("assignments", nargs="*", default=[], metavar="PATH=VALUE", help="of an experiment")
    sub.add_argument(
        "--threads", type=counts, metavar="N,N", help="processes bound to so many cores, one after another"
    )
    sub.add_argument("--rounds", type=int, help="measurements, of which medians are taken")
    sub.add_argument(
        "--only",
        type=names,
        metavar="A,B",
        help="of the models of `training`, the groups of `search`, or step, evaluation, loader, loop of FILE.py (all)",
    )
    scaling = sub.add_argument_group("of an experiment")
    scaling.add_argument("--devices", type=counts, metavar="1,2,4", help="numbers of devices (1, and all there are)")
    scaling.add_argument("--how", type=names, metavar="jit,pmap,mesh,fsdp", help="ways of the step (the first three)")
    scaling.add_argument("--batch-scale", type=numbers, metavar="1,2", help="times as many examples as planned (1)")
    scaling.add_argument(
        "--all-shapes", action="store_const", const=True, help="of training; else the one that most batches have"
    )
    scaling.add_argument("--workers", type=int, default=0, help="loader processes; 0: threads (0)")
    scaling.add_argument("--profile", action="store_const", const=True, help="leaves traces of the profiler")
    scaling.add_argument(
        "--out", type=Path, metavar="DIR", help="takes rows, picture and traces (runs/bench/FOLDER-FILE)"
    )
    scaling.add_argument(
        "--lm", dest="lms", type=named, action="append", default=[], metavar="NAME=PLACE", help="as in eval"
    )
    data_dir(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
