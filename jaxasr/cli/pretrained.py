"""The subcommands that exchange checkpoints with other systems."""

import argparse
from pathlib import Path
from typing import Any

from jaxasr.cli.arguments import checkpoint, experiment_arguments, load_experiment, name_list
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import number, whole_number


def declare_import(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr import`."""
    parser.add_argument(
        "source",
        metavar="DIR",
        help="a Whisper in the layout of Hugging Face (safetensors), or hf://OWNER/NAME[@REVISION]",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="a new folder for the run")
    parser.add_argument(
        "--corpus",
        default="my_corpus",
        metavar="NAME",
        help="the prepared corpus that the experiment is evaluated and fine-tuned on (default: my_corpus, which need not "
        "exist to transcribe)",
    )
    parser.add_argument("--train-split", default="train", metavar="NAME", help="the split to train on (default: train)")
    parser.add_argument(
        "--eval-splits",
        type=name_list,
        default=("test",),
        metavar="A,B",
        help="the splits to evaluate; the first one is the validation split as well (default: test)",
    )
    parser.add_argument(
        "--normalizer",
        default="lower",
        metavar="KIND",
        help="the form of the transcripts that fine-tuning learns; verbatim keeps case and punctuation (default: lower)",
    )
    parser.add_argument(
        "--language", default="en", metavar="XX", help="the language of a multilingual model (default: en)"
    )
    parser.add_argument(
        "--task",
        choices=("transcribe", "translate"),
        default="transcribe",
        help="the task of a multilingual model; translate: into English (default: transcribe)",
    )


def import_checkpoint(options: argparse.Namespace) -> int:
    """Writes a checkpoint as a run: an experiment file and its parameters."""
    from jaxasr.huggingface import ImportOptions, import_run

    if not options.eval_splits:
        raise ValueError("--eval-splits is empty; name at least one split")
    run = import_run(
        options.source,
        options.workdir,
        ImportOptions(
            corpus=options.corpus,
            train=options.train_split,
            validation=options.eval_splits[0],
            evals=options.eval_splits,
            training_form=options.normalizer,
            language=options.language,
            task=options.task,
        ),
    )
    print(f"{run.experiment}: {run.parameters:,} parameters, prompt {run.prompt}")
    print(f"jaxasr transcribe {run.experiment} --workdir {options.workdir} FILE")
    return 0


def declare_export(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr export`."""
    experiment_arguments(parser)
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of the run")
    parser.add_argument(
        "--checkpoint",
        type=checkpoint,
        default="best",
        help="best, last, a step, or mean, the average of all kept checkpoints (default: best)",
    )
    parser.add_argument(
        "--to",
        choices=("hf", "safetensors", "stablehlo"),
        required=True,
        help="hf: a Whisper that transformers loads; safetensors: the arrays of any model by path, with the experiment; "
        "stablehlo: encoder, decoder step and search as programs that run with jax alone",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the files")
    programs = parser.add_argument_group("options of --to stablehlo")
    programs.add_argument(
        "--search",
        metavar="NAME",
        help="the search: that of a split of the experiment, or greedy, ctc, beam (default: that of `jaxasr transcribe`)",
    )
    programs.add_argument(
        "--seconds",
        type=number(above=0.0),
        metavar="S",
        help="the longest wave (default: the longest utterance of training, or what the frontend pads to)",
    )
    programs.add_argument(
        "--batch-size",
        type=whole_number(1),
        metavar="N",
        help="the rows of a batch (default: any number, a symbolic dimension)",
    )
    programs.add_argument(
        "--platforms", type=name_list, metavar="A,B", help="the platforms of the programs (default: cpu,cuda,tpu)"
    )


def export_checkpoint(options: argparse.Namespace) -> int:
    """Writes a checkpoint of a run as files for other systems."""
    experiment = load_experiment(options)
    if options.to == "stablehlo":
        files = _export_programs(options, experiment)
    else:
        from jaxasr.huggingface import export_run

        given = [name for name in _PROGRAM_OPTIONS if getattr(options, name) is not None]
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')} is an option of --to stablehlo, not of --to {options.to}")
        files = export_run(experiment, options.workdir, options.out, to=options.to, checkpoint=options.checkpoint)
    print(f"{options.out}: {', '.join(path.name for path in files)}")
    return 0


_PROGRAM_OPTIONS = ("search", "seconds", "batch_size", "platforms")


def _export_programs(options: argparse.Namespace, experiment: Any) -> list[Path]:
    from jaxasr.evaluation.searches import select_search
    from jaxasr.stablehlo import ProgramOptions, export_programs
    from jaxasr.stablehlo.programs import PLATFORMS

    chosen = ProgramOptions(
        select_search(experiment, options.search or ""),
        options.seconds,
        options.batch_size,
        PLATFORMS if options.platforms is None else options.platforms,
    )
    return export_programs(experiment, options.workdir, options.out, chosen, checkpoint=options.checkpoint)


COMMANDS = (
    Command(
        "import",
        "Writes a Whisper checkpoint of Hugging Face as a run to transcribe, evaluate and fine-tune with.",
        declare_import,
        import_checkpoint,
        (
            "jaxasr import whisper-tiny.en --workdir runs/whisper",
            "jaxasr import hf://openai/whisper-small --workdir runs/whisper-de --language de --corpus my_german "
            "--eval-splits dev,test",
        ),
    ),
    Command(
        "export",
        "Writes a checkpoint of a run as files for other systems.",
        declare_export,
        export_checkpoint,
        (
            "jaxasr export runs/whisper/experiment.py --workdir runs/tuned --to hf --out whisper-tuned",
            "jaxasr export experiments/an4/las.py --workdir runs/an4 --to safetensors --out an4-las",
            "jaxasr export experiments/an4/las.py --workdir runs/an4 --to stablehlo --search greedy --out an4-programs",
        ),
    ),
)
