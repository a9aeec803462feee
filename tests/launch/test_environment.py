"""launch/environment.sh with a Python that only writes down its calls: what is made, kept, made again, or refused."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/usr/bin/env bash
case "$*" in
    *sys.exit*) ;;
    *"sys; print"*) echo "$RELEASE" ;;
    --version) echo "Python $RELEASE.1" ;;
    "-m venv"*)
        echo "$*" >> "$CALLS"
        for venv; do :; done
        mkdir -p "$venv/bin"
        touch "$venv/pyvenv.cfg"
        sed "s/[$]RELEASE/$RELEASE/" "$0" > "$venv/bin/python"
        chmod +x "$venv/bin/python"
        [ -n "${NO_PIP:-}" ] && exit 1 || touch "$venv/bin/pip" ;;
    "-m pip --version") [ -e "$(dirname "$0")/pip" ] ;;
    "-m pip install"*) echo "install" >> "$CALLS" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what environment.sh reads."""
    (tmp_path / "launch").mkdir()
    for name in ("pyproject.toml", "launch/constraints.txt", "launch/environment.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def sourced(project: Path, release: str = "3.12", **variables: str) -> tuple[int, str, list[str]]:
    """Returns the status, stderr, and the calls that make something."""
    calls = project / "calls"
    calls.write_text("")
    own = {"PYTHON": str(project / "python"), "RELEASE": release, "CALLS": str(calls), **variables}
    ran = subprocess.run(
        ["bash", "-c", "set -euo pipefail; source launch/environment.sh dev"],
        cwd=project,
        env={name: value for name, value in os.environ.items() if not name.startswith("JAXASR_")} | own,
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
    )
    return ran.returncode, ran.stderr, calls.read_text().splitlines()


def test_it_is_made_once(project: Path):
    assert sourced(project) == (0, "", ["-m venv .venv", "install"])
    assert sourced(project) == (0, "", [])


def test_another_release_of_python_is_refused(project: Path):
    """The interpreter in the folder would stay the old one."""
    assert sourced(project)[0] == 0
    status, err, calls = sourced(project, "3.13")
    assert (status, calls) == (1, [])
    assert f".venv has Python 3.12; {project}/python is Python 3.13.1: remove .venv, or set JAXASR_VENV" in err
    assert sourced(project, "3.13", JAXASR_VENV="other") == (0, "", ["-m venv other", "install"])


def test_one_whose_python_is_gone_is_made_again(project: Path):
    assert sourced(project)[0] == 0
    (project / ".venv" / "bin" / "python").unlink()
    assert sourced(project, "3.13") == (0, "", ["-m venv --clear .venv", "install"])


def test_a_folder_that_is_no_environment_is_not_cleared(project: Path):
    (project / ".venv").mkdir()
    assert sourced(project) == (0, "", ["-m venv .venv", "install"])


def test_one_left_without_pip_is_finished(project: Path):
    """As on Debian before python3-venv is installed: the first attempt fails, the second must not find it whole."""
    assert sourced(project, NO_PIP="1") == (1, "", ["-m venv .venv"])
    assert sourced(project) == (0, "", ["-m venv .venv", "install"])
