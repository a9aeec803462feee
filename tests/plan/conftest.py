"""Fixtures: the tests of this folder share compiled programs."""

from collections.abc import Iterator

import pytest

from tests.trained_run import compile_cache, shared_folder


@pytest.fixture(autouse=True)
def _compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with compile_cache(shared_folder(tmp_path_factory)):
        yield
