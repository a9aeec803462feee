"""The reader of Parquet files with audio bytes, as Hugging Face's `datasets` writes them.

    data/train-00000-of-00002.parquet    audio: {bytes, path} (or bytes), text or sentence or transcription, ...

Files are read by groups of a few rows. The audio of a row is its bytes, or the file of its path where it has none.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, file_split
from jaxasr.data.corpora.formats.tables import text_row

_BATCH = 16  # rows at once
_STRUCT = ("bytes", "path")


def find(path: Path) -> tuple[RowFile, ...]:
    """Returns the Parquet files of a folder, of its folder data/ or of one folder a split, or () if there are none."""
    if path.is_file():
        files = [path] if path.suffix == ".parquet" else []
    else:
        places = (path.glob("*.parquet"), (path / "data").glob("*.parquet"), path.glob("*/*.parquet"))
        files = next((found for place in places if (found := sorted(place))), [])
    return tuple(
        RowFile(file, functools.partial(_rows, file), file_split(file), None, file.parent, holds_audio=True)
        for file in files
    )


def _rows(path: Path, with_audio: bool) -> Iterator[CorpusRow]:
    from pyarrow import ArrowException, parquet  # here, because it takes long to import

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            wanted, audio_columns = _wanted(path, file.schema_arrow, with_audio)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=wanted):
                for content in batch.to_pylist():
                    number += 1
                    yield _row(path, number, content, audio_columns)
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet ({error}): fetch it again") from error


def _wanted(path: Path, schema: Any, with_audio: bool) -> tuple[list[str], list[str]]:
    """Returns the columns to read, and the names of those that hold audio."""
    import pyarrow

    flat: list[str] = []
    audio: list[str] = []
    for field in schema:
        if pyarrow.types.is_struct(field.type) and {part.name for part in field.type} >= set(_STRUCT):
            audio.append(field.name)
            flat += [f"{field.name}.{part}" for part in _STRUCT if with_audio or part != "bytes"]
        elif pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):
            audio.append(field.name)
            flat += [field.name] if with_audio else []
        elif not pyarrow.types.is_nested(field.type):
            flat.append(field.name)
    return flat, audio


def _row(path: Path, number: int, content: dict[str, Any], audio_columns: Sequence[str]) -> CorpusRow:
    """Returns a row in which a column of audio has the path that is stored beside the bytes, or one made of the row."""
    held: dict[str, bytes] = {}
    for name in audio_columns:
        value = content.get(name)
        struct = value if isinstance(value, dict) else {"bytes": value}
        if isinstance(data := struct.get("bytes"), bytes):
            held[name] = data
        content[name] = struct.get("path") or f"{path.stem}-{number}"
    where = f"{path.name} row {number}"
    return dataclasses.replace(text_row(where, content), held=held)
