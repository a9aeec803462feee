"""The command line: parse, call, print.

jaxasr prepare CORPUS [--from DIR] [OPTION=VALUE ...]      a corpus becomes a prepared one
jaxasr pieces CORPUS FILE --pieces N                       a SentencePiece vocabulary from a corpus's transcripts
jaxasr show EXPERIMENT [PATH=VALUE ...]                    the flattened experiment, its fingerprint, its shapes
jaxasr train EXPERIMENT --workdir DIR [PATH=VALUE ...]     trains, or goes on; ends with an evaluation
jaxasr eval EXPERIMENT --workdir DIR [PATH=VALUE ...]      decodes the experiment's splits with a checkpoint
jaxasr transcribe EXPERIMENT --workdir DIR FILE ...        speech files to text
jaxasr alignable FILE:GENERATOR                           every mechanism on strings of tones, and its table
jaxasr sweep FILE:GENERATOR [PATH=VALUE ...]               every variant that has no rows yet, some at once
jaxasr table FILE                                          a published table beside our rows
jaxasr bench data|lstm                                     what the loader and the recurrence take, measured here
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DATA_DIR = "JAXASR_DATA"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0, 1 for a mistake of the user's, 128 + signal when it was interrupted."""
    options = _parsed(arguments)
    try:
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


def prepare(options: argparse.Namespace) -> int:
    """Prepares a corpus."""
    from jaxasr import data, tree

    report = data.prepare(
        data.source(options.corpus, options.folder, tree.parse(options.assignments)),
        options.data_dir,
        overwrite=options.overwrite,
        max_bad_share=options.max_bad_share,
        normalizer=options.normalizer,
    )
    print("\n".join(report.lines()))
    return 0


def pieces(options: argparse.Namespace) -> int:
    """Trains a SentencePiece vocabulary on the transcripts of a prepared corpus."""
    from jaxasr import data, text

    corpus = data.Corpus(options.corpus, options.split).open(options.data_dir)
    sentences = [text.normalize(options.normalizer, each) for each in corpus.texts]
    made = text.train_sentencepiece(sentences, options.file, pieces=options.pieces, kind=options.kind)
    print(f'{options.file}: {made.size} tokens, the end included; text.SentencePiece("{made.file}", "{made.digest}")')
    return 0


def show(options: argparse.Namespace) -> int:
    """Prints an experiment, and the shapes of its batches if its data is prepared."""
    from jaxasr import tree

    experiment = _experiment(options)
    print(tree.render(experiment))
    print(f"\nfingerprint {tree.fingerprint(experiment)}")
    try:
        print(experiment.train_data.open(options.data_dir).describe())
    except FileNotFoundError as missing:
        print(f"(no shapes: {missing})")
    return 0


