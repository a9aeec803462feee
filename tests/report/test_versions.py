"""The versions that were tested: said once, and the same in all files that depend on them."""

import re
import tomllib
from pathlib import Path

import pytest

from jaxasr import report
from jaxasr.report import versions

ROOT = Path(__file__).parents[2]
BOUNDED = ("jax", "flax", "orbax-checkpoint", "grain")


def test_the_constraints_are_the_tested_versions():
    lines = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)(?:; .*)?", line) for line in lines if not line.startswith("#")]
    pinned: dict[str, list[str]] = {}
    for pin in pins:
        assert pin is not None
        pinned.setdefault(pin[1], []).append(pin[2])
    for package, (low, high) in versions.TESTED.items():
        if package != "python":
            assert pinned[package] in ([low, high], [low]), package
            assert pinned[package][-1] == high, package


def test_the_bounds_of_the_project_are_the_tested_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {re.split(r"[<>=]", each)[0]: each for each in project["dependencies"]}
    for package in BOUNDED:
        low, high = versions.TESTED[package]
        assert bounds[package].endswith(f"<={high}"), package
        floor = re.search(r">=([\d.]+)", bounds[package])
        assert floor is not None
        assert versions._numbers(floor[1]) <= versions._numbers(low), package
    low, high = (tuple(map(int, each.split("."))) for each in versions.TESTED["python"])
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1] + 1}"
    assert f"not {low} <= sys.version_info[:2] <= {high}" in (ROOT / "launch" / "environment.sh").read_text()


def test_the_header_of_the_constraints_names_what_was_tested():
    lines = (ROOT / "launch" / "constraints.txt").read_text().splitlines()
    header = " ".join(line for line in lines if line.startswith("#"))
    for package in ("python", "jax"):
        assert all(f"{package} {each}" in header.lower() for each in versions.TESTED[package])


def test_this_environment_was_tested():
    assert versions.untested() == []
    (line,) = report.version_lines()
    assert re.fullmatch(r"Python 3\.\d+\.\S+, jax [\d.]+, jaxlib [\d.]+, flax [\d.]+", line)


@pytest.mark.parametrize(
    ("package", "found", "told"),
    [
        ("jax", "0.12.0.1", ""),
        ("jax", "0.11.3", ""),
        ("jax", "0.12.1", "WARNING: jax 0.12.1 was not tested; 0.10.2 to 0.12.0.1 was. If"),
        ("jax", "0.13.0.dev20270101", "WARNING: jax 0.13.0.dev20270101 was not tested"),
        ("jax", "0.9.2", "WARNING: jax 0.9.2 was not tested"),
        ("python", "3.13.11", ""),
        ("python", "3.14.0rc1", "WARNING: python 3.14.0rc1 was not tested; 3.11 to 3.13 was"),
        ("grain", "0.2.19", "WARNING: grain 0.2.19 was not tested; 0.2.18 was. If"),
        ("flax", "unknown", ""),
    ],
)
def test_what_is_outside_is_named(monkeypatch, package, found, told):
    known = versions.version
    monkeypatch.setattr(versions, "version", lambda name: found if name == package else known(name))
    lines = report.version_lines()
    assert f"{package} {found}" in lines[0].lower() or package == "grain"
    assert [line for line in lines[1:] if not told or not line.startswith(told)] == []
    assert len(lines) == 1 + bool(told)


def test_what_is_not_installed_is_unknown():
    assert versions.version("no-such-package-of-ours") == "unknown"
