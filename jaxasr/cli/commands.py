"""What each command of the command line does: calls, prints, and returns an exit status. __main__.py parses.

Packages that take long to import are imported by the command that needs them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxasr.cli.arguments import experiment_of, machine_of, rules_of, use_this_machine


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
    from jaxasr.evaluation import estimate_ngram

    made = estimate_ngram(
        experiment_of(options),
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

    experiment = experiment_of(options)
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
    from jaxasr.evaluation import chosen_splits, refuse_unread, refuse_unready
    from jaxasr.run.goodput import process_began_s

    use_this_machine()
    experiment = experiment_of(options)
    refuse_unread(dict(options.lms), [split.search for split in experiment.splits.values()])
    machine = machine_of(options)
    decoded = (experiment.watch, *chosen_splits(experiment, options.splits).values())
    refuse_unready(decoded, options.data_dir, dict(options.lms))
    try:
        elders = {"teacher": options.teacher, "fused": options.fused}
        began_s = process_began_s() if sys.argv[1:2] == ["train"] else None  # this process may do other things too
        run.train(experiment, options.workdir, machine, **elders, lms=dict(options.lms), began_s=began_s)
    except run.Interrupted as interrupted:
        if scale.is_first():
            print(f"jaxasr train: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signum
    return _evaluate(options, experiment)


def evaluate(options: argparse.Namespace) -> int:
    """Decodes splits with a checkpoint."""
    from jaxasr import tree
    from jaxasr.evaluation import chosen_splits, refuse_unread, refuse_unready, tuned_changes

    use_this_machine()
    experiment = experiment_of(options)
    if options.tuned:
        changes = tuned_changes(options.tuned, experiment, options.splits)
        print("\n".join(f"tuned: {path}={value}" for path, value in changes.items()), file=sys.stderr)
        experiment = tree.override(experiment, changes)
    chosen = chosen_splits(experiment, options.splits).values()
    refuse_unread(dict(options.lms), [split.search for split in chosen])
    refuse_unready(chosen, options.data_dir, dict(options.lms))
    return _evaluate(options, experiment)


def tune(options: argparse.Namespace) -> int:
    """Decodes one split with every point of a grid of the search's numbers, and keeps the best in the run's folder."""
    from jaxasr import evaluation

    use_this_machine()
    grid = dict(options.grid)
    evaluation.tune(
        experiment_of(options),
        options.workdir,
        machine_of(options),
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


def calibrate(options: argparse.Namespace) -> int:
    """Fits what makes probabilities of the confidences of words, on the watched split; transcribe uses it from then on."""
    from jaxasr import transcription

    use_this_machine()
    transcription.calibrate(
        experiment_of(options),
        options.workdir,
        machine_of(options),
        splits=options.splits,
        checkpoint=options.checkpoint,
        lms=dict(options.lms),
    )
    print(f"{options.workdir}/confidence.json holds the map; picture: {options.workdir}/pictures/confidence.png")
    return 0


def sweep(options: argparse.Namespace) -> int:
    """Trains and evaluates the variants that a generator yields; does what is left."""
    from jaxasr import sweep

    file, _, generator = options.experiment.partition(":")
    path = Path(file)
    swept = sweep.sweep(
        options.experiment,
        options.workdir or Path("runs") / path.resolve().parent.name / (generator or "_"),
        options.results or path.with_name("results.jsonl"),
        machine_of(options),
        jobs=options.jobs,
        assignments=options.assignments,
    )
    print(f"{len(swept.done)} done, {len(swept.skipped)} were done already, {len(swept.failed)} failed")
    for name, why in swept.failed.items():
        print(f"jaxasr sweep: {name} {why}", file=sys.stderr)
    return 128 + swept.signum if swept.signum else int(bool(swept.failed))


def table(options: argparse.Namespace) -> int:
    """Renders a table file with the rows beside it."""
    from jaxasr import sweep

    print(sweep.table(options.file, options.results))
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measures a part of the system, or an experiment, on this machine."""
    from jaxasr import tree
    from jaxasr.bench import BENCHMARKS, bench_experiment, bench_plan, benchmark
    from jaxasr.experiment import load

    names = ("threads", "rounds", "only", "devices", "how", "batch_scale", "all_shapes")
    asked = {name: getattr(options, name) for name in names}
    if options.what in BENCHMARKS:
        lines = benchmark(options.what, **asked, profile=options.profile, out=options.out)
    else:
        use_this_machine()
        source = Path(options.what.partition(":")[0])
        lines = bench_experiment(
            load(options.what, tree.parse(options.assignments)),
            options.data_dir,
            options.out or Path("runs", "bench", f"{source.resolve().parent.name}-{source.stem}"),
            source=source,
            plan=bench_plan(asked),
            workers=options.workers,
            lms=dict(options.lms),
            profile=bool(options.profile),
        )
    for line in lines:
        print(line, flush=True)
    return 0


def plan(options: argparse.Namespace) -> int:
    """What an experiment takes on a machine that is not here: memory, FLOPs, collectives, time, cost."""
    from jaxasr import cost, plan, scale, tree
    from jaxasr.experiment import load
    from jaxasr.plan import Asked, report_of

    asked = Asked(
        cost.topology(options.topology),
        layouts=tuple(scale.Layout.parse(each) for each in options.mesh),
        rules=rules_of(options.rules),
        batch_scales=options.batch_scale,
        price=options.price,
        efficiency=options.efficiency,
        scales=not options.no_scaling,
        jobs=options.jobs,
    )
    planned = plan.plan(
        load(options.experiment, tree.parse(options.assignments)),
        asked,
        options.data_dir,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = report_of(planned, "jaxasr " + " ".join(options.words))
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0 if planned.chosen else 1


def verify_resume(options: argparse.Namespace) -> int:
    """Trains, kills, goes on with other numbers of processes, and compares with a run without a break."""
    from jaxasr import verify

    proof = verify.verify_resume(
        options.experiment,
        options.assignments,
        options.data_dir,
        options.workdir,
        hosts=options.hosts,
        steps=options.steps,
        limit_s=options.limit_s,
    )
    print("\n".join(proof.lines()))
    return 0 if proof.holds else 1


def alignable(options: argparse.Namespace) -> int:
    """Teaches mechanisms the task of strings of tones, and prints what they make of it."""
    from jaxasr.bench import examine

    use_this_machine()
    results = options.results or Path(options.lessons.partition(":")[0]).with_name("results.jsonl")
    for line in examine(options.lessons, results):
        print(line, flush=True)
    return 0


def _evaluate(options: argparse.Namespace, experiment: Any) -> int:
    from jaxasr import scale
    from jaxasr.evaluation import evaluate_run

    evaluate_run(
        experiment,
        options.workdir,
        machine_of(options),
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
