"""The versions of the packages that influence a run, and those that were tested."""

import importlib.metadata
import platform
import re
from collections.abc import Mapping

# The lowest and highest versions with which both commands of the README pass: those of launch/constraints.txt, the upper
# bounds of pyproject.toml (tests/report/test_versions.py compares them).
TESTED: Mapping[str, tuple[str, str]] = {
    "python": ("3.11", "3.13"),
    "jax": ("0.10.2", "0.12.0.1"),
    "jaxlib": ("0.10.2", "0.12.0.1"),
    "flax": ("0.12.8", "0.12.12"),
    "orbax-checkpoint": ("0.12.8", "0.12.8"),
    "grain": ("0.2.18", "0.2.18"),
}
SHOWN = ("python", "jax", "jaxlib", "flax")  # in a run's first lines
UNKNOWN = "unknown"


def version(package: str) -> str:
    """Returns the version of an installed package, or of Python; "unknown" for a package that is not installed."""
    if package == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN


def version_lines() -> list[str]:
    """Returns a line with the versions of this process, and a warning for each version outside the tested range."""
    versions = ", ".join(f"{package} {version(package)}" for package in SHOWN)
    return [versions[0].upper() + versions[1:], *untested()]


def untested() -> list[str]:
    """Returns a warning for each version that is older than the oldest tested one, or newer than the newest."""
    lines = []
    for package, (low, high) in TESTED.items():
        found = version(package)
        if found != UNKNOWN and not (_numbers(low) <= _cut(found, low) and _cut(found, high) <= _numbers(high)):
            lines.append(
                f"WARNING: {package} {found} was not tested; {low}{f' to {high}' * (low != high)} was. If something goes "
                "wrong, try the versions of launch/constraints.txt first"
            )
    return lines


def _cut(found: str, bound: str) -> tuple[int, ...]:
    """Returns the version to as many places as the bound has: 3.13.5 is within 3.13."""
    return _numbers(found)[: len(_numbers(bound))]


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
