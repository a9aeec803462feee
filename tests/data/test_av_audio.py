"""Containers that PyAV decodes: prepared as FLAC, transcribed, damaged, and a message where PyAV is missing."""

import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.data import Corpus
from jaxasr.data.audio import channel_count, decode_native, decode_whole, native_rate_hz, stream_audio
from jaxasr.data.av_audio import av_format
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare

av = pytest.importorskip("av", reason="the extra av is optional; the extra dev has it")
KINDS = {
    "a.m4a": ("ipod", "aac", 16_000),
    "a.mp4": ("mp4", "aac", 44_100),
    "a.aac": ("adts", "aac", 16_000),
    "a.webm": ("webm", "libopus", 48_000),
    "a.mka": ("matroska", "flac", 16_000),
    "a.amr": ("amr", "libopencore_amrnb", 8_000),
}


def encoded(name: str, channels: int = 1, **options: str) -> bytes:
    """Returns 0.5 s of tones, one for each channel, in the container of a name; skips where FFmpeg has no encoder."""
    container, codec, rate_hz = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name  # the option faststart needs a name
        _write(path, container, codec, rate_hz, channels, options)
        return path.read_bytes()


def _write(path: Path, container: str, codec: str, rate_hz: int, channels: int, options: dict[str, str]) -> None:
    with av.open(str(path), "w", format=container, options=options) as output:
        try:
            stream = output.add_stream(codec, rate=rate_hz)
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this build of FFmpeg has no encoder {codec}")
        stream.layout = "stereo" if channels == 2 else "mono"
        frame = av.AudioFrame.from_ndarray(tones(rate_hz, channels).reshape(1, -1), format="s16", layout=stream.layout)
        frame.sample_rate = rate_hz
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)


def tones(rate_hz: int, channels: int) -> np.ndarray:
    """Returns 0.5 s of 300 Hz, and of 700 Hz in a second channel."""
    time_n1 = np.arange(rate_hz // 2)[:, None] / rate_hz
    return (9_000 * np.sin(2 * np.pi * np.array([300, 700])[:channels] * time_n1)).astype(np.int16)


def pitch_hz(wave_n: np.ndarray, rate_hz: int) -> float:
    """Returns the strongest frequency."""
    return float(np.fft.rfftfreq(len(wave_n), 1 / rate_hz)[np.abs(np.fft.rfft(wave_n)).argmax()])


@pytest.mark.parametrize("name", KINDS)
def test_a_container_is_decoded_and_streamed(tmp_path: Path, name: str):
    data = encoded(name)
    rate_hz = KINDS[name][2]
    wave_n, found_hz = decode_whole(data, id=name)
    assert found_hz == rate_hz
    assert len(wave_n) / rate_hz == pytest.approx(0.5, abs=0.1)
    assert pitch_hz(wave_n, rate_hz) == pytest.approx(300, abs=5)
    (tmp_path / name).write_bytes(data)
    assert native_rate_hz(tmp_path / name) == rate_hz
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(tmp_path / name, rate_hz=rate_hz))), wave_n)


def test_prepared_corpora_need_no_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [{"audio": "a.m4a", "text": "ONE", "id": "a"}, {"audio": "a.m4a", "text": "TWO", "start": 0.25, "id": "cut"}]
    (tmp_path / "a.m4a").write_bytes(encoded("a.m4a", 2))
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(Manifest(tmp_path, "left", channel="left"), tmp_path / "data")
    prepare(Manifest(tmp_path, "each", channel="each"), tmp_path / "data")
    monkeypatch.setitem(sys.modules, "av", None)
    left = Corpus("left", "train").open(tmp_path / "data")
    each = Corpus("each", "train").open(tmp_path / "data")
    assert each.ids == ["a-1", "a-2", "cut-1", "cut-2"]
    pitches = [pitch_hz(*decode_native(corpus.read(i), id="")) for corpus in (left, each) for i in range(len(corpus))]
    assert pitches == pytest.approx([300, 300, 300, 700, 300, 700], abs=8)
    assert soundfile.info(io.BytesIO(left.read(0))).format == "FLAC"


@pytest.mark.parametrize("name", ["a.m4a", "a.aac"])
def test_without_av_the_message_names_extra_and_command(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    data = encoded(name)
    (tmp_path / name).write_bytes(data)
    monkeypatch.setitem(sys.modules, "av", None)
    expected = r"which needs PyAV: pip install 'jaxasr\[av\]', or convert it: ffmpeg -i"
    with pytest.raises(ValueError, match=expected):
        decode_whole(data, id=name)
    with pytest.raises(ValueError, match=expected):
        list(stream_audio(tmp_path / name))
    assert channel_count(tmp_path / name) == 1


@pytest.mark.parametrize("share", [0.9, 0.5])
@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.aac", "a.webm", "a.mka"])
def test_a_truncated_file_is_an_error(name: str, share: float):
    data = encoded(name, **({"movflags": "faststart"} if name == "a.mp4" else {}))
    with pytest.raises(ValueError, match=r"cut off or damaged|without audio"):
        decode_whole(data[: int(len(data) * share)], id=name)


def test_a_film_without_sound_and_bytes_behind_a_mark_are_errors():
    with pytest.raises(ValueError, match="x is an AMR file that is cut off or damaged"):
        decode_whole(b"#!AMR\nnothing of that kind" * 20, id="x")
    with pytest.raises(ValueError, match="x is an MPEG-4 file"):
        decode_whole(b"\0\0\0\x20ftypM4A " + bytes(500), id="x")


@pytest.mark.parametrize(
    "head", [b"RIFF....WAVEfmt ", b"\xff\xfb\x90\x64" + bytes(12), b"fLaC" + bytes(12), b"OggS", b""]
)
def test_files_of_libsndfile_are_left_to_it(head: bytes):
    assert av_format(head) == ""
