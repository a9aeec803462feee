"""Archives of every kind: their members in order, and every cut of them noticed, in the same words on every Python."""

import io
import re
import tarfile
from pathlib import Path, PurePosixPath

import pytest

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
