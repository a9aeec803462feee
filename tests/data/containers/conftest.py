"""Audio files of every container, and the message with which one is refused."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from jaxasr.data.audio import decode_whole

WAVE = np.random.default_rng(5).normal(0.0, 0.1, 24_000)


@pytest.fixture(scope="session")
def write() -> Callable[..., bytes]:
    """Returns `write(format, subtype, seconds=1.5, rate_hz=16_000, channels=1)`, which returns a file of noise."""

    def write(
        format: str, subtype: str = "PCM_16", *, seconds: float = 1.5, rate_hz: int = 16_000, channels: int = 1
    ) -> bytes:
        wave_nc = np.stack([WAVE[: round(seconds * 16_000)]] * channels, axis=1)
        file = io.BytesIO()
        soundfile.write(file, wave_nc, rate_hz, format=format, subtype=subtype)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def refusal() -> Callable[[bytes], str]:
    """Returns `refusal(data)`: the error message for a file, or "N samples" if it is decoded."""

    def refusal(data: bytes) -> str:
        try:
            return f"{len(decode_whole(data, id='x')[0])} samples"
        except ValueError as error:
            return str(error)

    return refusal
