"""The readers of corpora that are tables beside audio files: manifests, NeMo's, Common Voice, AudioFolder, any table.

FOLDER/manifest.jsonl (.json, .csv, .tsv, .gz)    {"id": ..., "audio": ..., "text": ..., "speaker": ..., "split": ...}
FOLDER/train_manifest.json                        {"audio_filepath": ..., "offset": ..., "duration": ..., "text": ...}
FOLDER/train.tsv and FOLDER/clips/                client_id, path, sentence, ...           Common Voice
FOLDER/train/metadata.csv (or .jsonl)             file_name, transcription, ...            Hugging Face AudioFolder
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, TableColumns, file_split, split_from_name
from jaxasr.data.corpora.formats.tables import first_object, table_rows, table_suffix

_MANIFEST = "manifest"
_METADATA = "metadata"
_SAMPLE = 100  # rows that decide whether their folders name the split
_SPLITS = ("train", "dev", "test", "val", "valid", "validation", "eval")
_COMMON_VOICE = ("train", "dev", "test")
_NO_TRANSCRIPTS = ("invalidated", "other", "reported", "clip_durations", "validated_sentences", "unvalidated_sentences")
_COMMON_VOICE_COLUMNS = TableColumns(id="", audio="path", text="sentence", speaker="client_id")


def find_manifest(path: Path) -> tuple[RowFile, ...]:
    """Returns the manifest of a folder, or ().

    Raises:
      FileNotFoundError: the folder has several, and it is not known which.
    """
    files = [file for file in _tables(path, lambda stem: stem == _MANIFEST) if not _is_foreign(file)]
    if len(files) > 1:
        raise FileNotFoundError(
            f"{path} needs one manifest; it has {' and '.join(file.name for file in files)}: give the file with --from"
        )
    return tuple(_row_file(file) for file in files)


def find_nemo(path: Path) -> tuple[RowFile, ...]:
    """Returns the files whose rows have NeMo's audio_filepath, one a split, or ()."""
    files = [file for file in _tables(path, lambda stem: True) if table_suffix(file) in (".json", ".jsonl")]
    return tuple(_row_file(file) for file in files if "audio_filepath" in first_object(file))


def find_common_voice(path: Path) -> tuple[RowFile, ...]:
    """Returns train, dev and test of a folder of Common Voice, or what else it has, or ().

    Raises:
      ValueError: the folder has several languages.
    """
    if path.is_file():
        named = [path]
        folders = [path.parent]
    else:
        named = []
        folders = [path, *(sorted(path.iterdir()) if path.is_dir() else [])]
    folders = [folder for folder in folders if (folder / "clips").is_dir() and any(folder.glob("*.tsv*"))]
    if not folders or (named and table_suffix(path) != ".tsv"):
        return ()
    if len(folders) > 1:
        raise ValueError(
            f"{path} has the languages {', '.join(folder.name for folder in folders)}: give the folder of one"
        )
    tables = named or _tables(folders[0], lambda stem: stem not in _NO_TRANSCRIPTS)
    usual = [file for file in tables if split_from_name(file.name) in _COMMON_VOICE]
    return tuple(
        RowFile(file, functools.partial(_rows, file), file_split(file), _COMMON_VOICE_COLUMNS, folders[0] / "clips")
        for file in named or usual or tables
        if table_suffix(file) == ".tsv"
    )


def find_audio_folder(path: Path) -> tuple[RowFile, ...]:
    """Returns the metadata of a folder, of its folder data/, or of its folders of splits, or ()."""
    if path.is_file():
        files = _tables(path, lambda stem: stem == _METADATA)
    else:
        places = (path, path / "data")
        inside = [folder for place in places if place.is_dir() for folder in sorted(place.iterdir()) if folder.is_dir()]
        files = [file for folder in (*places, *inside) for file in _tables(folder, lambda stem: stem == _METADATA)]
    return tuple(row_file for file in files for row_file in _metadata(file))


def find_tables(path: Path) -> tuple[RowFile, ...]:
    """Returns the tables of a folder, one a split, or the file itself if it is a table, or ()."""
    return tuple(_row_file(file) for file in _tables(path, lambda stem: True))


def _metadata(file: Path) -> Iterator[RowFile]:
    """Yields the rows of a file of metadata: all of one split, or of the splits that the first folders of paths name."""
    paths = (row.get("file_name").replace("\\", "/") for row in islice(table_rows(file), _SAMPLE))
    folders = {PurePosixPath(path).parts[0] if "/" in path else "" for path in paths}
    if folders and all(split_from_name(folder) in _SPLITS for folder in folders):
        yield RowFile(file, functools.partial(_split_rows, file), "", None, file.parent)
    else:
        yield _row_file(file)


def _split_rows(path: Path, with_audio: bool) -> Iterator[CorpusRow]:
    for row in _rows(path, with_audio):
        folder = row.get("file_name").replace("\\", "/").partition("/")[0]
        yield dataclasses.replace(row, columns={**row.columns, "split": split_from_name(folder)})


def _row_file(file: Path) -> RowFile:
    """Returns a table whose columns are found by their names."""
    rows = functools.partial(_rows, file)
    return RowFile(file, rows, file_split(file), None, file.parent, tuple(file.absolute().parents)[1:3])


def _rows(path: Path, with_audio: bool) -> Iterator[CorpusRow]:
    del with_audio  # no row holds it
    return table_rows(path)


def _is_foreign(file: Path) -> bool:
    """Tells whether a JSON file is NeMo's or lhotse's."""
    content = first_object(file) if table_suffix(file) in (".json", ".jsonl") else {}
    return "audio_filepath" in content or "supervisions" in content


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(table_suffix(file))


def _tables(path: Path, is_wanted: Callable[[str], bool]) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    return [file for file in files if table_suffix(file) and file.is_file() and is_wanted(_stem(file))]
