"""`jaxasr prepare`: a corpus becomes a folder that can be trained on, or an error says what is wrong with it."""

import contextlib
import dataclasses
import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float

from jaxasr import text
from jaxasr.data import ledger
from jaxasr.data.corpora.an4 import An4
from jaxasr.data.corpora.builder import SpeechBuilder
from jaxasr.data.corpora.librispeech import Librispeech
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import Source
from jaxasr.data.corpora.spoken import Spoken
from jaxasr.data.corpora.stock import Stock
from jaxasr.data.prepared import Corpus
from jaxasr.report.histogram import text_histogram

CORPORA: dict[str, type] = {
    "manifest": Manifest,
    "an4": An4,
    "librispeech": Librispeech,
    "spoken": Spoken,
    "tfds": Stock,
}
_BINS = 10
_COLUMNS = 76


@dataclass(frozen=True)
class SplitReport:
    """What one split holds."""

    examples: int
    hours: float
    speakers: int
    words: int
    characters: int
    seconds_b: Float[np.ndarray, " b"]  # of each utterance


@dataclass(frozen=True)
class Report:
    """What a prepared corpus holds, and what was left out."""

    name: str
    folder: Path
    splits: dict[str, SplitReport]
    rejects: dict[str, int]  # by reason
    rejects_path: Path
    was_there: bool  # prepared before, nothing done now

    def lines(self) -> list[str]:
        """For people."""
        there = "is already prepared in" if self.was_there else "is prepared in"
        lines = [f"{self.name} {there} {self.folder}" + (" (--overwrite prepares it again)" if self.was_there else "")]
        for name, split in self.splits.items():
            lines += ["", *_split_lines(name, split)]
        if self.rejects:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejects.items())
            lines += ["", f"left out: {sum(self.rejects.values())} rows ({reasons}), listed in {self.rejects_path}"]
        return lines


def source(corpus: str, folder: Path | None, options: Mapping[str, object]) -> Source:
    """The source that `jaxasr prepare CORPUS --from FOLDER` means.

    Args:
      options: fields of the source, such as `name` and `split_column` of `Manifest`.

    Raises:
      KeyError: no such corpus or option.
      ValueError: the corpus needs a folder, or an option does not fit.
    """
    if corpus not in CORPORA:
        raise KeyError(f"there is no corpus {corpus!r}; there are {', '.join(CORPORA)} (your own: manifest)")
    fields = {field.name: field for field in dataclasses.fields(CORPORA[corpus])}
    unknown = set(options) - set(fields)
    if unknown:
        raise KeyError(f"corpus {corpus!r} has no option {', '.join(sorted(unknown))}; it has {', '.join(fields)}")
    given = {name: _converted(fields[name], value) for name, value in options.items()}
    if "folder" not in fields:
        if folder is not None:
            raise ValueError(f"corpus {corpus!r} is made here, not read: --from {folder} has no meaning")
        return CORPORA[corpus](**given)
    if folder is None and fields["folder"].default is dataclasses.MISSING:
        raise ValueError(f"corpus {corpus!r} is read from a folder or an archive: give it with --from")
    if folder is not None and not folder.exists():
        raise FileNotFoundError(f"corpus {corpus!r} cannot be read from {folder}, which does not exist")
    return CORPORA[corpus](folder=folder, **given)


