"""CRC-32C agrees with published values and with the definition, for every length."""

import numpy as np
import pytest

from jaxasr.data.corpora.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, crc: int):
    assert crc32c(data) == crc


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 255, 256, 257, 511, 512, 513, 3000])
def test_it_is_the_remainder_of_every_length(length: int):
    data = np.random.default_rng(length).bytes(length)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(data) == crc ^ 0xFFFFFFFF
