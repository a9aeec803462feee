"""The check of numbers: types, finiteness, size and ranges, in tuples too, with messages that say all."""

import dataclasses
import re
from typing import Any, Literal

import pytest

from jaxasr import tree


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A dataclass with a field of each kind."""

    whole: int = 1
    real: float = 0.5
    maybe: float | None = None
    pairs: tuple[tuple[str, float], ...] = ()
    sizes: int | tuple[int, ...] = 1
    way: Literal[1, 2] | None = None
    anything: Any = None
    name: str = "a"
    flag: bool = True

    def __post_init__(self):
        tree.check_numbers(self, positive=("sizes",), not_negative=("whole",))


@pytest.mark.parametrize(
    "values",
    [
        {"whole": 0, "real": -1e30, "maybe": 3, "anything": -2},
        {"pairs": (("a", 1), ("b", -0.5)), "sizes": (3, 4), "way": 2},
        {"maybe": None, "anything": "text", "flag": False, "real": 2**60, "whole": 2**63 - 1},
    ],
)
def test_numbers_that_fit_pass(values):
    assert dataclasses.replace(Numbers(), **values).name == "a"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("whole", float("nan"), "Numbers.whole is nan; it must be a whole number"),
        ("whole", 2.0, "Numbers.whole is 2.0; it must be a whole number"),
        ("whole", -1, "Numbers.whole is -1; it must be 0 or more"),
        ("whole", 10**400, "Numbers.whole is a whole number of about 400 digits; it must be a number within 64 bits"),
        ("real", 10**4_000, "Numbers.real is a whole number of about 4,000 digits; it must be a number within 64 bits"),
        ("real", float("inf"), "Numbers.real is inf; it must be a finite number"),
        ("maybe", float("-inf"), "Numbers.maybe is -inf; it must be a finite number"),
        ("pairs", (("a", 1.0), ("b", float("nan"))), "Numbers.pairs is nan; it must be a finite number"),
        ("sizes", (3, 0), "Numbers.sizes is 0; it must be more than 0"),
        ("sizes", (3, 0.5), "Numbers.sizes is 0.5; it must be a whole number"),
        ("way", 3, "Numbers.way is 3; it must be one of 1, 2"),
        ("anything", float("nan"), "Numbers.anything is nan; it must be a finite number"),
    ],
)
def test_other_numbers_are_refused_by_name(field, value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(Numbers(), **{field: value})


@pytest.mark.parametrize("text", ["-1e999", "1e999", "nan"])
def test_an_override_with_a_number_out_of_range_is_refused(text):
    with pytest.raises(ValueError, match=r"Numbers\.real is .*; it must be a finite number"):
        tree.override(Numbers(), {"real": text})
