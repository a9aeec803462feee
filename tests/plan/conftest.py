"""Fixture: the tests of this folder read the programs that a user's run has."""

from collections.abc import Iterator

import pytest

from tests.compilation import full_optimization


@pytest.fixture(autouse=True)
def _full_optimization() -> Iterator[None]:
    with full_optimization():
        yield
