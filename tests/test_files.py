"""Files are read within limits: regular files only, no more bytes than allowed, and no line without end."""

import io
import os
import socket
from pathlib import Path

import pytest

from jaxasr.files import kind_of_file, limited_lines, read_regular


def special(folder: Path, kind: str) -> Path:
    """Returns the path of a file of that kind."""
    path = folder / "it"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    return path


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device", "a socket"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str):
    """Opening the pipe would wait for ever, and the device has no end."""
    path = special(tmp_path, kind)
    assert kind_of_file(path) == kind
    with pytest.raises(ValueError, match=f"it is {kind}; a regular file is needed"):
        read_regular(path, most_bytes=10)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path):
    path = tmp_path / "it"
    path.write_bytes(b"0123456789")
    assert read_regular(path, most_bytes=10) == b"0123456789"
    with pytest.raises(ValueError, match="it has 10 bytes; at most 9 are read"):
        read_regular(path, most_bytes=9)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", most_bytes=9)


def test_lines_come_as_they_are_up_to_their_limit():
    path = Path("some.txt")
    assert list(limited_lines(io.BytesIO(b"ab\n\ncd").readline, path, longest=3)) == [b"ab\n", b"\n", b"cd"]
    assert list(limited_lines(io.StringIO("ab\ncd\n").readline, path, longest=3)) == ["ab\n", "cd\n"]
    lines = limited_lines(io.BytesIO(b"ab\nabc\n").readline, path, longest=3)
    assert next(lines) == b"ab\n"
    with pytest.raises(ValueError, match=r"some\.txt line 2 is longer than 3 characters"):
        next(lines)
