"""The run that the tests of this floor share."""

from collections.abc import Iterator

import pytest

from tests.run.lm_river import LmRun, lm_run
from tests.run.river import River, compile_cache, river, shared_folder


@pytest.fixture(scope="session", name="river")
def river_fixture(tmp_path_factory: pytest.TempPathFactory) -> River:
    """A corpus of tones and a run that has learnt it."""
    return river(tmp_path_factory)


@pytest.fixture(scope="session", name="lm_run")
def lm_run_fixture(tmp_path_factory: pytest.TempPathFactory) -> LmRun:
    """A corpus of lines and a language model that has learnt it."""
    return lm_run(tmp_path_factory)


@pytest.fixture(autouse=True)
def _compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with compile_cache(shared_folder(tmp_path_factory)):
        yield
