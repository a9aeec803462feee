"""FLAC files: the MD5 of the samples, an unknown number of samples, and headers that contradict each other."""

from collections.abc import Callable

import pytest

from jaxasr.data.audio import header_duration_s, stream_audio

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]
INFO = 8  # the place of the stream information


def from_a_pipe(data: bytes) -> bytes:
    """Returns the file as an encoder writes it that can't go back: without number of samples and MD5."""
    return data[: INFO + 13] + bytes([data[INFO + 13] & 0xF0]) + bytes(4 + 16) + data[INFO + 34 :]


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_md5_of_the_samples_is_compared(write: Write, refusal: Refusal, tmp_path, subtype: str, channels: int):
    data = write("FLAC", subtype, channels=channels)
    assert refusal(data) == "24000 samples"
    other = bytearray(data)
    other[INFO + 20] ^= 1
    assert refusal(bytes(other)) == "x: its samples have another MD5 checksum than its header says"
    (tmp_path / "x.flac").write_bytes(other)
    with pytest.raises(ValueError, match="another MD5 checksum"):
        list(stream_audio(tmp_path / "x.flac"))


def test_a_file_from_a_pipe_is_decoded_to_its_end(write: Write, refusal: Refusal, tmp_path):
    for seconds in (0.01, 1.5):
        data = from_a_pipe(write("FLAC", seconds=seconds))
        assert refusal(data) == f"{seconds * 16_000:.0f} samples"
        (tmp_path / "x.flac").write_bytes(data)
        assert sum(map(len, stream_audio(tmp_path / "x.flac"))) == seconds * 16_000
        assert header_duration_s(tmp_path / "x.flac") == seconds
    for cut in (1, 3, 100, 5000, len(data) // 2):
        assert not refusal(data[:-cut]).endswith(" samples")


def test_every_bit_of_the_header_that_matters_is_compared(write: Write, refusal: Refusal):
    """Rate, channels, bits and number of samples are 8 bytes, the MD5 follows."""
    data = write("FLAC", seconds=0.2)
    for place in range(INFO + 10, INFO + 34):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            assert not refusal(bytes(flipped)).endswith(" samples"), (place, bit)
