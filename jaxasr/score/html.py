"""An evaluation as one HTML page: every reference above its hypothesis, errors coloured. It loads nothing else."""

from collections.abc import Iterator, Sequence
from html import escape

from jaxasr.score.alignment import Edit, align_words
from jaxasr.score.breakdown import GROUP_HEADER, by_length, by_speaker, confusions
from jaxasr.score.evaluate import EvalOutput

_STYLE = """
body{font:15px/1.4 system-ui,sans-serif;color:#2b2f33;max-width:72rem;margin:2rem auto;padding:0 1rem}
section{border-top:1px solid #dfe3e6;padding:.5em 0}h2{font-size:13px;font-weight:500;color:#6b7378;margin:.2em 0}
.w{display:inline-block;vertical-align:top;padding:0 .3em;margin:.1em 0;border-radius:3px;text-align:center}
.w span{display:block;min-height:1.4em}.substitute{background:#fbe3c8}.delete{background:#f8d0d3}.insert{background:#cfe3f7}
table{border-collapse:collapse;margin:.5em 0}td,th{padding:.1em .8em .1em 0;text-align:right;font-weight:400}
td:first-child,th:first-child{text-align:left}th{color:#6b7378}details{margin:.3em 0}
#all:not(:checked)~section.right{display:none}.key{margin:0 1em 1em 0}
"""
_KEY = (
    '<p><span class="w substitute key">substituted</span><span class="w delete key">deleted</span>'
    '<span class="w insert key">inserted</span>reference above, hypothesis below; most errors first</p>'
)


def errors_page(evaluation: EvalOutput, title: str) -> str:
    """Returns the page. Utterances without an error are hidden until the box is ticked.

    Args:
        title: the run's and the split's names.
    """
    utterances = evaluation.utterances
    scores = evaluation.scores.utterances
    alignments = align_words(
        [utterance.reference for utterance in utterances], [utterance.hypothesis for utterance in utterances]
    )
    order = sorted(range(len(utterances)), key=lambda k: -scores[k].words.errors)
    right = sum(not score.words.errors for score in scores)
    sections = "".join(
        _section(f"{utterances[k].id}, {_counted(scores[k].words.errors, scores[k].words.references)}", alignments[k])
        for k in order
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>\n'
        f"<h1>{escape(title)}</h1>\n<p>{_headline(evaluation)}</p>\n{_tables(evaluation, alignments)}{_KEY}\n"
        f'<input type="checkbox" id="all"> <label for="all">show the {right:,} without an error</label>\n'
        f"{sections}</html>\n"
    )


def _headline(evaluation: EvalOutput) -> str:
    words = [utterance.words for utterance in evaluation.scores.utterances]
    interval = evaluation.estimates()["wer"].interval
    errors = sum(word.errors for word in words)
    references = sum(word.references for word in words)
    rate = f"{errors / references:.2%}" if references else "no reference words"
    return (
        f"WER {rate} [{interval.low:.2%}, {interval.high:.2%}] over {evaluation.units.title}: {errors:,} errors "
        f"in {references:,} words of {len(words):,} utterances"
    )


def _tables(evaluation: EvalOutput, alignments: Sequence[tuple[Edit, ...]]) -> str:
    """Returns the errors by speaker and by length, and the most frequent ones, each in a part that opens on a click."""
    counted = [[reference, hypothesis, f"{times:,}"] for reference, hypothesis, times in confusions(alignments)]
    return "".join(
        _table(title, header, rows)
        for title, header, rows in (
            ("by speaker", ("speaker", *GROUP_HEADER), [group.cells for group in by_speaker(evaluation)]),
            ("by length", ("words", *GROUP_HEADER), [group.cells for group in by_length(evaluation)]),
            ("most frequent errors", ("reference", "hypothesis", "times"), counted),
        )
        if rows
    )


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<details><summary>{escape(title)}</summary><table><tr>{head}</tr>{body}</table></details>\n"


def _section(heading: str, edits: tuple[Edit, ...]) -> str:
    kind = "right" if all(edit.kind == "equal" for edit in edits) else "wrong"
    return f'<section class="{kind}"><h2>{escape(heading)}</h2>{"".join(_columns(edits))}</section>\n'


def _columns(edits: tuple[Edit, ...]) -> Iterator[str]:
    for edit in edits:
        yield (
            f'<span class="w {edit.kind}"><span>{escape(edit.reference)}</span>'
            f"<span>{escape(edit.hypothesis)}</span></span>"
        )


def _counted(errors: int, references: int) -> str:
    return f"{errors} error{'s' * (errors != 1)} in {references} word{'s' * (references != 1)}"
