"""AIFF, AU, CAF and SPHERE files: lengths and checksums of their own."""

from collections.abc import Callable

import numpy as np
import pytest

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Returns the data with exactly one replacement."""
    assert data.count(old) == 1
    return data.replace(old, new)


def test_an_aiff_file_has_two_lengths(write: Write, refusal: Refusal):
    data = write("AIFF")
    place = data.index(b"COMM") + 10
    fewer = data[:place] + (12_000).to_bytes(4, "big") + data[place + 4 :]
    assert refusal(fewer) == "x: its header says 24000 bytes of samples in COMM and 48000 in SSND"


def test_an_au_file_from_a_pipe_does_not_know_its_length(write: Write, refusal: Refusal):
    data = write("AU")
    piped = replaced(data[:24], (48_000).to_bytes(4, "big"), b"\xff" * 4) + data[24:]
    assert refusal(piped) == "24000 samples"
    assert "cut off within a sample" in refusal(piped[:-1])


@pytest.mark.parametrize("cut", [1, 2, 500, 24_000])
def test_a_sphere_file_has_the_samples_that_its_header_says(write: Write, refusal: Refusal, cut: int):
    data = write("NIST")
    assert refusal(data) == "24000 samples"
    assert f"cut off, its header says 48000 bytes of samples, {48_000 - cut} are there" in refusal(data[:-cut])
    assert "40 zeros follow its samples" in refusal(data + bytes(40))


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_the_checksum_of_a_sphere_file_is_compared(refusal: Refusal, order: str):
    """It is the sum of the samples as unsigned numbers of 16 bits."""
    wave_n = np.random.default_rng(3).integers(-32_768, 32_768, 1000).astype(order)
    named = "01" if order == "<i2" else "10"
    fields = (
        "sample_rate -i 16000\nsample_count -i 1000\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_coding -s3 pcm\n"
    )
    fields += f"sample_byte_format -s2 {named}\nsample_sig_bits -i 16\n"
    sum16 = int(wave_n.astype(np.int64).sum()) % 65_536

    def file(checksum: int) -> bytes:
        head = f"NIST_1A\n   1024\n{fields}sample_checksum -i {checksum}\nend_head\n"
        return head.encode().ljust(1024) + wave_n.tobytes()

    assert refusal(file(sum16)) == "1000 samples"
    assert refusal(file(sum16 ^ 1)) == f"x: its samples have the checksum {sum16}, its header says {sum16 ^ 1}"


@pytest.mark.parametrize("field", ["sample_count -i 24000\n", "end_head"])
def test_a_sphere_header_without_what_is_needed(write: Write, refusal: Refusal, field: str):
    assert "its SPHERE header has no" in refusal(write("NIST").replace(field.encode(), b""))
