"""The tiny trained run as a served model, warm. Without the optional extra there are no tests of the server."""

import importlib.util

import pytest

from tests.trained_run import TINY

if importlib.util.find_spec("starlette") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def model(trained_run):
    """The run with CTC times and the attention of its speller, all its programs compiled."""
    from jaxasr.serving import load_model

    model = load_model(f"tones={TINY}@{trained_run.workdir}")
    assert model.warm_up() > 0.0
    return model
