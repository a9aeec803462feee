"""The files of a prepared folder beside TFDS's own: an index for each split, and the dataset info with counts and hashes.

DATA_DIR/<corpus>/1.0.0/<corpus>-train.array_record-00000-of-00002   records: audio bytes and their description
                        index-train.jsonl                            one IndexRow a line, in the order of the records
                        prepared.json                                counts, sizes and hashes, written last
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxasr.data.signal_level import LevelSummary

VERSION = "1.0.0"
INFO_FILE = "prepared.json"
FORMAT = 2
_WITHOUT_DIGEST = 1  # the format before, which is read as well
LISTS = ("rejects", "suspects", "markup")  # about the rows of a corpus and their texts, beside its folder


@dataclass(frozen=True)
class IndexRow:
    """An example in the index of a split: all of it but the audio."""

    id: str
    samples: int  # exact, at rate_hz
    rate_hz: int
    text: str  # the raw transcript
    speaker: str
    crc32: int  # of the audio bytes


@dataclass(frozen=True)
class Shard:
    """An ArrayRecord file of a split."""

    file: str
    examples: int
    size_bytes: int


@dataclass(frozen=True)
class SplitInfo:
    """A description of a prepared split."""

    examples: int
    index_sha256: str
    shards: tuple[Shard, ...]
    levels: LevelSummary | None = None  # None: there is no audio, or an older version prepared it


@dataclass(frozen=True)
class DatasetInfo:
    """A description of a prepared corpus, stored as prepared.json."""

    recipe: str  # the corpus and its options, as `jaxasr prepare` was given them
    splits: dict[str, SplitInfo]


def corpus_folder(data_dir: Path, name: str) -> Path:
    """Returns the folder of the prepared corpus `name`."""
    return data_dir / name / VERSION


def earlier_copy(folder: Path) -> Path:
    """Returns the place of a corpus while another one takes its own place."""
    return folder.parent / ".before"


def readable_folder(data_dir: Path, name: str) -> Path:
    """Returns the folder to read a corpus from: its own, or that of its earlier copy if a replacement was killed."""
    folder = corpus_folder(data_dir, name)
    before = earlier_copy(folder)
    return before if not folder.exists() and (before / INFO_FILE).is_file() else folder


def index_path(folder: Path, split: str) -> Path:
    """Returns the path of a split's index."""
    return folder / f"index-{split}.jsonl"


def write(folder: Path, info: DatasetInfo) -> None:
    """Writes the dataset info. A folder without it counts as not prepared."""
    content = {"format": FORMAT, **dataclasses.asdict(info)}
    content["sha256"] = _digest(content)
    (folder / INFO_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> DatasetInfo:
    """Reads the dataset info of a prepared folder.

    Raises:
      ValueError: the file is damaged or has another format.
    """
    try:
        content = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
        if content["format"] not in (FORMAT, _WITHOUT_DIGEST):
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        if content["format"] == FORMAT and content.pop("sha256") != _digest(content):
            raise ValueError("it is not what was written: its checksum differs")
        if not content["splits"]:
            raise ValueError("it has no splits")
        return DatasetInfo(
            str(content["recipe"]), {split: _split_info(part) for split, part in content["splits"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / INFO_FILE} cannot be used ({error}): {reprepare_hint(folder)}") from error


def check_shards(folder: Path, info: SplitInfo) -> None:
    """Raises ValueError if a shard is missing or has another size. The content is checked later, record by record."""
    for shard in info.shards:
        path = folder / shard.file
        size_bytes = path.stat().st_size if path.is_file() else None
        if size_bytes != shard.size_bytes:
            found = "is missing" if size_bytes is None else f"has {size_bytes} bytes, {shard.size_bytes} were written"
            raise ValueError(f"prepared corpus is damaged: {path} {found}: {reprepare_hint(folder)}")


def read_index(folder: Path, split: str, info: SplitInfo) -> Iterator[IndexRow]:
    """Reads the index of a split line by line.

    Raises:
      ValueError: the index differs from what was written. The hash is checked after the last row.
    """
    for line in read_index_lines(folder, split, info):
        try:
            row = IndexRow(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise _unreadable(folder, split, error) from error
        yield row


def read_index_lines(folder: Path, split: str, info: SplitInfo) -> Iterator[bytes]:
    """Reads the lines of the index of a split.

    Raises:
      ValueError: the index differs from what was written. The hash is checked after the last line.
    """
    path = index_path(folder, split)
    digest = hashlib.sha256()
    count = 0
    try:
        with path.open("rb") as lines:
            for count, line in enumerate(lines, start=1):  # noqa: B007
                digest.update(line)
                yield line
    except OSError as error:
        raise _unreadable(folder, split, error) from error
    if digest.hexdigest() != info.index_sha256 or count != info.examples:
        raise ValueError(f"prepared corpus is damaged: {path} is not what was written: {reprepare_hint(folder)}")


def _unreadable(folder: Path, split: str, error: Exception) -> ValueError:
    path = index_path(folder, split)
    return ValueError(f"prepared corpus is damaged: {path} cannot be read ({error}): {reprepare_hint(folder)}")


def reprepare_hint(folder: Path) -> str:
    """Returns the end of error messages about a damaged corpus: the command that prepares it again."""
    return (
        f"prepare {folder.parent.name} again, with `jaxasr prepare ... --overwrite --data-dir {folder.parent.parent}`"
    )


def _digest(content: dict) -> str:
    """Returns the SHA-256 of the content without its own digest."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _split_info(content: dict) -> SplitInfo:
    shards = tuple(Shard(**shard) for shard in content["shards"])
    levels = LevelSummary(**content["levels"]) if content.get("levels") else None
    return SplitInfo(int(content["examples"]), str(content["index_sha256"]), shards, levels)
