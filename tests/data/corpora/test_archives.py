"""Archives of every kind: their members in order, and every cut of them noticed, in the same words on every Python."""

import contextlib
import io
import os
import re
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from jaxasr.data.corpora import archives
from jaxasr.data.corpora.archives import members

KINDS = ["w", "w:gz", "w:bz2", "w:xz"]
SIZES = [0, 1, 511, 512, 513, 5_000]


def archive(path: Path, kind: str) -> dict[str, bytes]:
    """Writes files whose content does not compress, in a folder; returns them."""
    noise = bytes((number * number * 7 + number // 3) % 256 for number in range(max(SIZES)))
    files = {f"top/{size}.flac": noise[:size] for size in SIZES}
    with tarfile.open(path, kind, format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("top")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            header.pax_headers = {"comment": "a header of two parts"}
            tar.addfile(header, io.BytesIO(content))
    return files


def names(path: Path, last: str = "") -> dict[str, bytes]:
    """Returns all files, or those of one name."""
    return {str(name): content for name, content in members(path, lambda name: name.match(last or "*"))}


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_files_come_whole_and_in_order(tmp_path: Path, kind: str):
    files = archive(tmp_path / "x", kind)
    assert list(names(tmp_path / "x").items()) == list(files.items())
    assert names(tmp_path / "x", "513.flac") == {"top/513.flac": files["top/513.flac"]}
    first, _ = next(members(tmp_path / "x", lambda _: True))
    assert first == PurePosixPath("top/0.flac")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", ["*", "no such file"])
def test_every_cut_is_noticed_whether_members_are_read_or_skipped(tmp_path: Path, kind: str, wanted: str):
    archive(tmp_path / "whole", kind)
    whole = (tmp_path / "whole").read_bytes()
    cut = tmp_path / "x.tar"
    ends = (
        len(whole.rstrip(b"\0")) + 511 if kind == "w" else len(whole)
    )  # a block of zeros is enough without compression
    lengths = {int(ends * part / 97) for part in range(97)} | {ends - lacking for lacking in (1, 4, 8, 9)}
    if kind == "w":
        lengths |= {block * 512 + beside for block in range(ends // 512) for beside in (0, 1)}
    for length in lengths:
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"x\.tar is cut off or damaged \(.+\): fetch it again"):
            names(cut, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_no_end(tmp_path: Path, kind: str):
    archive(tmp_path / "x.tar", kind)
    data = bytearray((tmp_path / "x.tar").read_bytes())
    place = data.index(b"top/513.flac") if kind == "w" else len(data) // 2
    data[place : place + 30] = b"?" * 30
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.tar is cut off or damaged"):
        names(tmp_path / "x.tar", "no such file")


def test_a_file_that_is_absent_or_unreadable_is_not_called_damaged(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.tar"))):
        names(tmp_path / "none.tar")
    with pytest.raises(IsADirectoryError):
        names(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_is_too_large_is_named_before_it_is_read(tmp_path: Path, kind: str, monkeypatch):
    files = archive(tmp_path / "x.tar", kind)
    monkeypatch.setattr(archives, "MOST_AUDIO_BYTES", 513)
    with pytest.raises(ValueError, match=r"x\.tar: its file top/5000\.flac has 5,000 bytes; at most 513 are read"):
        names(tmp_path / "x.tar")
    assert names(tmp_path / "x.tar", "513.flac") == {"top/513.flac": files["top/513.flac"]}


def test_a_sparse_member_has_the_size_that_it_unpacks_to(tmp_path: Path):
    """3 GB in 2 kB: the old GNU format has the size of the whole file in the header, as octal digits at byte 483."""
    header = tarfile.TarInfo("top/huge.wav")
    header.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (3 << 30)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(ValueError, match=r"top/huge\.wav has 3,221,225,472 bytes; at most 1,073,741,824"):
        names(tmp_path / "x.tar")


@pytest.mark.parametrize("type", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_without_end_is_not_read(tmp_path: Path, type: bytes):
    """tarfile reads names and attributes whole; this header announces 3 GB of them."""
    header = tarfile.TarInfo("././@LongLink")
    header.type = type
    header.size = 3 << 30
    (tmp_path / "x.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(ValueError, match=r"the name or the attributes of a member have 3,221,225,472 bytes"):
        names(tmp_path / "x.tar")


def test_only_a_regular_file_is_an_archive(tmp_path: Path):
    os.mkfifo(tmp_path / "x.tar")
    with pytest.raises(ValueError, match=r"x\.tar is a named pipe; an archive is needed"):
        names(tmp_path / "x.tar")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_bit_counts_where_the_archive_is_compressed(tmp_path: Path, kind: str):
    """A flip raises, or what is read is equal: name, time and system in gzip's header are in no checksum."""
    files = archive(tmp_path / "x.tar", kind)
    data = (tmp_path / "x.tar").read_bytes()
    harmless = []
    for place in range(0, len(data), max(1, len(data) // 150)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "x.tar").write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert names(tmp_path / "x.tar") == files
            harmless.append(place)
    assert len(harmless) < 8
