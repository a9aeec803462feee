"""Fixtures: the tests of this folder share compiled programs, and read those that a user's run has."""

from collections.abc import Iterator

import pytest

from tests.compilation import full_optimization
from tests.trained_run import compile_cache, shared_folder


@pytest.fixture(autouse=True)
def _compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with full_optimization(), compile_cache(shared_folder(tmp_path_factory)):
        yield
