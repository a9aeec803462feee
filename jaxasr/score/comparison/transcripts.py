"""Files of hypotheses in the formats that recognisers and scoring tools write: one reader, which names the line of an error.

| format | a line |
|---|---|
| jaxasr (`hypotheses.SPLIT.jsonl`) | JSON with id, speaker, reference, hypothesis |
| NeMo (output manifest) | JSON with audio_filepath, text, pred_text |
| trn (sclite) | `WORDS (ID)` |
| text (Kaldi, ESPnet) | `ID WORDS` |

The last two hold no references; these come from a second file. Two text files may also have a transcript a line, without ids.
`jaxasr score` takes the texts of any file as references or hypotheses, also those of manifests and of CTM and STM files
(timed_words.py).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from jaxasr.score.comparison.timed_words import is_timed, read_timed, texts_of_recordings, words_of_segments

Format = Literal["jaxasr", "nemo", "trn", "text"]
Role = Literal["reference", "hypothesis"]
_TRN = re.compile(r"(?P<text>.*)\((?P<id>[^()\s]+)\)\s*$")
_JSON_KEYS: Mapping[Format, tuple[str, str, str]] = {
    "jaxasr": ("id", "reference", "hypothesis"),
    "nemo": ("audio_filepath", "text", "pred_text"),
}
_IDS = ("id", "utt_id", "key", "audio_filepath", "audio")
_TEXTS: Mapping[Role, tuple[str, ...]] = {
    "reference": ("reference", "text", "sentence", "transcript"),
    "hypothesis": ("hypothesis", "pred_text", "text", "transcript"),
}
_ID_MARK = re.compile(r"[\d_/-]")  # a character of ids that begins few words of transcripts
_SHOWN = 5  # ids that an error lists


@dataclass(frozen=True)
class HypothesisRow:
    """A line of a file: the reference and the hypothesis of an utterance."""

    id: str
    speaker: str  # empty: not known
    reference: str
    hypothesis: str
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])  # everything else of the line, such as snr_db


def read_transcripts(path: Path, reference: Path | None = None) -> dict[str, HypothesisRow]:
    """Returns the transcripts of a file by utterance id, in the order of the file.

    Args:
        path: the hypotheses, in one of the formats above; the first line decides which.
        reference: the references of a trn or text file, in trn or text. Files with references ignore it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is not in the format of the first, an id occurs twice, or references are missing.
    """
    kind, lines = _numbered_lines(path)
    if kind in _JSON_KEYS:
        return _by_id(path, lines, lambda line: _from_json(line, *_JSON_KEYS[kind]))
    hypotheses = _by_id(path, lines, _PARSERS[kind])
    if reference is None:
        raise ValueError(f"{path} is in the format {kind}, which holds no references: give them with --reference FILE")
    references = _read_texts(reference, "reference")
    check_same_ids(reference, references, path, hypotheses)
    return {id: _joined(references[id], row) for id, row in hypotheses.items()}


def read_pair(reference: Path, hypotheses: Path) -> dict[str, HypothesisRow]:
    """Returns the transcripts of two files by utterance id, in the order of the references.

    Ids that are paths are compared by the names of their files if the files have different ids. A recording of which a CTM
    file has no word has an empty hypothesis.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file has no known format, or the two have different utterances.
    """
    if is_timed(reference) and is_timed(hypotheses):
        return _read_timed_pair(reference, hypotheses)
    references = _read_texts(reference, "reference")
    found = _read_texts(hypotheses, "hypothesis")
    if references.keys() != found.keys():
        references = _by_stem(references)
        found = _by_stem(found)
    if is_timed(hypotheses):
        found = {id: HypothesisRow(id, "", "", "") for id in references} | found
    check_same_ids(reference, references, hypotheses, found)
    return {id: _joined(row, found[id]) for id, row in references.items()}


def first_words_are_ids(reference: Path, hypotheses: Path) -> bool | None:
    """Returns whether the first words of two text files are ids, or None if one of the files has another format.

    They are not if words repeat that look like none: the files have a transcript a line.
    """
    repeated: set[str] = set()
    for path in (reference, hypotheses):
        if is_timed(path) or (numbered := _numbered_lines(path))[0] != "text":
            return None
        counts = Counter(line.split(maxsplit=1)[0] for _, line in numbered[1])
        repeated |= {word for word, count in counts.items() if count > 1}
    return not repeated or any(_ID_MARK.search(word) for word in repeated)


def read_line_pair(reference: Path, hypotheses: Path) -> dict[str, HypothesisRow]:
    """Returns the transcripts of two files with a transcript a line, without ids; an empty line is an empty transcript.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file has no text, or the two have different numbers of lines.
    """
    (references, found) = (_plain_text(path).removesuffix("\n").split("\n") for path in (reference, hypotheses))
    if len(references) != len(found):
        raise ValueError(
            f"{reference} has {len(references)} lines and {hypotheses} {len(found)}; without ids each line is a "
            "transcript, an empty one included, so that both need as many"
        )
    pairs = enumerate(zip(references, found, strict=True), start=1)
    return {str(number): HypothesisRow(str(number), "", a.strip(), b.strip()) for number, (a, b) in pairs}


def _read_timed_pair(reference: Path, hypotheses: Path) -> dict[str, HypothesisRow]:
    segments = read_timed(reference, _plain_lines(reference))
    words = read_timed(hypotheses, _plain_lines(hypotheses))
    texts = words_of_segments(words, segments)
    return {
        segment.id: HypothesisRow(segment.id, segment.speaker, segment.text, texts[segment.id])
        for segment in segments
        if segment.id in texts
    }


def _read_texts(path: Path, role: Role) -> dict[str, HypothesisRow]:
    """Returns the texts of a file in the field `hypothesis`, whichever role they have."""
    if is_timed(path):
        texts = texts_of_recordings(read_timed(path, _plain_lines(path)))
        return {id: HypothesisRow(id, "", "", text) for id, text in texts.items()}
    kind, lines = _numbered_lines(path)
    if kind in _JSON_KEYS:
        return _by_id(path, lines, lambda line: _text_from_json(line, role))
    return _by_id(path, lines, _PARSERS[kind])


def _text_from_json(line: str, role: Role) -> HypothesisRow:
    parsed = json.loads(line)
    row = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    keys = [next((key for key in keys if isinstance(row.get(key), str)), "") for keys in (_IDS, _TEXTS[role])]
    if not all(keys):
        raise ValueError(
            f"one of {', '.join(_IDS)} and one of {', '.join(_TEXTS[role])} is needed; it has {', '.join(row)}"
        )
    return HypothesisRow(row[keys[0]], str(row.get("speaker") or ""), "", row[keys[1]])


def _by_stem(rows: dict[str, HypothesisRow]) -> dict[str, HypothesisRow]:
    """Returns the rows by the names of the files that their ids are, or as they are if two have the same name."""
    stems = {
        re.sub(r"\.[A-Za-z0-9]{1,5}$", "", id.replace("\\", "/").rpartition("/")[2]): row for id, row in rows.items()
    }
    return stems if len(stems) == len(rows) else rows


def _joined(reference: HypothesisRow, hypothesis: HypothesisRow) -> HypothesisRow:
    return HypothesisRow(
        hypothesis.id, reference.speaker or hypothesis.speaker, reference.hypothesis, hypothesis.hypothesis
    )


def check_same_ids(a: Path | str, ids_a: Mapping[str, Any], b: Path | str, ids_b: Mapping[str, Any]) -> None:
    """Checks that two files hold the same utterances.

    Raises:
        ValueError: they do not.
    """
    different = sorted(ids_a.keys() ^ ids_b.keys())
    if different:
        raise ValueError(
            f"{a} and {b} have different utterances: {len(different)} are in one only, such as {different[:_SHOWN]}; "
            "compare runs on the same split"
        )


def check_same_references(
    a: Path | str, rows_a: Mapping[str, HypothesisRow], b: Path | str, rows_b: Mapping[str, HypothesisRow]
) -> None:
    """Checks that two files hold the same utterances with the same references.

    Raises:
        ValueError: they do not.
    """
    check_same_ids(a, rows_a, b, rows_b)
    changed = [id for id, row in rows_a.items() if row.reference.split() != rows_b[id].reference.split()]
    if changed:
        raise ValueError(
            f"{a} and {b} have different references of {len(changed)} utterances, such as {changed[:_SHOWN]}; both need "
            "the same normaliser"
        )


def _numbered_lines(path: Path) -> tuple[Format, list[tuple[int, str]]]:
    """Returns the format and the lines that are not empty, with their numbers."""
    lines = _plain_lines(path)
    first = lines[0][1]
    if first.lstrip().startswith(("{", "[")):
        return ("nemo" if '"pred_text"' in first else "jaxasr"), lines
    return ("trn" if _TRN.fullmatch(first) else "text"), lines


def _plain_lines(path: Path) -> list[tuple[int, str]]:
    """Returns the lines that are not empty, with their numbers."""
    lines = [(number, line) for number, line in enumerate(_plain_text(path).splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"{path} holds no hypotheses")
    return lines


def _plain_text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of hypotheses {path}: `jaxasr eval` writes hypotheses.SPLIT.jsonl to the workdir"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}): convert it, for example with iconv") from error


def _by_id(path: Path, lines: list[tuple[int, str]], parse: Callable[[str], HypothesisRow]) -> dict[str, HypothesisRow]:
    rows: dict[str, HypothesisRow] = {}
    for number, line in lines:
        try:
            row = parse(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no line of hypotheses: {error}") from error
        if row.id in rows:
            raise ValueError(f"{path}, line {number}: the id {row.id!r} occurs twice; a hypothesis of each is needed")
        rows[row.id] = row
    return rows


def _from_json(line: str, id_key: str, reference_key: str, hypothesis_key: str) -> HypothesisRow:
    parsed = json.loads(line)
    row = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
    keys = (id_key, reference_key, hypothesis_key)
    missing = [key for key in keys if not isinstance(row.get(key), str)]
    if missing:
        raise ValueError(f"the texts {', '.join(keys)} are needed, and {', '.join(missing)} are missing or no text")
    speaker = row.get("speaker")
    rest = {key: value for key, value in row.items() if key not in (*keys, "speaker")}
    return HypothesisRow(
        row[id_key], "" if speaker is None else str(speaker), row[reference_key], row[hypothesis_key], rest
    )


def _from_trn(line: str) -> HypothesisRow:
    found = _TRN.fullmatch(line.strip())
    if not found:
        raise ValueError("a line of a trn file is WORDS (ID)")
    speaker, separator, _ = found["id"].partition("-")
    return HypothesisRow(found["id"], speaker if separator else "", "", found["text"].strip())


def _from_text(line: str) -> HypothesisRow:
    id, *words = line.split(maxsplit=1)
    return HypothesisRow(id, "", "", "".join(words).strip())


_PARSERS: Mapping[Format, Callable[[str], HypothesisRow]] = {"trn": _from_trn, "text": _from_text}
