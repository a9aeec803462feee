"""Parsers of numbers on the command line. They check the range while the command is parsed, before any work is done."""

import argparse
import math
from collections.abc import Callable

MOST_COUNT = 1_000_000  # of processes, pieces, steps at once: more is a slip of the keyboard
MOST_S = 1e9  # 30 years; waiting for longer overflows the clocks of the system


def whole_number(least: int = 0, most: int = MOST_COUNT) -> Callable[[str], int]:
    """Returns a parser of whole numbers in [least, most]."""

    def parse(text: str) -> int:
        number = _whole(text)
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{_shown(text)} is given; a whole number from {least:,} to {most:,} is needed"
            )
        return number

    return parse


def number(least: float = -math.inf, most: float = math.inf, *, above: float = -math.inf) -> Callable[[str], float]:
    """Returns a parser of finite numbers in [least, most] that are greater than `above`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not least <= value <= most or not value > above:
            raise argparse.ArgumentTypeError(f"{_shown(text)} is given; {_range(least, most, above)} is needed")
        return value

    return parse


def int_list(least: int = 0, most: int = MOST_COUNT) -> Callable[[str], tuple[int, ...]]:
    """Returns a parser of whole numbers in [least, most], such as "2,1,4"."""

    def parse(text: str) -> tuple[int, ...]:
        numbers = [_whole(part) for part in text.split(",")]
        wrong = [n for n in numbers if n is None or not least <= n <= most]
        if wrong:
            raise argparse.ArgumentTypeError(
                f"{_shown(text)} is given; whole numbers from {least:,} to {most:,} are needed, such as 2,1,4"
            )
        return tuple(n for n in numbers if n is not None)

    return parse


def float_list(*, above: float = -math.inf) -> Callable[[str], tuple[float, ...]]:
    """Returns a parser of finite numbers that are greater than `above`, such as "0.5,2"."""
    parse_one = number(above=above)

    def parse(text: str) -> tuple[float, ...]:
        return tuple(parse_one(part) for part in text.split(","))

    return parse


def _whole(text: str) -> int | None:
    """Returns the number that a text of ASCII digits stands for, with a sign or without; None for any other text."""
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        return None
    return int(text)


def _range(least: float, most: float, above: float) -> str:
    lowest = f" above {above:g}" if math.isfinite(above) else f" from {least:g}" if math.isfinite(least) else ""
    highest = f" to {most:g}" if math.isfinite(most) else ""
    return f"a finite number{lowest}{highest}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
