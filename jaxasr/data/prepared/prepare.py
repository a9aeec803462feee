"""`jaxasr prepare`: a corpus becomes a folder that can be trained on, or an error says what is wrong with it."""

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
from jaxasr.data.prepared.contents import Contents, read_contents
from jaxasr.data.prepared.corpus import Corpus


def prepare(
    source: Source,
    data_dir: Path,
    *,
    overwrite: bool = False,
    max_bad_share: float = 0.01,
    normalizer: text.Kind = "upper",
) -> Contents:
    """Prepares a corpus under `data_dir`, unless it is prepared already.

    It appears there whole or not at all; with `overwrite`, what was there stays until then. Bad rows are listed in
    DATA_DIR/NAME/rejects.jsonl; while an earlier corpus stands there with its own list, in rejects-new.jsonl.

    Args:
      max_bad_share: of all rows; more is an error.
      normalizer: a transcript of which this leaves nothing is bad.

    Raises:
      ValueError: too many bad rows, a split without a good one, a corpus that cannot be read as a whole, or no such
        normaliser.
      FileNotFoundError: files of the corpus as a whole are missing.
      FileExistsError: what stands in the corpus's place was not made by this function.
      BlockingIOError: another process is preparing the same corpus.
    """
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"the share of bad rows that is put up with is {max_bad_share}; it has to be from 0 to 1")
    if normalizer not in text.KINDS:
        raise ValueError(f"there is no text normaliser {normalizer!r}; there are {', '.join(text.KINDS)}")
    Corpus(source.name, "train")  # raises if the name is none
    folder = dataset_info.corpus_folder(data_dir, source.name)
    home = folder.parent
    with _corpus_lock(home):
        stands = (folder / dataset_info.INFO_FILE).is_file()
        if stands and not overwrite:
            _check_same_recipe(folder, recipe(source))
            return read_contents(folder, already_prepared=True)
        _check_own_folder(folder)
        listed = home / "rejects.jsonl"
        rejects = home / "rejects-new.jsonl" if stands else listed
        rejects.unlink(missing_ok=True)
        with _staging_folder(home) as stage:
            builder = SpeechBuilder(
                source,
                recipe=recipe(source),
                data_dir=stage,
                normalizer=normalizer,
                max_bad_share=max_bad_share,
                rejects=rejects,
            )
            builder.download_and_prepare(
                download_dir=(data_dir if source.url_infos else stage) / "downloads",
                download_config=tfds.download.DownloadConfig(manual_dir=getattr(source, "folder", None)),
            )
            if stands:
                folder.rename(stage / "before")  # and goes with the stage
                listed.unlink(missing_ok=True)
            Path(builder.data_dir).rename(folder)
            if rejects.is_file():
                rejects.rename(listed)
    return read_contents(folder, already_prepared=False)


def _check_same_recipe(folder: Path, asked: str) -> None:
    found = dataset_info.read(folder).recipe
    if found != asked:
        raise ValueError(
            f"{folder} was prepared as `{found}`, which is not `{asked}`: "
            "give this one another name (name=...), or replace that one with --overwrite"
        )


def _check_own_folder(folder: Path) -> None:
    """TFDS keeps its own corpora in the same place: they are never replaced."""
    if folder.exists() and not (folder / dataset_info.INFO_FILE).is_file():
        raise FileExistsError(
            f"{folder} has no {dataset_info.INFO_FILE}, so `jaxasr prepare` did not make it and leaves it alone: give the corpus "
            "another name (name=...) or another --data-dir, or move the folder away"
        )


@contextlib.contextmanager
def _corpus_lock(home: Path) -> Iterator[None]:
    """Holds the corpus's lock; the system lets go of it when the process ends, however it ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"{home.name} is being prepared by another process (it holds {lock.name})") from error
        yield


@contextlib.contextmanager
def _staging_folder(home: Path) -> Iterator[Path]:
    """An empty folder on the same disk; what an earlier, killed prepare left in it is removed."""
    stage = home / ".staging"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage)
