"""What a prepared folder holds besides TFDS's own files: an index per split, and a ledger that vouches for everything.

DATA_DIR/<corpus>/1.0.0/<corpus>-train.array_record-00000-of-00002   records: audio bytes and their description
                        index-train.jsonl                            one Row a line, in the order of the records
                        prepared.json                                counts, sizes and hashes, written last
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.0.0"
INFO_FILE = "prepared.json"
FORMAT = 1


@dataclass(frozen=True)
class IndexRow:
    """One example as the index knows it: all but its audio."""

    id: str
    samples: int  # exact, at rate_hz
    rate_hz: int
    text: str  # the raw transcript
    speaker: str
    crc32: int  # of the audio bytes


@dataclass(frozen=True)
class Shard:
    """One ArrayRecord file."""

    file: str
    examples: int
    size_bytes: int


@dataclass(frozen=True)
class SplitInfo:
    """One split."""

    examples: int
    index_sha256: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """A prepared corpus."""

    recipe: str  # the corpus and its options, as `jaxasr prepare` was given them
    splits: dict[str, SplitInfo]


def corpus_folder(data_dir: Path, name: str) -> Path:
    """Where the corpus `name` lies once it is prepared."""
    return data_dir / name / VERSION


def index_path(folder: Path, split: str) -> Path:
    """The index of a split."""
    return folder / f"index-{split}.jsonl"


def write(folder: Path, ledger: DatasetInfo) -> None:
    """Writes the ledger; a folder without one is not prepared."""
    content = {"format": FORMAT, **dataclasses.asdict(ledger)}
    (folder / INFO_FILE).write_text(json.dumps(content, indent=1) + "\n")


def read(folder: Path) -> DatasetInfo:
    """The ledger of a prepared folder.

    Raises:
      ValueError: a ledger that this version does not understand.
    """
    try:
        content = json.loads((folder / INFO_FILE).read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        return DatasetInfo(
            str(content["recipe"]), {split: _split_info(part) for split, part in content["splits"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / INFO_FILE} cannot be used ({error}): {reprepare_hint(folder)}") from error


def check_shards(folder: Path, part: SplitInfo) -> None:
    """Raises ValueError unless every shard is there in its full size. (Content is checked record by record.)"""
    for shard in part.shards:
        path = folder / shard.file
        size_bytes = path.stat().st_size if path.is_file() else None
        if size_bytes != shard.size_bytes:
            found = "is missing" if size_bytes is None else f"has {size_bytes} bytes, {shard.size_bytes} were written"
            raise ValueError(f"prepared corpus is damaged: {path} {found}: {reprepare_hint(folder)}")


def read_index(folder: Path, split: str, part: SplitInfo) -> Iterator[IndexRow]:
    """The index of a split, line by line.

    Raises:
      ValueError: before the last row is given, if the index is not what was written.
    """
    path, digest, count = index_path(folder, split), hashlib.sha256(), 0
    try:
        with path.open("rb") as lines:
            for count, line in enumerate(lines, start=1):  # noqa: B007
                digest.update(line)
                yield IndexRow(**json.loads(line))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"prepared corpus is damaged: {path} cannot be read ({error}): {reprepare_hint(folder)}"
        ) from error
    if digest.hexdigest() != part.index_sha256 or count != part.examples:
        raise ValueError(f"prepared corpus is damaged: {path} is not what was written: {reprepare_hint(folder)}")


def reprepare_hint(folder: Path) -> str:
    """What to do about a damaged corpus."""
    return (
        f"prepare {folder.parent.name} again, with `jaxasr prepare ... --overwrite --data-dir {folder.parent.parent}`"
    )


def _split_info(content: dict) -> SplitInfo:
    shards = tuple(Shard(**shard) for shard in content["shards"])
    return SplitInfo(int(content["examples"]), str(content["index_sha256"]), shards)
