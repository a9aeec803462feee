"""The choice of the columns of a table: by the options of `jaxasr prepare`, else by the names that are in use.

The names are those of jaxasr, NeMo, Common Voice, Hugging Face, DeepSpeech, SpeechBrain and WeNet. Case does not count.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import islice

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, TableColumns

_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "utt_id", "utterance_id", "segment_id", "sample_id", "utt", "key", "uid"),
    "audio": (
        "audio", "audio_filepath", "file_name", "path", "wav", "audio_path", "audio_file", "wav_filename", "wav_path",
        "filename", "filepath", "file_path", "file",
    ),
    "text": (
        "text", "sentence", "transcription", "transcript", "txt", "wrd", "normalized_text", "raw_text", "raw_transcription",
    ),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id", "spk", "speaker_name"),
    "split": ("split",),
    "channel": ("channel_selector",),
}  # fmt: skip
_MEANINGS = {"audio": "paths of audio", "text": "texts"}
_LHOTSE = "or make cuts, which lhotse has a command for: lhotse cut simple -r RECORDINGS -s SUPERVISIONS CUTS.jsonl.gz"
_SHOWN = 12  # columns of an error message
_HINTS = {"recording_id": _LHOTSE, "sources": _LHOTSE}  # for files with such a column
_ROWS = 100  # that are searched for the names of columns; rows of JSON may lack some


def find_columns(rows: Iterable[CorpusRow]) -> TableColumns:
    """Returns the columns of a table. Of several names that are in use, the first in the order of this module is taken."""
    names = dict.fromkeys(name for row in islice(rows, _ROWS) for name in row.columns)
    lower = {name.strip().lower(): name for name in reversed(names)}
    found = {role: next((lower[name] for name in known if name in lower), "") for role, known in _NAMES.items()}
    return TableColumns(**found)


def check_columns(file: RowFile, columns: TableColumns) -> None:
    """Raises ValueError if the first rows of a table have other columns than those for audio or texts."""
    names = dict.fromkeys(name for row in islice(file.rows(False), _ROWS) for name in row.columns)
    missing = [(role, getattr(columns, role)) for role in ("audio", "text") if getattr(columns, role) not in names]
    if not names or not missing:
        return
    absent = " and ".join(f"no column {name!r} for the {_MEANINGS[role]}" for role, name in missing)
    remedy = " ".join(f"{role}_column=..." for role, _ in missing)
    hint = next((hint for name, hint in _HINTS.items() if name in names), "or give another file with --from")
    there = f"{', '.join(map(repr, islice(names, _SHOWN)))}{', ...' if len(names) > _SHOWN else ''}"
    raise ValueError(
        f"{file.path} has {absent}; its columns are {there} (a CSV's are named in its first line): say which with {remedy}, "
        f"{hint}"
    )


def describe_columns(columns: TableColumns) -> str:
    """Returns the choice in words: "audio from 'audio_filepath', text from 'text', ids from the paths"."""
    parts = [f"{role} from {name!r}" for role, name in _chosen(columns) if role != "channel" or name]
    return ", ".join([*parts, *([] if columns.id else ["ids from the paths of the audio"])])


def _chosen(columns: TableColumns) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(columns):
        if name := getattr(columns, field.name):
            yield field.name, name
