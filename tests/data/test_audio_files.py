"""Audio from pipes is decoded as from files, and what is neither is refused."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxasr.data import audio_files
from jaxasr.data.audio import decode_audio, stream_audio
from jaxasr.data.audio_files import open_audio
from tests.processes import PROCESS_S


@pytest.mark.parametrize(
    ("format", "subtype"), [("FLAC", "PCM_16"), ("WAV", "PCM_16"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_a_named_pipe_is_heard(tmp_path: Path, tone: Callable[..., bytes], format: str, subtype: str):
    """The writer comes late, writes in two pieces and waits between them."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = tone(1.0, format=format, subtype=subtype)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            timer.wait(0.3)
            pipe.write(data[:1000])
            timer.wait(0.2)
            pipe.write(data[1000:])

    timer = threading.Event()
    writer = threading.Timer(0.2, write)
    writer.start()
    wave_n = np.concatenate(list(stream_audio(path)))
    writer.join(PROCESS_S)
    np.testing.assert_array_equal(wave_n, decode_audio(data, id="x"))


def test_standard_input_is_heard(tmp_path: Path, tone: Callable[..., bytes]):
    (tmp_path / "x.flac").write_bytes(tone(0.5))
    code = "import sys; from pathlib import Path; from jaxasr.data.audio import stream_audio; "
    code += "print(sum(map(len, stream_audio(Path('/dev/stdin')))))"
    with (tmp_path / "x.flac").open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat:
        ran = subprocess.run(
            [sys.executable, "-c", code], stdin=cat.stdout, capture_output=True, text=True, timeout=120
        )
    assert ran.stdout == "8000\n", ran.stderr


def test_a_pipe_that_nobody_writes_to_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(audio_files, "_WRITER_S", 0.3)
    with pytest.raises(ValueError, match=r"pipe is a named pipe that no process has opened for writing in 0\.3 s"):
        next(stream_audio(tmp_path / "pipe"))


def test_a_pipe_without_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audio_files, "MOST_PIPE_BYTES", 3 << 20)
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with pytest.raises(ValueError, match=r"is a pipe of more than 3,145,728 bytes: cut it, or use --stream"):
            next(stream_audio(Path(f"/dev/fd/{cat.stdout.fileno()}")))
        cat.stdout.close()


def test_an_empty_pipe_is_an_empty_file(tmp_path: Path):
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(ValueError, match=r"an empty file"):
        next(stream_audio(Path(f"/dev/fd/{reader}")))
    os.close(reader)


def test_what_is_neither_file_nor_pipe_is_named(tmp_path: Path):
    with (
        pytest.raises(ValueError, match=r"/dev/zero is a device; an audio file or a pipe is needed"),
        open_audio(Path("/dev/zero")),
    ):
        pass
    with pytest.raises(ValueError, match=r"is a folder; an audio file or a pipe is needed"), open_audio(tmp_path):
        pass
    with pytest.raises(FileNotFoundError, match="there is no audio file"), open_audio(tmp_path / "none"):
        pass