def prepare(
    source: Source,
    data_dir: Path,
    *,
    overwrite: bool = False,
    max_bad_share: float = 0.01,
    normalizer: text.Kind = "upper",
) -> Report:
    """Prepares a corpus under `data_dir`, unless it is prepared already.

    It appears there whole or not at all; with `overwrite`, what was there stays until then. Bad rows are listed in
    DATA_DIR/NAME/rejects.jsonl.

    Args:
      max_bad_share: of all rows; more is an error.
      normalizer: a transcript of which this leaves nothing is bad.

    Raises:
      ValueError: too many bad rows, a split without a good one, or a corpus that cannot be read as a whole.
      FileNotFoundError: files of the corpus as a whole are missing.
      BlockingIOError: another process is preparing the same corpus.
    """
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"the share of bad rows that is put up with is {max_bad_share}; it has to be from 0 to 1")
    Corpus(source.name, "train")  # raises if the name is none
    folder = ledger.folder(data_dir, source.name)
    home = folder.parent
    with _alone(home):
        if (folder / ledger.LEDGER).is_file() and not overwrite:
            _refuse_other(folder, _recipe(source))
            return report(folder, was_there=True)
        rejects = home / "rejects.jsonl"
        rejects.unlink(missing_ok=True)
        with _staging(home) as stage:
            builder = SpeechBuilder(
                source,
                recipe=_recipe(source),
                data_dir=stage,
                normalizer=normalizer,
                max_bad_share=max_bad_share,
                rejects=rejects,
            )
            builder.download_and_prepare(
                download_dir=(data_dir if source.url_infos else stage) / "downloads",
                download_config=tfds.download.DownloadConfig(manual_dir=getattr(source, "folder", None)),
            )
            if folder.exists():
                shutil.rmtree(folder)
            Path(builder.data_dir).rename(folder)
    return report(folder, was_there=False)


def report(folder: Path, *, was_there: bool) -> Report:
    """What a prepared folder holds, from its indices.

    Raises:
      ValueError: it is damaged.
    """
    parts = ledger.read(folder).splits
    for part in parts.values():
        ledger.check_shards(folder, part)
    rejects = folder.parent / "rejects.jsonl"
    return Report(
        name=folder.parent.name,
        folder=folder,
        splits={split: _split_report(ledger.rows(folder, split, part)) for split, part in parts.items()},
        rejects=_reasons(rejects),
        rejects_path=rejects,
        was_there=was_there,
    )


def _converted(field: dataclasses.Field, value: object) -> object:
    """An option that came as text, in the type of its field."""
    if not isinstance(value, str) or field.type is str:
        return value
    if field.type is int:
        try:
            return int(value)
        except ValueError as error:
            raise ValueError(f"option {field.name} is {value!r}; a whole number is needed") from error
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _recipe(source: Source) -> str:
    """The corpus and its options in one line; no path."""
    fields = [field.name for field in dataclasses.fields(source) if field.name != "folder"]  # pyright: ignore
    values = {name: getattr(source, name) for name in fields}
    shown = (f"{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in values.items())
    return " ".join((type(source).__name__, *shown))


def _refuse_other(folder: Path, recipe: str) -> None:
    found = ledger.read(folder).recipe
    if found != recipe:
        raise ValueError(
            f"{folder} was prepared as `{found}`, which is not `{recipe}`: "
            "give this one another name (name=...), or replace that one with --overwrite"
        )


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Holds the corpus's lock; the system lets go of it when the process ends, however it ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{home.name} is being prepared by another process (it holds {lock.name})") from error
        yield


@contextlib.contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """An empty folder on the same disk; what an earlier, killed prepare left in it is removed."""
    stage = home / ".staging"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage)


def _reasons(rejects: Path) -> dict[str, int]:
    if not rejects.is_file():
        return {}
    with rejects.open() as lines:
        return dict(Counter(json.loads(line)["reason"] for line in lines).most_common())


def _split_report(rows: Iterator[ledger.Row]) -> SplitReport:
    seconds, speakers, words, characters = [], set(), 0, 0
    for row in rows:
        seconds.append(row.samples / row.rate_hz)
        speakers.add(row.speaker)
        words += len(row.text.split())
        characters += len(row.text)
    return SplitReport(len(seconds), sum(seconds) / 3600, len(speakers), words, characters, np.array(seconds))


def _split_lines(name: str, split: SplitReport) -> list[str]:
    head = (
        f"{name}: {split.examples:,} utterances, {split.hours:.2f} h, {split.speakers:,} speakers, "
        f"{split.words:,} words, {split.characters:,} characters"
    )
    return [head, *(f"  {line}" for line in text_histogram(split.seconds_b, bins=_BINS, unit="s", width=_COLUMNS))]
