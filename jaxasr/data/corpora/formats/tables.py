"""The reader of tables: JSON lines, one JSON array, CSV and TSV, each also gzipped. One row is in memory at a time."""

import contextlib
import csv
import dataclasses
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from jaxasr.data.corpora.formats.rows import CorpusRow
from jaxasr.data.corpora.source import archive_errors
from jaxasr.files import LONGEST_LINE, kind_of_file, limited_lines

TABLES = (".jsonl", ".json", ".csv", ".tsv")
_CHUNK = 1 << 18  # characters of a JSON array that are read at once
_HEAD = 1 << 10  # bytes in which the first one that is no space decides
_SPACE = re.compile(r"[\s,]*")
_DELIMITERS = ",;|\t"


def table_suffix(path: Path) -> str:
    """Returns the suffix of a table without .gz, such as ".csv", or "" if the file is none."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    return suffix if suffix in TABLES else ""


def table_rows(path: Path) -> Iterator[CorpusRow]:
    """Yields the rows of a table with the texts of their columns. Bad rows have a fault.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file as a whole is damaged or no table.
    """
    if table_suffix(path) in (".jsonl", ".json"):
        for where, content in json_objects(path):
            yield CorpusRow(where, fault=content) if isinstance(content, str) else text_row(where, content)
    else:
        yield from _csv_rows(path)


def text_row(where: str, content: Mapping[str, Any]) -> CorpusRow:
    """Returns the row of a JSON object. Its values become texts, and None becomes ""."""
    columns = {str(key): "" if value is None else str(value) for key, value in content.items()}
    nested = tuple(str(key) for key, value in content.items() if isinstance(value, list | dict))
    return dataclasses.replace(_checked_row(where, columns), nested=nested)


def _checked_row(where: str, columns: dict[str, str]) -> CorpusRow:
    """Returns the row, with a fault if a text is not valid UTF-8, has a lone surrogate (JSON's \\ud800) or a null byte."""
    try:
        "".join([*columns, *columns.values()]).encode()
    except UnicodeEncodeError:
        return CorpusRow(where, fault="not UTF-8")
    null = [key for key, value in columns.items() if "\0" in value]
    return CorpusRow(where, columns, f"a null byte in column {null[0]!r}" if null else "")


def json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yields place and object of each line, or of each item of an array, or an error message instead of the object."""
    with opened(path) as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    yield from (_array_objects if head.startswith(b"[") else _line_objects)(path)


def first_object(path: Path) -> dict[str, Any]:
    """Returns the first object of a JSON file, or {} if it has none or cannot be read."""
    try:
        return next((content for _, content in json_objects(path) if isinstance(content, dict)), {})
    except (OSError, ValueError):
        return {}


def _line_objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with opened(path) as file:
        for number, line in enumerate(limited_lines(file.readline, path), start=1):
            if line.strip():
                yield f"{path.name} line {number}", _object(line.removeprefix(b"\xef\xbb\xbf"))


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON object ({error})"
    return content if isinstance(content, dict) else f"no JSON object (a {type(content).__name__})"


def _array_objects(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yields the items of an array, which is read in pieces.

    Raises:
      ValueError: the array is no JSON, or an item is longer than LONGEST_LINE. No item behind it can be found.
    """
    decoder = json.JSONDecoder()
    with opened(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape")
        text = file.read(_CHUNK)
        at = text.index("[") + 1
        number = 0
        while True:
            at = _SPACE.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess] (it matches nothing as well)
            if text.startswith("]", at):
                break
            try:
                content, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                more = file.read(_CHUNK) if len(text) - at < LONGEST_LINE else ""
                if not more:
                    raise ValueError(
                        f"{path} item {number + 1} is no JSON ({error}): mend it, the rest is lost"
                    ) from error
                text, at = text[at:] + more, 0
                continue
            number += 1
            where = f"{path.name} item {number}"
            yield where, content if isinstance(content, dict) else f"no JSON object (a {type(content).__name__})"
        if (text[at + 1 :] + file.read(_CHUNK)).strip():
            raise ValueError(f"{path}: something follows its array of {number} items; one array, or lines of objects")


def _csv_rows(path: Path) -> Iterator[CorpusRow]:
    """Yields the rows of a table. Raises ValueError at an unclosed quotation mark, because it hides the following rows."""
    tabs = table_suffix(path) == ".tsv"
    quoting = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    delimiter = "\t" if tabs else _delimiter(path)
    with opened(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.DictReader(limited_lines(file.readline, path), delimiter=delimiter, quoting=quoting, strict=True)
        begins = 1
        try:
            columns = len(reader.fieldnames or ())
            begins = reader.line_num + 1
            for row in reader:
                where = f"{path.name} line {reader.line_num}"
                begins = reader.line_num + 1
                if None in row or None in row.values():
                    yield CorpusRow(where, fault=f"not as many cells as the first line, which has {columns}")
                else:
                    yield _checked_row(where, dict(row))
        except csv.Error as error:
            raise ValueError(
                f"{path} line {begins}: no row of a table begins there ({error}). A cell that begins with a quotation mark "
                "has to end with one, those within doubled; manifest.tsv and manifest.jsonl have no such rule"
            ) from error


def _delimiter(path: Path) -> str:
    """Returns the delimiter of a .csv file: a comma if there is one in the first line, else what is there instead."""
    with opened(path) as file:
        head = next(iter(limited_lines(file.readline, path)), b"").decode(errors="replace")
    return next((mark for mark in _DELIMITERS if mark in head), ",")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file, decompressed if its name ends in .gz. Errors of decompression become ValueErrors."""
    if kind := kind_of_file(path):
        raise ValueError(f"{path} is {kind}; a regular file is needed")
    with archive_errors(path), gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        yield file  # pyright: ignore[reportReturnType] (GzipFile)
