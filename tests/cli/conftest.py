"""Fixtures of the tests of the command line: copies of a tiny trained run, and a function that runs a failing command."""

import shutil

import pytest

from jaxasr.__main__ import main


@pytest.fixture
def run(trained_run, tmp_path):
    """Copies the folder of the run, so that a test can write in it."""
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


@pytest.fixture
def data_dir(trained_run, tmp_path):
    """Copies the prepared corpus, so that a test can damage it."""
    return shutil.copytree(trained_run.data_dir, tmp_path / "data")


@pytest.fixture
def refused(capsys):
    """Returns a function that runs a command which fails, and returns its error message."""

    def refused(arguments) -> str:
        capsys.readouterr()
        assert main(list(map(str, arguments))) == 1
        before, name, message = capsys.readouterr().err.rpartition(f"jaxasr {arguments[0]}: ")
        assert name
        assert not before or before.endswith("\n")  # lines of progress
        assert "Traceback" not in before + message
        return message

    return refused
