"""The subcommand that scores the hypotheses of any recogniser."""

import argparse
import dataclasses
import json
from pathlib import Path

from jaxasr.cli.command import Command

_ROWS = {
    "wer": "WER",
    "substitutions": "  substitutions",
    "deletions": "  deletions",
    "insertions": "  insertions",
    "cer": "CER",
    "cer_no_spaces": "CER without spaces",
    "mer": "MER (mixed units)",
    "ser": "utterances with errors",
    "bleu": "BLEU",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
}


def declare_score(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr score`."""
    parser.add_argument(
        "reference",
        type=Path,
        metavar="REF",
        help="references: text (ID WORDS, or WORDS alone), trn, ctm, stm, JSON lines with id and text; or a file that "
        "has both, such as hypotheses.test.jsonl or NeMo's output",
    )
    parser.add_argument("hypotheses", type=Path, nargs="?", metavar="HYP", help="hypotheses, in any of these formats")
    parser.add_argument(
        "--normalizer",
        default="verbatim",
        help="the normalizer of both before they are scored: verbatim, upper, lower, ... (default: verbatim)",
    )
    parser.add_argument(
        "--no-ids",
        action="store_true",
        help="both files are text with a transcript a line, without ids; found by itself where first words repeat",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="a file for the scores with their intervals")


def score(options: argparse.Namespace) -> int:
    """Prints the scores of hypotheses with their intervals."""
    from jaxasr import text
    from jaxasr.files import write_whole
    from jaxasr.score.comparison import first_words_are_ids, read_line_pair, read_pair, read_transcripts
    from jaxasr.score.estimates import estimates
    from jaxasr.score.jackknife import independent_units
    from jaxasr.score.metrics import measure

    text.check_normalizer(options.normalizer)
    if options.no_ids and options.hypotheses is None:
        raise ValueError("--no-ids is for two files of text, and there is one")
    reading = ""
    if options.hypotheses is None:
        rows = list(read_transcripts(options.reference).values())
    elif options.no_ids or (has_ids := first_words_are_ids(options.reference, options.hypotheses)) is False:
        rows = list(read_line_pair(options.reference, options.hypotheses).values())
        reading = "each line is a transcript, without an id"
    else:
        rows = list(read_pair(options.reference, options.hypotheses).values())
        if has_ids:
            reading = f"the first word of each line is its id, such as {rows[0].id!r}; if there are no ids: --no-ids"
    scores = measure(
        [text.normalize(options.normalizer, row.reference) for row in rows],
        [text.normalize(options.normalizer, row.hypothesis) for row in rows],
    )
    units = independent_units([row.speaker for row in rows])
    found = estimates(scores, blocks=units.blocks)
    print(
        f"{len(rows):,} utterances, {scores.words.references:,} words, normalizer {options.normalizer}; "
        f"95 % intervals over {units.title}"
    )
    if reading:
        print(reading)
    for name, title in _ROWS.items():
        if name in found:
            interval = found[name].interval
            print(f"{title:<24} {found[name].value:8.2%}  [{interval.low:.2%}, {interval.high:.2%}]")
    if options.json:
        content = {name: dataclasses.asdict(estimate) for name, estimate in found.items()}
        head = {"utterances": len(rows), "words": scores.words.references, "normalizer": options.normalizer}
        write_whole(options.json, json.dumps({**head, "intervals_over": units.title, **content}, indent=1) + "\n")
    return 0


COMMANDS = (
    Command(
        "score",
        "Scores hypotheses of any recogniser against references: WER, CER, BLEU and ROUGE with intervals.",
        declare_score,
        score,
        (
            "jaxasr score ref.trn hyp.trn",
            "jaxasr score data/test/text exp/decode/text --normalizer lower",
            "jaxasr score references.txt hypotheses.txt --no-ids",
            "jaxasr score reference.stm hypotheses.ctm --json scores.json",
            "jaxasr score runs/an4-0/hypotheses.test.jsonl",
        ),
    ),
)
