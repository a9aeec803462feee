"""The choice of the reader for a folder or file: the first format of this list that is there."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxasr.data.corpora.formats import kaldi, lhotse, parquet, table_files, transcript_files
from jaxasr.data.corpora.formats.rows import RowFile

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".7z")


@dataclass(frozen=True)
class CorpusFormat:
    """A format: its name in words, and the function that finds its files in a folder, or () if it has none."""

    title: str
    find: Callable[[Path], tuple[RowFile, ...]]


FORMATS: dict[str, CorpusFormat] = {
    "manifest": CorpusFormat("a manifest", table_files.find_manifest),
    "lhotse": CorpusFormat("lhotse's cuts", lhotse.find),
    "nemo": CorpusFormat("a NeMo manifest", table_files.find_nemo),
    "kaldi": CorpusFormat("a Kaldi data directory", kaldi.find),
    "common_voice": CorpusFormat("Common Voice", table_files.find_common_voice),
    "audio_folder": CorpusFormat("a Hugging Face AudioFolder", table_files.find_audio_folder),
    "parquet": CorpusFormat("Parquet with audio", parquet.find),
    "librispeech": CorpusFormat("LibriSpeech, extracted", transcript_files.find_librispeech),
    "mls": CorpusFormat("Multilingual LibriSpeech (MLS), extracted", transcript_files.find_mls),
    "table": CorpusFormat("tables", table_files.find_tables),
}


@dataclass(frozen=True)
class CorpusLayout:
    """The files of a corpus, and the format they are in."""

    format: CorpusFormat
    files: tuple[RowFile, ...]


def recognise(path: Path, name: str = "") -> CorpusLayout:
    """Returns the files of a corpus.

    Args:
      path: the folder, or one of its files.
      name: one of FORMATS; empty: the first that is there.

    Raises:
      ValueError: there is no such format.
      FileNotFoundError: the folder has no file of the format, or of any.
    """
    if name and name not in FORMATS:
        raise ValueError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    for format in [FORMATS[name]] if name else FORMATS.values():
        if files := format.find(path):
            return CorpusLayout(format, files)
    if archives := [file.name for file in _content_of(path) if file.name.endswith(_ARCHIVES)]:
        raise FileNotFoundError(
            f"{path} has the archive {archives[0]}: extract it first, and give the folder with --from"
        )
    needed = FORMATS[name].title if name else ", ".join(format.title for format in FORMATS.values())
    raise FileNotFoundError(
        f"{path} has no corpus that is recognised{_content(path)}; one of these is needed: {needed}. A table can have any "
        "columns: name them with audio_column=... text_column=... id_column=... speaker_column=... split=train"
    )


def _content_of(path: Path) -> list[Path]:
    """Returns the file itself, or what is in the folder."""
    return [path] if path.is_file() else sorted(path.iterdir())


def _content(path: Path) -> str:
    if path.is_file():
        return f" (a {path.suffix or 'nameless'} file)"
    there = _content_of(path)[:5]
    return f" (it has {', '.join(part.name for part in there) or 'nothing'})"
