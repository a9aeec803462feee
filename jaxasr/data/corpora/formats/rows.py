"""The records that every reader of a format returns: rows, the files they come from, and the names of their columns."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxasr.data.corpora.source import Reason

_SPLIT_WORD = re.compile(
    r"(?:^|[._-])((?:train|dev|val|valid|test|eval|finetune|holdout)[a-z]*(?:[._-].*)?)$", re.IGNORECASE
)
_NO_SPLIT = re.compile(r"manifests?|metadata|cuts?|supervisions?|data|dataset|processed|corpus|all|list", re.IGNORECASE)
_SHARD = re.compile(r"[._-]\d+-of-\d+$|^\d+$")
_TRAIN = "train"
SUFFIX = re.compile(r"(\.(jsonl|json|csv|tsv|parquet|txt))?(\.gz)?$")


@dataclass(frozen=True)
class TableColumns:
    """The names of the columns that have a meaning. An empty name: there is no such column."""

    id: str = "id"  # empty: ids are made from the paths of the audio
    audio: str = "audio"
    text: str = "text"
    speaker: str = "speaker"
    split: str = ""  # empty: the split is that of the file
    channel: str = ""  # the number of a channel, from 0 on


@dataclass(frozen=True)
class CorpusRow:
    """A row as its file has it, or the reason why it cannot be used."""

    where: str  # "manifest.jsonl line 17"
    columns: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""  # empty: none so far
    reason: Reason = "unreadable row"  # of the fault
    nested: tuple[str, ...] = ()  # columns of JSON that hold a list or an object
    held: Mapping[str, bytes] = field(default_factory=dict)  # audio files in the row itself, by column

    def get(self, column: str) -> str:
        """Returns the text of a column, or "" if there is none."""
        return self.columns.get(column, "")


@dataclass(frozen=True)
class RowFile:
    """A file (or a few that belong together) whose rows are read as often as they are needed."""

    path: Path  # that messages name
    rows: Callable[[bool], Iterator[CorpusRow]]  # the argument is True if the audio of rows that hold it is needed
    split: str = ""  # of all rows; empty: columns.split has it
    columns: TableColumns | None = TableColumns()  # None: they are found by their names
    folder: Path = Path()  # of relative audio paths
    bases: tuple[Path, ...] = ()  # other folders of them, as the format allows
    holds_audio: bool = False  # the audio is in the rows; paths beside it name it within its split


def split_from_name(name: str) -> str:
    """Returns the split that the name of a file or folder states, or "".

    train_manifest.json: train; libri_cuts_dev-other.jsonl.gz: dev-other; train-00000-of-00002.parquet: train
    """
    stem = _SHARD.sub("", SUFFIX.sub("", name))
    stem = re.sub(rf"[._-](?:{_NO_SPLIT.pattern})$", "", stem, flags=re.IGNORECASE)
    if found := _SPLIT_WORD.search(stem):
        stem = found[1]
    words = [word for word in re.split(r"([._-])", stem) if not _NO_SPLIT.fullmatch(word)]
    return re.sub(r"[^\w-]", "_", "".join(words).strip("._-"))


def file_split(path: Path) -> str:
    """Returns the split of a file whose rows state none: by its name, else by that of its folder, else train."""
    found = split_from_name(path.name)
    in_folder = _SPLIT_WORD.search(path.absolute().parent.name)
    return found or (split_from_name(in_folder[1]) if in_folder else "") or _TRAIN
