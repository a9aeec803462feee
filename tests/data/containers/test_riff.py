"""WAV, RF64 and Wave64 files: lengths that are unknown, too large, too small or contradict each other."""

from collections.abc import Callable

import pytest

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]


def with_data_size(data: bytes, size: int) -> bytes:
    """Returns the WAV file with another size of its chunk of samples."""
    place = data.index(b"data") + 4
    return data[:place] + (size % (1 << 32)).to_bytes(4, "little") + data[place + 4 :]


@pytest.mark.parametrize("size", [0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_was_not_known_reaches_to_the_end(write: Write, refusal: Refusal, size: int):
    data = with_data_size(write("WAV"), size)
    assert refusal(data) == "24000 samples"
    assert refusal(data[:-1]) == "x: cut off within a sample: 47999 bytes of samples, of 2 bytes each"


def test_a_writer_that_counts_its_header_loses_no_sample(write: Write, refusal: Refusal):
    data = write("WAV")
    assert refusal(with_data_size(data, len(data))) == "24000 samples"
    for cut in (36, 44, 100):  # then the size of the whole file is wrong as well
        assert "cut off, its header says 48000 bytes" in refusal(data[:-cut])


@pytest.mark.parametrize("size", [47_000, 24_000, 8, 2, 0])
def test_samples_behind_the_length_are_not_left_out(write: Write, refusal: Refusal, size: int):
    assert "follow its chunk 'data'" in refusal(with_data_size(write("WAV"), size))


def test_chunks_behind_the_samples_are_whole(write: Write, refusal: Refusal):
    data = write("WAV") + b"LIST\x0a\0\0\0" + b"INFOISFT\0\0"
    assert refusal(data) == "24000 samples"
    assert refusal(data + bytes(1000)) == "24000 samples"
    assert "its chunk 'LIST' has 10 bytes by its header, 7 are there" in refusal(data[:-3])


def test_two_chunks_of_samples_are_refused(write: Write, refusal: Refusal):
    """libsndfile decodes one of them."""
    data = write("WAV")
    assert "2 chunks of samples" in refusal(data + data[36:])


@pytest.mark.parametrize("place", [22, 24, 25, 26, 28, 29, 30, 32, 34])
def test_a_flip_in_the_format_contradicts_the_other_fields(write: Write, refusal: Refusal, place: int):
    """Channels, rate, bytes a second, bytes a frame and bits a sample are in bytes 22 to 35."""
    for bit in range(8):
        data = bytearray(write("WAV", seconds=0.1))
        data[place] ^= 1 << bit
        assert "its header contradicts itself" in refusal(bytes(data)), bit


@pytest.mark.parametrize("format", ["RF64", "W64"])
def test_sizes_of_64_bits_are_compared(write: Write, refusal: Refusal, format: str):
    """The files have 48 kB; a flip makes the size 2^40 bytes larger, or one sample smaller."""
    data = write(format)
    size = (48_000 + (24 if format == "W64" else 0)).to_bytes(8, "little")
    for flipped in (size[:5] + b"\1" + size[6:], bytes([size[0] ^ 2]) + size[1:]):
        assert not refusal(data.replace(size, flipped, 1)).endswith(" samples")
