"""AN4 in its official layout, as folder and as archive: 100 training utterances, speaker first, become dev."""

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.data import decode_audio
from jaxasr.data.corpora.an4 import An4
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]

SPEAKERS = ("fash", "fbbh", "mblb")


@pytest.fixture
def folder(tmp_path: Path, tone: Callable[..., bytes]) -> Path:
    """Writes 120 training utterances (40 for each speaker) and 6 of the test, as NIST SPHERE."""
    root = tmp_path / "an4"
    sound = tone(0.1, format="NIST")
    training = [f"an4_clstk/{who}/{kind}{n}-{who}-b" for who in SPEAKERS for kind in ("an", "cen") for n in range(20)]
    random.Random(0).shuffle(training)
    for part, fileids in {"train": training, "test": [f"an4test_clstk/mxyz/an{n}-mxyz-b" for n in range(6)]}.items():
        (root / "etc").mkdir(parents=True, exist_ok=True)
        (root / "etc" / f"an4_{part}.fileids").write_text("".join(f"{fileid}\n" for fileid in fileids))
        mark = "<s> {} </s> ({})\n" if part == "train" else "{} ({})\n"
        lines = [mark.format(f"P I {number}", Path(fileid).name) for number, fileid in enumerate(fileids)]
        (root / "etc" / f"an4_{part}.transcription").write_text("".join(lines))
        for fileid in fileids:
            path = root / "wav" / f"{fileid}.sph"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sound)
    return root


def by_id(read: Read) -> Callable[[Source], dict[str, dict[str, RawExample | Reject]]]:
    """Reads a source as `read` does, with the rows of a split by id."""
    return lambda source: {name: {row.id: row for row in split} for name, split in read(source).items()}


def archive_of(folder: Path, name: str) -> Path:
    """Packs the folder as the official archive; etc/ comes last."""
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as archive:
        for part in ("wav", "etc"):
            archive.add(folder / part, f"an4/{part}")
    return path


def test_dev_is_the_first_hundred_in_kaldi_s_order(folder: Path, read: Read):
    splits = by_id(read)(An4(folder))
    assert {name: len(split) for name, split in splits.items()} == {"train": 20, "dev": 100, "test": 6}
    everyone = [f"{who}-{kind}{n}-b" for who in SPEAKERS for kind in ("an", "cen") for n in range(20)]
    before, who, after = zip(*(id.split("-") for id in splits["train"]), strict=True)
    assert sorted(map("-".join, zip(who, before, after, strict=True))) == sorted(everyone)[100:]
    assert set(who) == {"mblb"}


def test_archive_folder_and_parent_folder_are_the_same_corpus(folder: Path, read: Read):
    expected = by_id(read)(An4(folder))
    for place in (folder.parent, archive_of(folder, "an4_sphere.tar.gz")):
        found = by_id(read)(An4(place))
        assert {name: set(split) for name, split in found.items()} == {
            name: set(split) for name, split in expected.items()
        }
        one = found["test"]["an3-mxyz-b"]
        other = expected["test"]["an3-mxyz-b"]
        assert isinstance(one, RawExample)
        assert isinstance(other, RawExample)
        assert (one.text, one.speaker, one.where) == ("P I 3", "mxyz", "an4_test.transcription line 4")
        assert one.audio() == other.audio()
        assert len(decode_audio(one.audio(), id=one.id)) == 1600


def test_marks_of_the_sentence_are_no_words(folder: Path, read: Read):
    train = by_id(read)(An4(folder))["train"].values()
    assert all(isinstance(row, RawExample) and row.text.startswith("P I ") and "<" not in row.text for row in train)


@pytest.mark.parametrize("order", ["little", "big"])
def test_headerless_samples_are_read_in_the_order_of_the_archive(folder: Path, order: str, read: Read):
    wave_n = np.arange(-500, 500, dtype=np.int16)
    for path in list((folder / "wav").rglob("*.sph")):
        path.with_suffix(".raw").write_bytes(wave_n.astype("<i2" if order == "little" else ">i2").tobytes())
        path.unlink()
    one = by_id(read)(An4(archive_of(folder, f"an4_raw.{order}endian.tar.gz")))["test"]["an0-mxyz-b"]
    assert isinstance(one, RawExample)
    decoded_n, rate_hz = soundfile.read(io.BytesIO(one.audio()), dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(decoded_n, wave_n)
    unnamed = by_id(read)(An4(folder))["test"]["an0-mxyz-b"]
    assert isinstance(unnamed, RawExample)
    with pytest.raises(ValueError, match="neither of littleendian, bigendian"):
        unnamed.audio()


def test_a_recording_that_is_listed_and_absent_is_rejected(folder: Path, read: Read):
    (folder / "wav" / "an4test_clstk" / "mxyz" / "an2-mxyz-b.sph").unlink()
    reject = by_id(read)(An4(folder))["test"]["an2-mxyz-b"]
    assert isinstance(reject, Reject)
    assert reject.reason == "missing file"


def test_a_folder_with_a_manifest_gives_the_same_names_of_splits(
    tmp_path: Path, write_manifest: Callable[..., Path], read: Read
):
    kinds = {"train_nodev": "train", "train_dev": "dev", "test": "test"}
    rows = [{"id": kind, "audio": "x", "text": "YES", "espnet_split": kind} for kind in ("test", *kinds)][1:]
    splits = by_id(read)(An4(write_manifest(tmp_path / "an4", rows, {})))
    assert {name: list(split) for name, split in splits.items()} == {name: [kind] for kind, name in kinds.items()}


def test_splits_that_an4_has_not_are_not_passed_over(tmp_path: Path, write_manifest: Callable[..., Path], read: Read):
    rows = [{"id": kind, "audio": "x", "text": "YES", "espnet_split": kind} for kind in ("test", "train_all")]
    with pytest.raises(ValueError, match="has train_all in column 'espnet_split'; AN4's splits there are train_nodev"):
        read(An4(write_manifest(tmp_path / "an4", rows, {})))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_an_archive_that_is_cut_off_is_named(folder: Path, kept: float, read: Read):
    path = archive_of(folder, "an4_sphere.tar.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ValueError, match=r"an4_sphere.tar.gz is cut off or damaged .*fetch it again"):
        read(An4(path))
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(ValueError, match=r"an4_sphere.tar.gz is cut off or damaged"):
        read(An4(path))


def test_what_is_not_an4_says_what_is_needed(tmp_path: Path, read: Read):
    with pytest.raises(FileNotFoundError, match=r"is not AN4: there is no etc/an4_train.fileids.*an4_sphere.tar.gz"):
        by_id(read)(An4(tmp_path))
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz"):
        pass
    with pytest.raises(FileNotFoundError, match=r"is not AN4: there is no etc/an4_train.fileids"):
        by_id(read)(An4(tmp_path / "other.tar.gz"))
