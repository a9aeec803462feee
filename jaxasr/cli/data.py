"""The subcommands that turn corpora into prepared data, vocabularies and n-gram models."""

import argparse
import functools
from pathlib import Path
from typing import Any

from jaxasr.cli.arguments import (
    data_dir_argument,
    experiment_argument,
    load_experiment,
    overrides_argument,
)
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import int_list, number, whole_number

MOST_ORDER = 100  # of an n-gram model


def declare_prepare(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr prepare`. Its help ends with the options of each corpus."""
    parser.print_help = functools.partial(_print_prepare_help, parser)
    parser.add_argument(
        "corpus",
        metavar="CORPUS",
        help="an4, librispeech, manifest (your own recordings), text (lines of text without audio) or spoken "
        "(synthetic speech, made on this machine)",
    )
    parser.add_argument("--from", dest="folder", type=Path, help="the folder or archive to read")
    parser.add_argument("--overwrite", action="store_true", help="prepare the corpus again if it is there already")
    parser.add_argument(
        "--max-bad-share",
        type=number(0.0, 1.0),
        default=0.01,
        help="the share of bad rows above which it fails (default: 0.01)",
    )
    parser.add_argument(
        "--normalizer",
        default="upper",
        help="the normalizer of transcripts; a transcript of which nothing is left is bad (default: upper)",
    )
    parser.add_argument(
        "--min-level-dbfs",
        type=number(most=0.0),
        default=-60.0,
        metavar="X",
        help="the level below which a recording is bad, as root mean square (default: -60)",
    )
    parser.add_argument(
        "--max-clipped-share",
        type=number(0.0, 1.0),
        default=0.01,
        metavar="X",
        help="the share of clipped samples above which a recording is bad (default: 0.01)",
    )
    parser.add_argument(
        "--markup",
        nargs="+",
        metavar=("drop|keep|map", "FILE"),
        help="what becomes of units such as [noise] in transcripts: drop, keep, or map FILE, whose lines have a unit, a tab "
        "and its text (default: a corpus that has some is not prepared, and they are listed)",
    )
    parser.add_argument(
        "--write-experiment",
        type=Path,
        metavar="FILE.py",
        help="an experiment file to write for the corpus: its alphabet, sampling rate and splits, and a model for its hours",
    )
    parser.add_argument(
        "assignments",
        nargs="*",
        default=[],
        metavar="OPTION=VALUE",
        help="options of the corpus, such as split_column=fold; `jaxasr prepare CORPUS --help` lists them",
    )
    data_dir_argument(parser)


def _print_prepare_help(parser: argparse.ArgumentParser, file: Any = None) -> None:
    """Prints the help and the options of each corpus, which are known to modules that take long to import."""
    from jaxasr import data

    lines = [parser.format_help(), "corpora and their options, OPTION=VALUE:", *data.describe_options()]
    print("\n".join(lines), file=file)


def prepare(options: argparse.Namespace) -> int:
    """Prepares a corpus and prints a summary."""
    from jaxasr import data, tree
    from jaxasr.experiment.starter import check_new, write_starter

    if options.write_experiment:
        check_new(options.write_experiment)
    markup, behind = _split_markup(options.markup or [])
    source = data.source(options.corpus, options.folder, tree.parse([*behind, *options.assignments]))
    for line in data.describe_source(source):
        print(line)
    report = data.prepare(
        source,
        options.data_dir,
        overwrite=options.overwrite,
        max_bad_share=options.max_bad_share,
        normalizer=options.normalizer,
        limits=data.SignalLimits(options.min_level_dbfs, options.max_clipped_share),
        markup=data.MarkupPolicy.from_words(markup) if markup else None,
    )
    print("\n".join(report.lines()))
    if options.write_experiment:
        write_starter(report, options.write_experiment)
        print(f"\nnext: jaxasr train {options.write_experiment} --workdir runs/{report.name}")
    return 0


def _split_markup(words: list[str]) -> tuple[list[str], list[str]]:
    """Returns the words of --markup, and the options of the corpus that stand behind them."""
    most = 2 if words[:1] == ["map"] else 1
    behind = [word for word in words[most:] if "=" in word]
    return [word for word in words if word not in behind], behind


def declare_train_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr train-tokenizer`."""
    parser.add_argument("corpus", help="the name of a prepared corpus")
    parser.add_argument("file", type=Path, help="the model file to write; keep it beside the experiment")
    parser.add_argument("--pieces", type=whole_number(1), required=True, metavar="N", help="the number of pieces")
    parser.add_argument("--kind", choices=("unigram", "bpe"), default="unigram", help="the method (default: unigram)")
    parser.add_argument("--split", default="train", help="the split whose transcripts are used (default: train)")
    parser.add_argument("--normalizer", default="upper", help="the normalizer of the experiment (default: upper)")
    data_dir_argument(parser)


def train_tokenizer(options: argparse.Namespace) -> int:
    """Trains a SentencePiece model and prints the line that an experiment needs."""
    from jaxasr import data, text

    corpus = data.Corpus(options.corpus, options.split).open(options.data_dir)
    sentences = [text.normalize(options.normalizer, transcript) for transcript in corpus.texts]
    made = text.train_sentencepiece(sentences, options.file, pieces=options.pieces, kind=options.kind)
    print(f'{options.file}: {made.size} tokens, the end included; text.SentencePiece("{made.file}", "{made.digest}")')
    return 0


def declare_ngram(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr ngram`."""
    experiment_argument(parser)
    parser.add_argument("file", type=Path, metavar="FILE.arpa", help="the file to write; gzipped if it ends in .gz")
    overrides_argument(parser)
    parser.add_argument(
        "--order",
        type=whole_number(1, MOST_ORDER),
        required=True,
        metavar="N",
        help="the order of the longest n-grams; usual are 6 for characters and 3 for words",
    )
    parser.add_argument(
        "--unit", choices=("token", "word"), default="token", help="the unit of the model (default: token)"
    )
    parser.add_argument(
        "--text",
        dest="texts",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="more text, one sentence a line; may be given several times",
    )
    parser.add_argument(
        "--prune",
        type=int_list(),
        default=(),
        metavar="0,0,1",
        help="for each order, the count up to which n-grams are dropped; the last number holds for longer n-grams "
        "(default: 0, nothing is dropped)",
    )
    data_dir_argument(parser)


def ngram(options: argparse.Namespace) -> int:
    """Estimates an n-gram model and prints its sizes and its perplexity on the validation split."""
    from jaxasr.evaluation import estimate_ngram

    made = estimate_ngram(
        load_experiment(options),
        options.file,
        options.data_dir,
        order=options.order,
        unit=options.unit,
        texts=options.texts,
        prune=options.prune,
    )
    print("\n".join(made.lines()))
    return 0


COMMANDS = (
    Command(
        "prepare",
        "Prepares a corpus: reads its recordings and transcripts, checks them and writes them in the format of training.",
        declare_prepare,
        prepare,
        (
            "jaxasr prepare an4 --from an4.tar.gz",
            "jaxasr prepare manifest --from my_recordings name=mine --write-experiment mine.py",
        ),
    ),
    Command(
        "train-tokenizer",
        "Trains a SentencePiece vocabulary on the transcripts of a prepared corpus.",
        declare_train_tokenizer,
        train_tokenizer,
        ("jaxasr train-tokenizer librispeech unigram_1k.model --split train-clean-100 --pieces 1000",),
    ),
    Command(
        "ngram",
        "Estimates an n-gram language model on the training transcripts of an experiment, and optionally on more text.",
        declare_ngram,
        ngram,
        (
            "jaxasr ngram experiments/an4/las.py characters.arpa --order 6",
            "jaxasr ngram experiments/an4/las.py words.arpa --order 3 --unit word --text more.txt",
        ),
    ),
)