def train(options: argparse.Namespace) -> int:
    """Trains and evaluates."""
    from jaxasr import run

    _use_this_machine()
    experiment = _experiment(options)
    try:
        run.train(experiment, options.workdir, _machine(options))
    except run.Interrupted as interrupted:
        print(f"jaxasr train: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signum
    return _evaluate(options, experiment)


def evaluate(options: argparse.Namespace) -> int:
    """Decodes splits with a checkpoint."""
    _use_this_machine()
    return _evaluate(options, _experiment(options))


def transcribe(options: argparse.Namespace) -> int:
    """Prints a line for each file: what was heard. A file that can't be used is named, and the others are still done."""
    from jaxasr import run

    _use_this_machine()
    experiment, status = _experiment(options), 0
    for heard in run.transcribe(experiment, run.Workdir(options.workdir), options.files, checkpoint=options.checkpoint):
        if isinstance(heard, run.Refusal):
            print(f"jaxasr transcribe: {heard.reason}", file=sys.stderr)
            status = 1
            continue
        text = _WRITTEN[options.format](heard)
        if options.out is None:
            print(text, flush=True)
        else:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{heard.path.stem}.{options.format}").write_text(text + "\n")
    return status


def _as_text(heard: Any) -> str:
    cut = "" if heard.complete else "  [cut: the search did not come to an end]"
    return f"{heard.path}\t{heard.text}{cut}"


def _as_json(heard: Any) -> str:
    words = [word._asdict() for word in heard.words]
    scores = {"seconds": heard.seconds, "log_prob": heard.log_prob, "complete": heard.complete}
    return json.dumps({"path": str(heard.path), "text": heard.text, "words": words, **scores}, ensure_ascii=False)


def _as_srt(heard: Any) -> str:
    from jaxasr.report import subtitles

    return subtitles.srt(heard.words)


_WRITTEN = {"txt": _as_text, "json": _as_json, "srt": _as_srt}


def sweep(options: argparse.Namespace) -> int:
    """Trains and evaluates the variants that a generator yields; does what is left."""
    from jaxasr import run

    file, _, generator = options.experiment.partition(":")
    path = Path(file)
    swept = run.sweep(
        options.experiment,
        options.workdir or Path("runs") / path.resolve().parent.name / (generator or "_"),
        options.results or path.with_name("results.jsonl"),
        _machine(options),
        jobs=options.jobs,
        assignments=options.assignments,
    )
    print(f"{len(swept.done)} done, {len(swept.skipped)} were done already, {len(swept.failed)} failed")
    for name, why in swept.failed.items():
        print(f"jaxasr sweep: {name} {why}", file=sys.stderr)
    return 128 + swept.signum if swept.signum else int(bool(swept.failed))


def table(options: argparse.Namespace) -> int:
    """Renders a table file with the rows beside it."""
    from jaxasr import run

    print(run.table(options.file, options.results))
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measures a part of the system on this machine."""
    from jaxasr import run

    for line in run.BENCHMARKS[options.what]():
        print(line, flush=True)
    return 0


def alignable(options: argparse.Namespace) -> int:
    """Teaches mechanisms the task of strings of tones, and prints what they make of it."""
    from jaxasr import run

    _use_this_machine()
    results = options.results or Path(options.lessons.partition(":")[0]).with_name("results.jsonl")
    for line in run.examine(options.lessons, results):
        print(line, flush=True)
    return 0


def _evaluate(options: argparse.Namespace, experiment: Any) -> int:
    from jaxasr import run

    run.evaluate_run(
        experiment,
        options.workdir,
        _machine(options),
        splits=options.splits,
        checkpoint=options.checkpoint,
        name=options.run_name,
        source=Path(options.experiment.partition(":")[0]),
        results=options.results,
    )
    print(f"rows, hypotheses, curves and alignments are in {options.workdir}")
    return 0


def _experiment(options: argparse.Namespace) -> Any:
    from jaxasr import run, tree

    return run.load(options.experiment, tree.parse(options.assignments))


def _machine(options: argparse.Namespace) -> Any:
    from jaxasr import run

    return run.Machine(data_dir=options.data_dir, how=options.how, workers=options.workers)


def _use_this_machine() -> None:
    """Process-wide choices that change no number: the compile cache, and freed memory that stays with the process."""
    from jaxasr import scale

    scale.keep_freed_memory()
    print(f"compiled programs are kept in {scale.use_compile_cache()}")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; assignments may stand anywhere behind the command, which argparse alone does not allow."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    strangers = [each for each in rest if each.startswith("-") or "=" not in each]
    if strangers or (rest and not hasattr(options, "assignments")):
        parser.error(f"unrecognized arguments: {' '.join(strangers or rest)}")
    options.assignments = [*getattr(options, "assignments", ()), *rest]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxasr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def command(name: str, call: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        summary = (call.__doc__ or "").strip()
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=call)
        sub.add_argument("--traceback", action="store_true", help="show where an error came from")
        return sub

    sub = command("prepare", prepare)
    sub.add_argument("corpus", help="an4, librispeech, manifest (your own) or spoken (made here)")
    sub.add_argument("--from", dest="folder", type=Path, help="the folder or archive it is read from")
    sub.add_argument("--overwrite", action="store_true", help="prepare it again though it is there")
    sub.add_argument("--max-bad-share", type=float, default=0.01, help="rows that may be bad before it fails (0.01)")
    sub.add_argument("--normalizer", default="upper", help="a transcript of which it leaves nothing is bad (upper)")
    sub.add_argument("assignments", nargs="*", metavar="OPTION=VALUE", help="fields of the corpus: split_column=fold")
    _data_dir(sub)

    sub = command("pieces", pieces)
    sub.add_argument("corpus", help="a prepared corpus")
    sub.add_argument("file", type=Path, help="the model file to write, beside the experiment")
    sub.add_argument("--pieces", type=int, required=True, help="how many")
    sub.add_argument("--kind", choices=("unigram", "bpe"), default="unigram", help="the method (unigram)")
    sub.add_argument("--split", default="train", help="whose transcripts (train)")
    sub.add_argument("--normalizer", default="upper", help="as in the experiment (upper)")
    _data_dir(sub)

    sub = command("show", show)
    _experiment_arguments(sub)
    _data_dir(sub)

    for name, call in {"train": train, "eval": evaluate}.items():
        sub = command(name, call)
        _experiment_arguments(sub)
        _run_arguments(sub)
        _machine_arguments(sub)
        sub.add_argument("--name", dest="run_name", default="", help="of the run in tables (that of the workdir)")
        sub.add_argument(
            "--splits", type=_names, default=(), metavar="A,B", help="which of the experiment's evals (all)"
        )
        sub.add_argument("--results", type=Path, help="one more file to add the rows of results to")

    sub = command("transcribe", transcribe)
    sub.add_argument("experiment", help="FILE.py or FILE.py:function")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="audio: FLAC, WAV, Ogg, SPHERE ...")
    sub.add_argument("--format", choices=tuple(_WRITTEN), default="txt", help="json has times and scores (txt)")
    sub.add_argument(
        "--out", type=Path, metavar="DIR", help="writes DIR/NAME.FORMAT for each file, instead of printing"
    )
    _run_arguments(sub)

    sub = command("alignable", alignable)
    sub.add_argument("lessons", metavar="FILE:GENERATOR", help="yields (name, Lesson), as experiments/alignable/zoo.py")
    sub.add_argument("--results", type=Path, help="where rows are kept, and found again (results.jsonl beside FILE)")

    sub = command("sweep", sweep)
    sub.add_argument("experiment", metavar="FILE:GENERATOR", help="yields (name, overrides) of the file's experiment")
    sub.add_argument("assignments", nargs="*", metavar="PATH=VALUE", help="of every variant")
    sub.add_argument("--jobs", type=int, default=1, help="runs at once (1)")
    sub.add_argument("--workdir", type=Path, help="each run's folder lies in it (runs/FOLDER/GENERATOR)")
    sub.add_argument("--results", type=Path, help="the rows of all (results.jsonl beside FILE)")
    _machine_arguments(sub)

    sub = command("table", table)
    sub.add_argument("file", type=Path, help="FILE.py with COLUMNS and ROWS; FILE.md is written beside it")
    sub.add_argument("--results", type=Path, help="the rows (results.jsonl beside FILE)")

    sub = command("bench", bench)
    sub.add_argument("what", choices=("data", "lstm"))
    return parser


def _experiment_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("experiment", help="FILE.py, FILE.py:function or FILE.py:generator:variant")
    sub.add_argument("assignments", nargs="*", metavar="PATH=VALUE", help="such as model.encoder.width=256 seed=1")


def _run_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--workdir", type=Path, required=True, help="the folder of the run")
    sub.add_argument(
        "--checkpoint", type=_checkpoint, default="best", help="best, last, a step, or mean: of all kept (best)"
    )


def _machine_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--how", choices=("jit", "pmap", "mesh"), default="jit", help="how the step is compiled (jit)")
    sub.add_argument("--workers", type=int, default=0, help="loader processes; 0: threads (0)")
    _data_dir(sub)


def _data_dir(sub: argparse.ArgumentParser) -> None:
    default = Path(os.environ.get(DATA_DIR) or Path.home() / ".cache" / "jaxasr" / "data")
    sub.add_argument("--data-dir", type=Path, default=default, help=f"prepared corpora ({DATA_DIR}, else {default})")


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _checkpoint(text: str) -> int | str:
    if text in ("best", "last", "mean"):
        return text
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no checkpoint; it is best, last, mean or a step")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
