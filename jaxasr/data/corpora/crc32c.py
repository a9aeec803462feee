"""CRC-32C (Castagnoli), the checksum of TFRecord files, computed with NumPy on many parts of the data at once.

zlib has another polynomial, and TensorFlow, which has this one, is no dependency.
"""

import functools

import numpy as np
from jaxtyping import UInt32

_POLYNOMIAL = 0x82F63B78  # its bits reversed
_PART_BYTES = 256
_ONES = 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Returns the checksum (RFC 3720, section 12.1).

    The data are cut into parts of equal size, whose registers are computed beside each other and joined in pairs: the
    register of two parts is that of the first one, moved on by as many zeros as the second has bytes, xor that of the second.
    """
    content = np.frombuffer(data[:4].ljust(4, b"\0") + data[4:], np.uint8).copy()
    content[:4] ^= 0xFF  # the register begins with ones
    parts = np.concatenate([np.zeros(-len(content) % _PART_BYTES, np.uint8), content]).reshape(-1, _PART_BYTES)
    registers = np.zeros(len(parts), np.uint32)
    for column in np.ascontiguousarray(parts.T):
        registers = _next(registers ^ column)
    level = 0
    while len(registers) > 1:
        if len(registers) % 2:
            registers = np.concatenate([np.zeros(1, np.uint32), registers])
        registers = _apply(_moved_on(level), registers[0::2]) ^ registers[1::2]
        level += 1
    return int(registers[0]) ^ _ONES if len(data) >= 4 else _of_few(data)


def _of_few(data: bytes) -> int:
    register = np.array([_ONES], np.uint32)
    for byte in data:
        register = _next(register ^ np.uint32(byte))
    return int(register[0]) ^ _ONES


def _next(registers: UInt32[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
    """Moves registers on by one byte."""
    return _table()[registers & 0xFF] ^ (registers >> 8)


@functools.cache
def _table() -> UInt32[np.ndarray, "256"]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@functools.cache
def _moved_on(level: int) -> UInt32[np.ndarray, "4 256"]:
    """Returns each byte at each place of a register, moved on by 2^level parts of zeros."""
    if level:
        before = _moved_on(level - 1)
        return _apply(before, before)
    registers = (np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]).astype(np.uint32)
    for _ in range(_PART_BYTES):
        registers = _table()[registers & 0xFF] ^ (registers >> 8)
    return registers


def _apply(moved_on: UInt32[np.ndarray, "4 256"], registers: UInt32[np.ndarray, "*n"]) -> UInt32[np.ndarray, "*n"]:
    columns = [moved_on[place][(registers >> np.uint32(8 * place)) & 0xFF] for place in range(4)]
    return columns[0] ^ columns[1] ^ columns[2] ^ columns[3]
