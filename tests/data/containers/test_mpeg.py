"""MPEG audio: frames that are cut or missing, and files whose number of samples libsndfile only estimates."""

import struct
from collections.abc import Callable

import pytest

from jaxasr.data.audio import decode_native, header_duration_s, stream_audio
from jaxasr.data.containers import mpeg

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]


def frames(data: bytes) -> list[bytes]:
    """Returns the frames of an MP3 file; the first one of what soundfile writes counts the others."""
    found = []
    while data:
        header = mpeg._header(data[:4])
        assert header is not None
        found.append(data[: header.size_bytes])
        data = data[header.size_bytes :]
    return found


@pytest.fixture(scope="module")
def mp3(write: Write) -> list[bytes]:
    """Returns the frames of an MP3 file of varying bit rate."""
    found = frames(write("MP3", "MPEG_LAYER_III"))
    assert found[0][13:17] == b"Xing"
    assert len(set(map(len, found[1:]))) > 1
    return found


def test_frames_are_counted(mp3: list[bytes], refusal: Refusal):
    data = b"".join(mp3)
    assert refusal(data) == "24000 samples"
    assert "cut off, its last frame has" in refusal(data[:-1])
    for lacking in (1, 2, 20):
        expected = f"its first frame counts {len(mp3) - 1} frames, {len(mp3) - 1 - lacking} are there"
        assert expected in refusal(b"".join(mp3[:-lacking]))
        assert expected in refusal(b"".join(mp3[:9] + mp3[9 + lacking :]))
    assert "files joined to one?" in refusal(data + b"".join(mp3[1:]))


@pytest.mark.parametrize("counted", ["not", "by VBRI", "by Xing without a number"])
def test_a_file_that_does_not_count_its_frames_is_decoded_to_its_end(
    mp3: list[bytes], refusal: Refusal, tmp_path, counted: str
):
    """libsndfile estimates the length from the size of the first frame, here half of what is there."""
    first = bytearray(mp3[0])
    if counted == "by VBRI":
        first[13:17] = bytes(4)
        size = sum(map(len, mp3))
        first[36:54] = b"VBRI" + bytes(6) + struct.pack(">2I", size, len(mp3) - 1)
    else:
        first[17:21] = bytes(4)
    data = b"".join([*([] if counted == "not" else [bytes(first)]), *mp3[1:]])
    samples = 576 * (len(mp3) - 1) - 529  # mpg123 leaves out its own delay
    assert refusal(data) == f"{samples} samples"
    assert len(decode_native(data, id="x")[0]) == samples
    (tmp_path / "x.mp3").write_bytes(data)
    assert sum(map(len, stream_audio(tmp_path / "x.mp3"))) == samples
    assert header_duration_s(tmp_path / "x.mp3") == pytest.approx(samples / 16_000, abs=0.1)
    assert "cut off, its last frame has" in refusal(data[:-1])


def test_bytes_between_frames_are_not_left_out(mp3: list[bytes], refusal: Refusal):
    assert "belong to no part of the file" in refusal(b"".join([*mp3[:20], b"\x33" * 7, *mp3[20:]]))


@pytest.mark.parametrize(
    "tag",
    [
        b"TAG".ljust(128, b"\0"),
        b"APETAGEX" + struct.pack("<4I", 2000, 36, 0, 1 << 31 | 1 << 29) + bytes(12) + b"APETAGEX" + bytes(24),
        b"item" + b"APETAGEX" + struct.pack("<4I", 2000, 36, 1, 0) + bytes(8),
        b"LYRICSBEGINsome words000020LYRICS200",
        b"ID3\4\0\0\0\0\0\5words",
        bytes(500),
    ],
    ids=["ID3v1", "APE", "APE without a header", "Lyrics3", "ID3v2", "zeros"],
)
def test_tags_behind_the_frames_are_no_damage(mp3: list[bytes], refusal: Refusal, tag: bytes):
    data = b"".join(mp3)
    assert refusal(data + tag) == "24000 samples"
    assert refusal(data + tag + b"TAG".ljust(128, b"\0")) == "24000 samples"


@pytest.mark.parametrize(("layer", "samples"), [(2, 1152), (3, 384)], ids=["II", "I"])
def test_other_layers_have_as_many_samples_as_frames(refusal: Refusal, layer: int, samples: int):
    """Frames of layers I and II with no allocated bits are silence."""
    head = bytes([0xFF, 0xF9 | layer << 1, 5 << 4 | 4, 0xC0])
    header = mpeg._header(head)
    assert header is not None
    frame = head.ljust(header.size_bytes, b"\0")
    assert refusal(frame * 30) == f"{30 * samples} samples"
    assert "cut off, its last frame has" in refusal(frame * 30 + frame[:-1])
