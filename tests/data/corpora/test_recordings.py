"""Segments of recordings in every format: exactly the samples of the decoded whole, which is decoded once."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.data.audio import decode_native
from jaxasr.data.corpora import recordings
from jaxasr.data.corpora.recordings import Recordings
from jaxasr.data.corpora.source import OutsideError
from jaxasr.data.corpora.times import RecordingSegment, find_times


def segment(**times: float) -> RecordingSegment:
    """Returns a segment."""
    found = find_times({name: str(value) for name, value in times.items()})
    assert isinstance(found, RecordingSegment)
    return found


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Returns `write(name, format, subtype, rate_hz)`, which writes a recording of 3 s of noise in stereo."""

    def write(name: str, format: str = "WAV", subtype: str = "PCM_16", rate_hz: int = 16_000) -> Path:
        file = io.BytesIO()
        soundfile.write(file, rng.normal(0.0, 0.1, (3 * rate_hz, 2)), rate_hz, format=format, subtype=subtype)
        path = tmp_path / name
        path.write_bytes(file.getvalue())
        return path

    return write


@pytest.mark.parametrize(
    ("format", "subtype", "rate_hz"),
    [
        ("WAV", "PCM_16", 16_000),
        ("WAV", "FLOAT", 44_100),
        ("FLAC", "PCM_24", 48_000),
        ("WAV", "ULAW", 8_000),
        ("OGG", "OPUS", 48_000),
        ("OGG", "VORBIS", 22_050),
        ("MP3", "MPEG_LAYER_III", 44_100),
        ("NIST", "PCM_16", 16_000),
    ],
)
def test_a_segment_has_the_samples_of_the_decoded_recording(
    write: Callable[..., Path], format: str, subtype: str, rate_hz: int
):
    path = write("recording", format, subtype, rate_hz)
    whole_n, native_hz = decode_native(path.read_bytes(), id="x")
    reader = Recordings()
    for start, end in ((2.1, 2.9), (0, 0.5), (0.123, 1.9)):
        cut_n, cut_hz = decode_native(reader.cut(path, segment(start=start, end=end)), id="x")
        assert cut_hz == native_hz == rate_hz
        np.testing.assert_array_equal(cut_n, whole_n[round(start * rate_hz) : round(end * rate_hz)])


def test_all_of_a_recording_stays_as_it_came(write: Callable[..., Path]):
    path = write("recording", "OGG", "VORBIS")
    assert Recordings().cut(path, segment(offset=0, duration=3.0)) == path.read_bytes()


def test_a_recording_is_decoded_once_for_all_threads_and_again_when_forgotten(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    paths = [write(f"{n}.wav") for n in range(3)]
    decoded: list[str] = []
    stream_audio = recordings.stream_audio

    def counted(path: Path, *, rate_hz: int, channel: int | None):
        decoded.append(path.name)
        return stream_audio(path, rate_hz=rate_hz, channel=channel)

    monkeypatch.setattr(recordings, "stream_audio", counted)
    reader = Recordings(most_bytes=200_000)  # two recordings of 96 kB
    with ThreadPoolExecutor(4) as pool:
        cuts = list(pool.map(lambda n: reader.cut(paths[n % 2], segment(start=n / 10, end=(n + 1) / 10)), range(20)))
    assert len(set(cuts)) == 20
    assert sorted(decoded) == ["0.wav", "1.wav"]
    for path in (*paths, paths[2]):
        reader.cut(path, segment(end=1))
    assert sorted(decoded) == ["0.wav", "1.wav", "2.wav"]
    reader.cut(paths[0], segment(end=1))
    assert sorted(decoded) == ["0.wav", "0.wav", "1.wav", "2.wav"]


def test_errors_of_a_recording_are_those_of_each_of_its_segments(write: Callable[..., Path], tmp_path: Path):
    reader = Recordings()
    whole = write("whole.wav")
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:50_000])
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            reader.cut(tmp_path / "lost.wav", segment(end=1))
        with pytest.raises(ValueError, match=r"cut\.wav"):
            reader.cut(tmp_path / "cut.wav", segment(end=0.1))
        with pytest.raises(OutsideError, match="not in the recording of 3 s"):
            reader.cut(whole, segment(start=2, end=4.25))


def test_a_full_disk_is_no_fault_of_the_recording(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recordings.tempfile, "TemporaryFile", lambda: Path("/dev/full").open("wb", 0))  # noqa: SIM115
    with pytest.raises(RuntimeError, match=r"cannot be written to .*No space left.*TMPDIR"):
        Recordings().cut(write("a.wav"), segment(end=1))
