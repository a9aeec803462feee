"""The function behind `jaxasr prepare`: it writes a corpus into a folder that can be trained on."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from jaxasr import text
from jaxasr.data.corpora.choose import recipe
from jaxasr.data.corpora.source import Source
from jaxasr.data.prepared import dataset_info
from jaxasr.data.prepared.builder import SpeechBuilder
from jaxasr.data.prepared.checks import Checks
from jaxasr.data.prepared.contents import Contents, read_contents
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.prepared.markup_policy import MarkupPolicy
from jaxasr.data.prepared.publish import list_paths, publish, recover
from jaxasr.data.signal_level import SignalLimits


def prepare(
    source: Source,
    data_dir: Path,
    *,
    overwrite: bool = False,
    max_bad_share: float = 0.01,
    normalizer: text.Kind = "upper",
    limits: SignalLimits = SignalLimits(),
    markup: MarkupPolicy | None = None,
) -> Contents:
    """Prepares a corpus under `data_dir`, unless it is prepared already.

    The corpus appears there whole or not at all. With `overwrite` the earlier corpus stays until the new one is complete.
    Bad rows are left out and listed in DATA_DIR/NAME/rejects.jsonl, or in rejects-new.jsonl while an earlier corpus has its
    own list. Suspicious rows are prepared and listed in suspects.jsonl.

    Args:
      max_bad_share: largest allowed share of bad rows.
      normalizer: a transcript that is empty in this form is bad.
      limits: a recording beyond them is bad.
      markup: the decision about markup in transcripts; None: a corpus that has some is not prepared.

    Raises:
      ValueError: too many rows are bad, there is undecided markup, a split has no good row, the corpus cannot be read, or the
        normaliser does not exist.
      FileNotFoundError: files of the corpus are missing.
      FileExistsError: the corpus's folder exists and was not made by this function.
      BlockingIOError: another process prepares the same corpus.
    """
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"the share of bad rows that is put up with is {max_bad_share}; it has to be from 0 to 1")
    text.check_normalizer(normalizer)
    Corpus(source.name, "train")  # raises if the name is not valid
    markup = markup or MarkupPolicy()
    requested = recipe(source) + markup.recipe
    folder = dataset_info.corpus_folder(data_dir, source.name)
    home = folder.parent
    with _corpus_lock(home):
        recover(folder)
        exists = (folder / dataset_info.INFO_FILE).is_file()
        if exists and not overwrite:
            _check_same_recipe(folder, requested)
            return read_contents(folder, already_prepared=True, normalizer=normalizer)
        _check_own_folder(folder)
        lists = list_paths(home, replaces=exists)
        for path in lists.values():
            path.unlink(missing_ok=True)  # of an attempt that failed
        with _staging_folder(home) as stage:
            builder = SpeechBuilder(
                source,
                recipe=requested,
                data_dir=stage,
                checks=Checks(normalizer, limits, markup),
                max_bad_share=max_bad_share,
                lists=lists,
            )
            builder.download_and_prepare(
                download_dir=(data_dir if source.url_infos else stage) / "downloads",
                download_config=tfds.download.DownloadConfig(manual_dir=getattr(source, "folder", None)),
            )
            publish(Path(builder.data_dir), folder)
    return read_contents(folder, already_prepared=False, normalizer=normalizer)


def _check_same_recipe(folder: Path, requested: str) -> None:
    found = dataset_info.read(folder).recipe
    if found != requested:
        raise ValueError(
            f"{folder} was prepared as `{found}`, which is not `{requested}`: "
            "give this one another name (name=...), or replace that one with --overwrite"
        )


def _check_own_folder(folder: Path) -> None:
    """Raises FileExistsError if the folder was not made by `jaxasr prepare`. TFDS keeps its own corpora in the same place."""
    if folder.exists() and not (folder / dataset_info.INFO_FILE).is_file():
        raise FileExistsError(
            f"{folder} has no {dataset_info.INFO_FILE}, so `jaxasr prepare` did not make it and leaves it alone: give the "
            "corpus another name (name=...) or another --data-dir, or move the folder away"
        )


@contextlib.contextmanager
def _corpus_lock(home: Path) -> Iterator[None]:
    """Holds the corpus's lock. The system releases it when the process ends for any reason."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{home.name} is being prepared by another process (it holds {lock.name})") from error
        yield


@contextlib.contextmanager
def _staging_folder(home: Path) -> Iterator[Path]:
    """Creates an empty folder on the same disk and removes it afterwards. The remains of a killed run are removed first."""
    stage = home / ".staging"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage)
