"""launch/constraints.txt: a version of everything that pyproject.toml names, extras included, for every Python."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [line for line in (ROOT / "launch/constraints.txt").read_text().splitlines() if not line.startswith("#")]
NAMED = {"core": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def pins(release: str) -> dict[str, str]:
    """Returns the version of each package for a release of Python such as "3.13"."""
    found = [Requirement(line) for line in LINES]
    own = [pin for pin in found if pin.marker is None or pin.marker.evaluate({"python_version": release})]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in own}
    assert len(versions) == len(own), "a package has two versions"
    return versions


@pytest.mark.parametrize("release", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("extra", NAMED)
def test_what_the_project_names_has_a_version_that_fits(extra: str, release: str):
    """A package without one is installed in whatever version is the newest of the day."""
    versions = pins(release)
    for needed in map(Requirement, NAMED[extra]):
        version = versions.get(canonicalize_name(needed.name))
        assert version is not None, f"{needed.name} of {extra} has no line"
        assert needed.specifier.contains(version), f"{needed} and {version}"


def test_lines_name_one_version_each_and_are_in_order():
    assert all(len(Requirement(line).specifier) == 1 and "==" in line for line in LINES)
    names = [canonicalize_name(Requirement(line).name) for line in LINES]
    assert names == sorted(names)
