"""The public interface: every name is there, typed, and imported when it is used."""

import inspect
import subprocess
import sys

import pytest

import jaxasr
from tests.processes import PROCESS_S

FUNCTIONS = ("load", "train", "evaluate", "transcribe", "compare")


def test_every_name_is_there():
    assert [name for name in jaxasr.__all__ if getattr(jaxasr, name, None) is None] == []
    assert dir(jaxasr) == sorted(jaxasr.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_typed_and_have_no_open_keywords(name):
    signature = inspect.signature(getattr(jaxasr, name))
    assert callable(getattr(jaxasr, name))
    assert signature.return_annotation is not signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, parameter
        assert parameter.kind is not parameter.VAR_KEYWORD, parameter


@pytest.mark.parametrize("name", ["train", "evaluate", "transcribe"])
def test_a_workdir_is_a_path_everywhere(name):
    parameters = inspect.signature(getattr(jaxasr, name)).parameters
    assert list(parameters)[:2] == ["experiment", "workdir"]
    assert "str" in str(parameters["workdir"].annotation)
    assert "Path" in str(parameters["workdir"].annotation)


def test_a_wrong_name_is_answered_with_those_that_are_there():
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; it has Experiment, .*train, training"):
        _ = jaxasr.trian  # pyright: ignore[reportAttributeAccessIssue]


def test_the_import_does_not_wait_for_jax():
    code = "import sys, jaxasr; jaxasr.__version__; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_S, check=True)
    assert done.stdout.strip() == "False"
