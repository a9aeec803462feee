"""LibriSpeech from archives in the official layout, from a folder and over HTTP, with checked sums, as a stream."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.units import Size

from jaxasr.data import Corpus
from jaxasr.data.corpora import librispeech
from jaxasr.data.corpora.librispeech import PARTS, URL_INFOS, Librispeech
from jaxasr.data.prepared.prepare import prepare
from tests.processes import PROCESS_S

CHAPTERS = {"dev-clean": ("84/121123", "174/50561"), "train-clean-100": ("103/1240", "19/198")}
WORDS = {0: "CHAPTER ONE", 1: "IT WAS A SMALL TOWN", 2: "SAID HE"}


def archive(path: Path, part: str, sound: bytes, *, transcripts_first: bool) -> None:
    """Writes two chapters of three utterances, with the transcripts before or after the audio."""
    with tarfile.open(path, "w:gz") as tar:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(f"LibriSpeech/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        add("SPEAKERS.TXT", b";ID  |SEX| SUBSET\n")
        for chapter in CHAPTERS[part]:
            stem = chapter.replace("/", "-")
            lines = "".join(f"{stem}-{number:04d} {words}\n" for number, words in WORDS.items()).encode()
            files = {f"{part}/{chapter}/{stem}-{number:04d}.flac": sound for number in WORDS}
            text = {f"{part}/{chapter}/{stem}.trans.txt": lines}
            for name, content in ((text | files) if transcripts_first else (files | text)).items():
                add(name, content)


def info_of(path: Path) -> UrlInfo:
    """Returns the download info of the file, as a checksums file has it."""
    content = path.read_bytes()
    return UrlInfo(Size(len(content)), hashlib.sha256(content).hexdigest(), path.name)


@pytest.fixture
def archives(tmp_path: Path, tone: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with dev-clean and train-clean-100, whose checksums replace the official ones."""
    folder = tmp_path / "archives"
    folder.mkdir()
    for part, first in (("dev-clean", True), ("train-clean-100", False)):
        path = folder / f"{part}.tar.gz"
        archive(path, part, tone(0.2), transcripts_first=first)
        monkeypatch.setitem(librispeech.URL_INFOS, f"{librispeech.URL}{path.name}", info_of(path))
    return folder


@pytest.fixture
def server(archives: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves the archives over HTTP in place of openslr.org."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archives))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{http_server.server_address[1]}/"
        for path in archives.iterdir():
            monkeypatch.setitem(librispeech.URL_INFOS, f"{url}{path.name}", info_of(path))
        monkeypatch.setattr(librispeech, "URL", url)
        yield url
        http_server.shutdown()
        thread.join(PROCESS_S)


def test_the_parts_in_a_folder_become_splits_of_their_names(archives: Path, tmp_path: Path):
    report = prepare(Librispeech(archives), tmp_path / "data")
    assert {name: split.examples for name, split in report.splits.items()} == {"dev-clean": 6, "train-clean-100": 6}
    for split, chapters in CHAPTERS.items():
        corpus = Corpus("librispeech", split).open(tmp_path / "data")
        texts = dict(zip(corpus.ids, corpus.texts, strict=True))
        assert texts[f"{chapters[1].replace('/', '-')}-0001"] == "IT WAS A SMALL TOWN"
        assert set(corpus.speakers) == {chapter.split("/")[0] for chapter in chapters}
        assert corpus.samples.tolist() == [3200] * 6


def test_downloads_once_and_checks(server: str, tmp_path: Path):
    source = Librispeech(None, parts=("dev-clean",))
    prepare(source, tmp_path / "data")
    assert len(Corpus("librispeech", "dev-clean[:50%]").open(tmp_path / "data")) == 3
    assert len(list((tmp_path / "data" / "downloads").rglob("*.tar.gz"))) == 1


def test_an_archive_with_another_checksum_is_refused(archives: Path, tmp_path: Path, tone: Callable[..., bytes]):
    archive(archives / "dev-clean.tar.gz", "dev-clean", tone(0.3), transcripts_first=True)
    with pytest.raises(ValueError, match=r"not the official one of LibriSpeech, or is damaged; .*dev-clean.tar.gz"):
        prepare(Librispeech(archives), tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="not prepared"):
        Corpus("librispeech", "dev-clean").open(tmp_path / "data")


def test_audio_without_transcript_and_the_reverse_are_rejected(tmp_path: Path, tone: Callable[..., bytes]):
    path = tmp_path / "dev-clean.tar.gz"
    archive(path, "dev-clean", tone(0.1), transcripts_first=True)
    with tarfile.open(path) as whole, tarfile.open(tmp_path / "less.tar.gz", "w:gz") as less:
        for member in whole:
            if not member.name.endswith(("84-121123-0001.flac", "174-50561.trans.txt")):
                less.addfile(member, whole.extractfile(member))
    found = {row.id: getattr(row, "reason", "good") for row in librispeech._examples(tmp_path / "less.tar.gz")}
    assert found == {
        "84-121123-0000": "good",
        "84-121123-0001": "missing file",
        "84-121123-0002": "good",
        **{f"174-50561-{number:04d}": "empty transcript" for number in WORDS},
    }


def test_a_part_that_is_absent_or_unknown_is_named(archives: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"has none of test-other.tar.gz"):
        prepare(Librispeech(archives, parts=("dev-clean", "test-other")), tmp_path)
    with pytest.raises(ValueError, match=r"no part train-960; it has dev-clean, .*train-other-500"):
        Librispeech(archives, parts=("train-960",))
    with pytest.raises(ValueError, match=r"say which parts.*61 GB.*parts="):
        Librispeech()


def test_official_checksums_cover_the_seven_parts():
    assert sorted(info.filename for info in URL_INFOS.values()) == sorted(f"{part}.tar.gz" for part in PARTS)
    assert len(PARTS) == 7
    assert all(len(info.checksum) == 64 for info in URL_INFOS.values())


def test_an_archive_without_transcripts_does_not_fill_the_memory(
    archives: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(librispeech, "MOST_AUDIO_BYTES", 2_000)
    with pytest.raises(
        ValueError, match=r"train-clean-100.* has \d recordings \([\d,]+ bytes\) before their transcripts"
    ):
        prepare(Librispeech(archives), tmp_path / "data")
