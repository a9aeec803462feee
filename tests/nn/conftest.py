import pytest

from tests.nn.tiny import compiled_quickly


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with compiled_quickly():
        yield
