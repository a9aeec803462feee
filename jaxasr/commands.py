"""What each command of the command line does: calls, prints, and returns an exit status. __main__.py parses.

Packages that take long to import are imported by the command that needs them.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any


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


def ngram(options: argparse.Namespace) -> int:
    """Estimates an n-gram model of an experiment's training transcripts, and more text."""
    from jaxasr import run

    made = run.estimate_ngram(
        _experiment(options),
        options.file,
        options.data_dir,
        order=options.order,
        unit=options.unit,
        texts=options.texts,
        prune=options.prune,
    )
    print("\n".join(made.lines()))
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
    from jaxasr import run, scale
    from jaxasr.run.goodput import process_began_s

    _use_this_machine()
    experiment = _experiment(options)
    run.refuse_unread(dict(options.lms), [split.search for split in experiment.splits.values()])
    try:
        elders = {"teacher": options.teacher, "fused": options.fused}
        began_s = process_began_s() if sys.argv[1:2] == ["train"] else None  # this process may do other things too
        run.train(experiment, options.workdir, _machine(options), **elders, lms=dict(options.lms), began_s=began_s)
    except run.Interrupted as interrupted:
        if scale.is_first():
            print(f"jaxasr train: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signum
    return _evaluate(options, experiment)


def evaluate(options: argparse.Namespace) -> int:
    """Decodes splits with a checkpoint."""
    from jaxasr import run, tree

    _use_this_machine()
    experiment = _experiment(options)
    if options.tuned:
        changes = run.tuned_changes(options.tuned, experiment, options.splits)
        print("\n".join(f"tuned: {path}={value}" for path, value in changes.items()), file=sys.stderr)
        experiment = tree.override(experiment, changes)
    chosen = [split for name, split in experiment.evals.items() if name in (options.splits or experiment.evals)]
    run.refuse_unread(dict(options.lms), [split.search for split in chosen])
    return _evaluate(options, experiment)


def tune(options: argparse.Namespace) -> int:
    """Decodes one split with every point of a grid of the search's numbers, and keeps the best in the run's folder."""
    from jaxasr import run

    _use_this_machine()
    grid = dict(options.grid)
    run.tune(
        _experiment(options),
        options.workdir,
        _machine(options),
        grid,
        split=options.split,
        checkpoint=options.checkpoint,
        lms=dict(options.lms),
    )
    print(
        f"{options.workdir}/tuned.json holds the best and all points: jaxasr eval ... --tuned {options.workdir}/tuned.json"
    )
    print(f"picture: {options.workdir}/pictures/tuned.png")
    return 0


def transcribe(options: argparse.Namespace) -> int:
    """Writes what is said in files of any length, while it is heard. A file that can't be used is named, the others done."""
    from jaxasr import run

    changes, files = _assignments(options.assignments, options.files)
    _refuse_idle(options)
    if options.stream:
        return _stream(options, changes, files)
    run.refuse_places(files, options.format, options.out)
    _use_this_machine()
    of_search = {path.removeprefix("search."): changes.pop(path) for path in [*changes] if path.startswith("search.")}
    experiment = run.load(options.experiment, changes)
    with run.bar_for(files) as bar:
        heard = run.follow(
            experiment,
            run.Workdir(options.workdir),
            files,
            search=run.chosen_search(experiment, options.search, of_search, options.tuned),
            checkpoint=options.checkpoint,
            lms=dict(options.lms),
            hotwords=_phrases(options.hotwords) if options.hotwords else (),
            hotword_bonus=options.hotword_bonus,
            times=options.times,
            window_s=options.window_s,
            rows=options.rows,
            progress=bar,
        )
        status = 0
        for each in run.write_transcripts(heard, options.format, options.out):
            if isinstance(each, run.Refusal):
                print(f"jaxasr transcribe: {each.reason}", file=sys.stderr)
                status = 1
            elif not each.complete:
                print(f"jaxasr transcribe: {each.path}: a search was cut before it came to an end", file=sys.stderr)
    return status


def _assignments(given: list[str], files: list[Path]) -> tuple[dict[str, str], list[Path]]:
    """Changes of the experiment by path, and the files: PATH=VALUE may stand among them."""
    from jaxasr import tree

    there = [file for file in files if not _ASSIGNED.match(str(file)) or file.exists()]
    changes = tree.parse([*given, *(str(file) for file in files if file not in there)])
    if not there:
        raise ValueError("there is nothing to hear: give at least one FILE")
    return changes, there


_ASSIGNED = re.compile(r"[A-Za-z_][\w.]*=")


def _refuse_idle(options: argparse.Namespace) -> None:
    """Options that would do nothing, with --stream or without."""
    idle = _WITHOUT_STREAM if options.stream else _WITH_STREAM
    given = [_flag(name) for name, default in idle.items() if getattr(options, name) != default]
    if given:
        raise ValueError(f"{', '.join(given)} can't be used with{'' if options.stream else 'out'} --stream")


def _flag(name: str) -> str:
    return "--lm" if name == "lms" else "--" + name.replace("_", "-")


_WITH_STREAM = {"real_time": False, "chunk_ms": None, "new_encoder": False}
_WITHOUT_STREAM = {"search": "", "tuned": None, "hotwords": None, "lms": [], "window_s": None, "times": "auto"}


def _phrases(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file of hotwords {file}")
    phrases = list(filter(str.strip, file.read_text(encoding="utf-8").splitlines()))
    if not phrases:
        raise ValueError(f"{file} has no hotwords; a phrase a line is needed")
    return phrases


def calibrate(options: argparse.Namespace) -> int:
    """Fits what makes probabilities of the confidences of words, on the watched split; transcribe uses it from then on."""
    from jaxasr import run

    _use_this_machine()
    run.calibrate(
        _experiment(options),
        options.workdir,
        _machine(options),
        splits=options.splits,
        checkpoint=options.checkpoint,
        lms=dict(options.lms),
    )
    print(f"{options.workdir}/confidence.json holds the map; picture: {options.workdir}/pictures/confidence.png")
    return 0


def _stream(options: argparse.Namespace, changes: dict[str, str], files: list[Path]) -> int:
    """Prints each word of one stream as soon as it is sure, and at the end how late they came."""
    from jaxasr import run
    from jaxasr.run import live

    if len(files) != 1 or options.format not in live.WRITTEN or options.out is not None:
        raise ValueError(
            f"--stream hears one FILE or -, and prints what it hears as {' or '.join(live.WRITTEN)}; it was given "
            f"{len(files)} files, --format {options.format} and --out {options.out}"
        )
    _use_this_machine()
    heard = live.stream(
        run.load(options.experiment, changes),
        live.Workdir(options.workdir),
        files[0],
        real_time=options.real_time,
        chunk_ms=options.chunk_ms,
        renews_encoder=options.new_encoder,
        checkpoint=options.checkpoint,
    )
    for each in heard:
        print(live.WRITTEN[options.format](each), flush=True)
    return 0


FORMATS = ("txt", "json", "srt")  # of transcripts: run.written


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
    """Measures a part of the system, or an experiment, on this machine."""
    from jaxasr import run, tree

    names = ("threads", "rounds", "only", "devices", "how", "batch_scale", "all_shapes")
    asked = {name: getattr(options, name) for name in names}
    if options.what in run.BENCHMARKS:
        lines = run.benchmark(options.what, **asked, profile=options.profile, out=options.out)
    else:
        _use_this_machine()
        source = Path(options.what.partition(":")[0])
        lines = run.bench_experiment(
            run.load(options.what, tree.parse(options.assignments)),
            options.data_dir,
            options.out or Path("runs", "bench", f"{source.resolve().parent.name}-{source.stem}"),
            source=source,
            plan=run.bench_plan(asked),
            workers=options.workers,
            lms=dict(options.lms),
            profile=bool(options.profile),
        )
    for line in lines:
        print(line, flush=True)
    return 0


def plan(options: argparse.Namespace) -> int:
    """What an experiment takes on a machine that is not here: memory, FLOPs, collectives, time, cost."""
    from jaxasr import run, scale, tree

    rules = run.function_of(options.rules, "rules")() if options.rules else scale.Rules()
    asked = run.Asked(
        scale.topology(options.topology),
        layouts=tuple(scale.Layout.parse(each) for each in options.mesh),
        rules=rules,
        batch_scales=options.batch_scale,
        price=options.price,
        efficiency=options.efficiency,
        scales=not options.no_scaling,
        jobs=options.jobs,
    )
    planned = run.plan(
        run.load(options.experiment, tree.parse(options.assignments)),
        asked,
        options.data_dir,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = run.report_of(planned, "jaxasr " + " ".join(options.words))
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0 if planned.chosen else 1


def verify_resume(options: argparse.Namespace) -> int:
    """Trains, kills, goes on with other numbers of processes, and compares with a run without a break."""
    import tempfile

    from jaxasr import run

    folder = options.workdir or Path(tempfile.mkdtemp(prefix="verify-resume-"))
    print(f"workdirs, traces and what the processes say are in {folder}", flush=True)
    proof = run.verify_resume(
        options.experiment,
        options.assignments,
        options.data_dir,
        folder,
        hosts=options.hosts,
        steps=options.steps,
        limit_s=options.limit_s,
    )
    print("\n".join(proof.lines()))
    return 0 if proof.holds else 1


def alignable(options: argparse.Namespace) -> int:
    """Teaches mechanisms the task of strings of tones, and prints what they make of it."""
    from jaxasr import run

    _use_this_machine()
    results = options.results or Path(options.lessons.partition(":")[0]).with_name("results.jsonl")
    for line in run.examine(options.lessons, results):
        print(line, flush=True)
    return 0


def _evaluate(options: argparse.Namespace, experiment: Any) -> int:
    from jaxasr import run, scale

    run.evaluate_run(
        experiment,
        options.workdir,
        _machine(options),
        splits=options.splits,
        checkpoint=options.checkpoint,
        name=options.run_name,
        source=Path(options.experiment.partition(":")[0]),
        results=options.results,
        lms=dict(options.lms),
    )
    if scale.is_first():
        print(f"rows, hypotheses, curves and alignments are in {options.workdir}")
    return 0


def _experiment(options: argparse.Namespace) -> Any:
    from jaxasr import run, tree

    return run.load(options.experiment, tree.parse(options.assignments))


def _machine(options: argparse.Namespace) -> Any:
    from jaxasr import run, scale

    rules = getattr(options, "rules", None)
    return run.Machine(
        data_dir=options.data_dir,
        how=options.how,
        workers=options.workers,
        layout=scale.Layout.parse(options.mesh),
        rules=run.function_of(rules, "rules")() if rules else scale.Rules(),
        **({"stuck_s": options.stuck_s} if "stuck_s" in options else {}),
    )


def _use_this_machine() -> None:
    """Process-wide choices that change no number: the compile cache, and freed memory that stays with the process."""
    from jaxasr import scale

    scale.keep_freed_memory()
    print(
        f"compiled programs are kept in {scale.use_compile_cache()}", file=sys.stderr
    )  # what is asked for goes to stdout
