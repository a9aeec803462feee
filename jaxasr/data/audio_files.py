"""Audio files and pipes that a user names: opened so that they can be read twice, without a guess from their names."""

import contextlib
import io
import os
import select
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxasr.data.av_audio import HEAD_BYTES, av_format, transcode
from jaxasr.files import kind_of_file

MOST_PIPE_BYTES = 8 << 30  # of a pipe, which is kept in a temporary file
_WRITER_S = 30.0  # time in which a process has to open a named pipe for writing
_POLL_MS = 100
_BLOCK = 1 << 20


@contextlib.contextmanager
def open_audio(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens an audio file that can seek and that libsndfile reads.

    A pipe (/dev/stdin, a named one, `<(ffmpeg ...)`) is copied to a temporary file, and a file that PyAV has to decode is
    decoded to one.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is a folder, a device or a socket, or a pipe without a writer or of more than MOST_PIPE_BYTES, or PyAV
        is not installed or cannot decode it.
    """
    with _opened(path) as file:
        container = av_format(file.read(HEAD_BYTES))
        file.seek(0)
        if not container:
            yield file
            return
        with tempfile.TemporaryFile() as decoded:
            transcode(file, decoded, name="W64", id=str(path), container=container)
            decoded.seek(0)
            yield decoded


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens a file or the copy of a pipe."""
    if not path.exists():
        raise FileNotFoundError(f"there is no audio file {path}")
    if not kind_of_file(path):
        with path.open("rb") as file:
            yield file
        return
    if not stat.S_ISFIFO(path.stat().st_mode):
        raise ValueError(f"{path} is {kind_of_file(path)}; an audio file or a pipe is needed")
    with tempfile.TemporaryFile() as file:
        copied = 0
        for block in _pipe_blocks(path):
            copied += len(block)
            if copied > MOST_PIPE_BYTES:
                raise ValueError(f"{path} is a pipe of more than {MOST_PIPE_BYTES:,} bytes: cut it, or use --stream")
            file.write(block)
        file.seek(0)
        yield file


def _pipe_blocks(path: Path) -> Iterator[bytes]:
    """Yields the content of a pipe, as soon as another process writes to it."""
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as pipe:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        begun = time.monotonic()
        while not poll.poll(_POLL_MS):
            first = pipe.read(1)
            if first is None:  # a writer has it open, and has not written yet
                break
            if first:
                yield first
                break
            if time.monotonic() - begun > _WRITER_S:
                raise ValueError(f"{path} is a named pipe that no process has opened for writing in {_WRITER_S:g} s")
        os.set_blocking(pipe.fileno(), True)
        while block := pipe.read(_BLOCK):
            yield block
