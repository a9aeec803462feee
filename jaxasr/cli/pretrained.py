"""The subcommands that exchange checkpoints with other systems."""

import argparse
from pathlib import Path

from jaxasr.cli.arguments import checkpoint, experiment_arguments, load_experiment, name_list
from jaxasr.cli.command import Command


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
        choices=("hf", "safetensors"),
        required=True,
        help="hf: a Whisper that transformers loads; safetensors: the arrays of any model by path, with the experiment",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the files")


def export_checkpoint(options: argparse.Namespace) -> int:
    """Writes a checkpoint of a run as files for other systems."""
    from jaxasr.huggingface import export_run

    files = export_run(
        load_experiment(options), options.workdir, options.out, to=options.to, checkpoint=options.checkpoint
    )
    print(f"{options.out}: {', '.join(path.name for path in files)}")
    return 0


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
        ),
    ),
)
