"""The conversion of decoded audio to one channel of 16 bits. It makes no silent or clipped audio out of good audio.

Channels are averaged. Where they cancel each other, as two channels in antiphase do, the loudest channel is taken alone.
Floating-point files may have any scale: one with many samples beyond full scale is divided by its peak.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int16

_FULL_SCALE = 32_768.0
_MAX_BEYOND = 0.001  # largest share of samples beyond full scale that is clipped; more are a matter of scale
_MIN_MIX = 0.5  # smallest power of the average, relative to that of the loudest channel with silence in all others
_AUDIBLE = 1e-6  # power of -60 dBFS
_ROUNDING = 1e-9  # power of -90 dBFS, below which a signal is taken for constant


@dataclass(frozen=True)
class Conversion:
    """A mapping of decoded blocks to one channel of 16 bits, the same for all blocks of a file."""

    channel: int | None = None  # None: the average of all channels
    gain: float = 1.0

    def apply(self, block_nc: np.ndarray, id: str) -> Int16[np.ndarray, " n"]:
        """Converts a block of int16, or of float32 with full scale at 1.

        Raises:
          ValueError: samples are not finite. The message names `id`.
        """
        if block_nc.dtype == np.int16 and (block_nc.shape[1] == 1 or self.channel is not None):
            return block_nc[:, self.channel or 0]
        scale = 1.0 if block_nc.dtype == np.int16 else _FULL_SCALE
        wave_n = block_nc.mean(axis=1, dtype=np.float32) if self.channel is None else block_nc[:, self.channel]
        with np.errstate(invalid="ignore"):  # infinite samples of a file that is divided by its peak
            wave_n = wave_n * np.float32(scale * self.gain)
        if not np.isfinite(wave_n).all():
            raise ValueError(f"{id}: {np.count_nonzero(~np.isfinite(wave_n))} samples are NaN or infinite")
        return np.clip(np.round(wave_n), -32_768, 32_767).astype(np.int16)


MEAN = Conversion()


class Survey:
    """A survey of all blocks of a file, which decides its conversion.

    Args:
      channels: number of channels.
      scalable: True for floating-point files. Other samples beyond full scale come from a lossy codec and are clipped.
      channel: the channel to take, from 0 on; None: the average, or the loudest one.

    Raises:
      ValueError: the file does not have the channel.
    """

    def __init__(self, channels: int, *, scalable: bool, channel: int | None = None):
        if channel is not None and channel >= channels:
            raise ValueError(f"channel {channel + 1} is needed, the file has {channels}")
        self._channel = channel
        self.needed = channels > 1 or scalable
        self._scalable = scalable
        self._columns = _Columns.zeros(1 + channels)  # the average first, then the channels

    def add(self, block_nc: np.ndarray) -> None:
        """Adds a block of int16, or of float32 with full scale at 1."""
        if self.needed:
            x_nc = block_nc if block_nc.dtype == np.float32 else block_nc.astype(np.float32) / _FULL_SCALE
            self._columns.add(np.concatenate([x_nc.mean(axis=1, keepdims=True), x_nc], axis=1))

    @property
    def conversion(self) -> Conversion:
        """The conversion for the blocks so far."""
        columns = self._columns
        if not self.needed or not columns.samples:
            return Conversion(self._channel)
        with np.errstate(invalid="ignore"):  # samples that are not finite raise when they are converted
            power_c = columns.power
        loudest = int(np.argmax(power_c[1:])) if self._channel is None else self._channel
        channels = len(power_c) - 1
        most = power_c[1 + loudest]
        least = max(_MIN_MIX * most / channels**2, min(_AUDIBLE, most))
        cancelled = bool(power_c[0] < least and most > _ROUNDING)
        alone = cancelled or self._channel is not None
        column = 1 + loudest if alone else 0
        rescaled = self._scalable and columns.beyond[column] > _MAX_BEYOND * columns.samples
        return Conversion(loudest if alone else None, 1.0 / float(columns.peak[column]) if rescaled else 1.0)


@dataclass
class _Columns:
    """The running sums of signals side by side."""

    samples: int
    sum: Float64[np.ndarray, " c"]
    squares: Float64[np.ndarray, " c"]
    peak: Float64[np.ndarray, " c"]
    beyond: Float64[np.ndarray, " c"]  # number of samples beyond full scale

    @classmethod
    def zeros(cls, columns: int) -> "_Columns":
        return cls(0, *(np.zeros(columns) for _ in range(4)))

    def add(self, x_nc: np.ndarray) -> None:
        size_nc = np.abs(x_nc)
        self.samples += len(x_nc)
        self.sum += x_nc.sum(axis=0, dtype=np.float64)
        self.squares += np.einsum("nc,nc->c", x_nc, x_nc, dtype=np.float64)
        self.peak = np.maximum(self.peak, size_nc.max(axis=0))
        self.beyond += (size_nc > 1).sum(axis=0)

    @property
    def power(self) -> Float64[np.ndarray, " c"]:
        """The mean square of each signal without its constant part."""
        return self.squares / self.samples - (self.sum / self.samples) ** 2
