"""LibriSpeech and MLS as their archives are extracted."""

from collections import defaultdict
from pathlib import Path

import pytest

from jaxasr.data.corpora.librispeech import Librispeech
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import Reject


@pytest.fixture
def libri(tmp_path: Path, utterances, write_audio) -> Path:
    """Returns a folder with LibriSpeech/train and LibriSpeech/dev."""
    root = tmp_path / "LibriSpeech"

    def chapter(row) -> Path:
        return root / row.split / row.speaker / row.id.split("-")[1]

    write_audio(lambda row: chapter(row) / f"{row.id}.flac")
    lines = defaultdict(str)
    for row in utterances:
        lines[chapter(row) / f"{row.id.rpartition('-')[0]}.trans.txt"] += f"{row.id} {row.text}\n"
    for path, text in lines.items():
        path.write_text(text)
    (root / "SPEAKERS.TXT").write_text(";ID\n")
    return tmp_path


def test_librispeech(libri: Path, assert_same):
    assert_same(libri, "LibriSpeech, extracted", parts=("train", "dev"))


def test_a_part_of_librispeech_and_its_own_command(libri: Path, read):
    part = libri / "LibriSpeech" / "dev"
    (part / "84" / "121" / "84-121-0007.flac").write_bytes(b"x")
    rows = read(Manifest(part, "other"))["dev"]
    assert [row.id for row in rows] == ["84-121-0000", "84-121-0001", "84-121-0007"]
    assert isinstance(rows[2], Reject)
    assert rows[2].reason == "empty transcript"
    assert list(read(Librispeech(libri))) == ["dev", "train"]
    with pytest.raises(ValueError, match="has no row of dev-clean; its splits are dev, train"):
        read(Librispeech(libri, parts=("dev-clean",)))


@pytest.mark.parametrize("suffix", [".flac", ".opus"])
def test_mls(tmp_path: Path, utterances, write_audio, assert_same, suffix: str):
    root = tmp_path / "mls_dutch"
    write_audio(
        lambda row: root / row.split / "audio" / Path(*row.id.split("-")[:2]) / f"{row.id.replace('-', '_')}{suffix}"
    )
    for split in ("train", "dev"):
        rows = [row for row in utterances if row.split == split]
        text = "".join(f"{row.id.replace('-', '_')}\t{row.text}\n" for row in rows)
        (root / split / "transcripts.txt").write_text(text)
    assert_same(root, "Multilingual LibriSpeech (MLS), extracted")
