"""Hypotheses as files: one JSON object an utterance for programs, an alignment for people."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jaxasr.files import write_whole
from jaxasr.report import Measurements
from jaxasr.score.alignment import Counts, Edit, align_words
from jaxasr.score.breakdown import GROUP_HEADER, Group, by_length, by_speaker, confusions
from jaxasr.score.evaluate import Candidate, EvalOutput, Utterance
from jaxasr.score.html import errors_page
from jaxasr.score.perplexity import PerplexityResult, TextScore


def write_hypotheses(evaluation: EvalOutput, path: Path, *, measurements: Measurements | None = None) -> None:
    """Writes `path` (JSON lines) and beside it, as .txt and .html, the aligned texts. Each file appears when it is whole.

    A line of JSON: id, speaker, reference, hypothesis, score, finished, substitutions, deletions, insertions, words (of
    the reference), and nbest: a list of text, score, log_prob, finished, best first, and of a beam's the shares of the log
    probability, by scorer. A score that is not finite is null.

    Args:
        path: of the JSON lines; its folder is created if needed.
        measurements: those of the run; the aligned texts are some of them, and left out after an error.
    """
    measurements = measurements or Measurements()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(evaluation.utterances, evaluation.scores.utterances, strict=True)
    _write(path, (json.dumps(_row(utterance, scores.words), ensure_ascii=False) for utterance, scores in rows))
    with measurements.optional("the text of the errors"):
        _write(path.with_suffix(".txt"), aligned_text(evaluation))
    with measurements.optional("the page of the errors"):
        _write(path.with_suffix(".html"), [errors_page(evaluation, path.stem)])


def write_texts(reading: PerplexityResult, path: Path) -> None:
    """Writes what a language model made of each text, as JSON lines, whole: id, text, tokens, words (both with the end),
    log_prob, bits_per_character; the id alone of a text that its vocabulary can't write.

    Args:
        path: its folder is made if it isn't there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [_text_row(text) for text in reading.texts]
    rows += [dict.fromkeys(rows[0]) | {"id": id} for id in reading.out_of_vocabulary]
    _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def _text_row(text: TextScore) -> dict[str, object]:
    return {
        "id": text.id,
        "text": text.text,
        "tokens": text.tokens,
        "words": text.words,
        "log_prob": _rounded(text.log_prob),
        "bits_per_character": _rounded(-text.log_prob / text.characters / math.log(2.0)),
    }


def _rounded(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def aligned_text(evaluation: EvalOutput) -> Iterator[str]:
    """Lines for people: the rates, in all and by speaker and length, what was confused most often, and every utterance.

    Words stand below one another, `*` where there is none, and S, D or I below an error, as in NIST's sclite:

        an251-fash-b: S 1, D 0, I 1 of 3 words, score -1.25
        REF:  yes ** it does
        HYP:  yes so it is
        Eval:     I     S
    """
    alignments = align_words(
        [utterance.reference for utterance in evaluation.utterances],
        [utterance.hypothesis for utterance in evaluation.utterances],
    )
    yield from _headlines(evaluation)
    yield from _groups("speaker", by_speaker(evaluation))
    yield from _groups("words", by_length(evaluation))
    yield from _confusions(alignments)
    for utterance, scores, edits in zip(evaluation.utterances, evaluation.scores.utterances, alignments, strict=True):
        yield ""
        cut = "" if utterance.finished else ", cut before its end"
        yield f"{utterance.id}: {_counted(scores.words)}, score {utterance.candidates[0].score:.2f}{cut}"
        yield from _columns(edits)


def _row(utterance: Utterance, words: Counts) -> dict[str, object]:
    best = utterance.candidates[0]
    return {
        "id": utterance.id,
        "speaker": utterance.speaker,
        "reference": utterance.reference,
        "hypothesis": best.text,
        "score": _finite(best.score),
        "finished": best.finished,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.references,
        "nbest": [_candidate(candidate) for candidate in utterance.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, object]:
    scores = {"score": _finite(candidate.score), "log_prob": _finite(candidate.log_prob)}
    shares = {name: _finite(round(share, 4)) for name, share in candidate.shares.items()}
    return {"text": candidate.text, **scores, "finished": candidate.finished, **({"shares": shares} if shares else {})}


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _headlines(evaluation: EvalOutput) -> Iterator[str]:
    scores = evaluation.scores
    wer = evaluation.estimates()["wer"].interval
    yield f"{len(evaluation.utterances)} utterances, {_counted(scores.words)}"
    yield (
        f"WER {scores.wer:.2%} ({wer.level:.0%} interval over {evaluation.units.title}: {wer.low:.2%} to {wer.high:.2%}), "
        f"CER {scores.cer:.2%}, utterances with errors {scores.ser:.2%}"
    )
    for what, ids in (("cut before their end", evaluation.cut), ("repeating themselves", evaluation.repetitive)):
        if ids:
            yield f"{len(ids)} {what}: {' '.join(ids)}"


def _counted(words: Counts) -> str:
    return f"S {words.substitutions}, D {words.deletions}, I {words.insertions} of {words.references} words"


def _groups(title: str, groups: Sequence[Group]) -> Iterator[str]:
    if groups:
        yield ""
        width = max(len(title), *(len(group.name) for group in groups))
        for name, *cells in [[title, *GROUP_HEADER], *(group.cells for group in groups)]:
            yield f"{name:{width}}" + "".join(f"{cell:>11}" for cell in cells)


def _confusions(alignments: Sequence[tuple[Edit, ...]]) -> Iterator[str]:
    counted = confusions(alignments)
    if counted:
        yield ""
        yield "Most frequent errors (reference > hypothesis):"
    for reference, hypothesis, times in counted:
        yield f"{times:6d}  {reference} > {hypothesis}"


def _columns(edits: tuple[Edit, ...]) -> Iterator[str]:
    letters = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}
    rows: dict[str, list[str]] = {"REF: ": [], "HYP: ": [], "Eval:": []}
    for edit in edits:
        width = max(len(edit.reference), len(edit.hypothesis))
        cells = (edit.reference or "*" * width, edit.hypothesis or "*" * width, letters[edit.kind])
        for row, cell in zip(rows.values(), cells, strict=True):
            row.append(cell.ljust(width))
    if all(edit.kind == "equal" for edit in edits):
        del rows["Eval:"]
    for name, cells in rows.items():
        yield f"{name} {' '.join(cells)}".rstrip()


def _write(path: Path, lines: Iterable[str]) -> None:
    write_whole(path, "".join(f"{line}\n" for line in lines))
