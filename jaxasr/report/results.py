"""Rows of results: one JSON object a line, appended by runs, read by tables.

A row carries what is needed to know which code, data and settings made it; `provenance` gives the part that is the
same for every row of a process.
"""

import fcntl
import functools
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr.report.versions import version

SPEED = ("audio_s_per_s", "device_hours")  # the values of a row that differ between equal runs
_INT_BITS = 63
NO_KINDS: Mapping[str, type | tuple[type, ...]] = {}
SOURCES = "jaxasr_sources"  # the entry of the hash of jaxasr's own files
COMMIT = "JAXASR_COMMIT"  # the environment variable of the commit of files that came without their repository
_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = ("python", "jaxasr", "jax", "jaxlib", "flax", "optax", "numpy")


def append(path: Path, row: Mapping[str, Any], *, unless_there: bool = False) -> None:
    """Adds a row, whole and on the disk when this returns; runs that append at the same time wait for one another.

    Args:
        path: made, with its folders, if it isn't there.
        row: what JSON can hold; NumPy scalars become plain numbers.
        unless_there: True: nothing is added if the file has a row that differs in SPEED alone, such as the one that was
            added just before the process was killed.

    Raises:
        ValueError: something JSON can't hold, NaN and infinity included (None says that there is no number).
    """
    try:
        text = json.dumps(dict(row), default=_plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"this row can't be written to {path}: {error}; it is {dict(row)!r}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if unless_there and _content(json.loads(text)) in map(_content, read(path)):
            return
        file.write(_line_end_missing(file) + text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, kinds: Mapping[str, type | tuple[type, ...]] = NO_KINDS) -> list[dict[str, Any]]:
    """Returns the rows in the order of the file. A line that isn't a whole row (a machine died) is warned of and left out.

    Args:
        kinds: types of entries by name. An entry that a row lacks has no type.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry of another type; the message has the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}: a run that was evaluated appends them")
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:  # cut in the middle of a character, too
            row = None
        if isinstance(row, dict):
            _check_kinds(f"{path}, line {number}", row, kinds)
            rows.append(row)
        else:
            warnings.warn(f"{path}, line {number} isn't a whole row and is left out: {line[:60]!r}", stacklevel=2)
    return rows


def _check_kinds(where: str, row: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    for name in kinds.keys() & row.keys():
        kind = kinds[name]
        fits = isinstance(row[name], kind) and (kind is bool or not isinstance(row[name], bool))
        if not fits or _is_no_number(row[name]):
            wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise ValueError(
                f"{where} is damaged: {name!r} is {str(row[name])[:60]!r}, {wanted} is needed. Mend the line or remove it"
            )


def _is_no_number(value: object) -> bool:
    """Returns True for an integer of too many bits, NaN and infinity, which `append` does not write."""
    if isinstance(value, int):
        return value.bit_length() > _INT_BITS
    return isinstance(value, float) and not math.isfinite(value)


def provenance(folder: Path) -> dict[str, Any]:
    """Returns commit and versions for a row of results.

    Args:
        folder: in the checkout whose commit is meant: that of the experiment's file.

    Returns:
        `commit` (40 hex digits, or "unknown" outside of a git checkout), `dirty` (whether a tracked file other than a
        results.jsonl differs from it; None if unknown), `platform`, and the versions of `python` and of the packages
        that decide about numbers ("unknown" of one that is not installed). JAXASR_COMMIT stands for the commit of
        jaxasr's own project where its files are in no repository, as in a container image.

    Raises:
        ValueError: JAXASR_COMMIT is needed and is no commit.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "-uno", "--", ":/", ":(top,exclude,glob)**/results.jsonl")
    dirty = None if commit is None or changed is None else bool(changed)
    if commit is None and folder.resolve().is_relative_to(_PROJECT):
        commit, dirty = _stated_commit()
    return {
        "commit": commit or "unknown",
        "dirty": dirty,
        "platform": platform.platform(),
        **{package: version(package) for package in _PACKAGES},
        **package_provenance(),
    }


@functools.cache
def package_provenance() -> Mapping[str, Any]:
    """Returns the provenance of jaxasr itself, as it is when this is first called in the process.

    Returns:
        `jaxasr_commit` and `jaxasr_dirty` of its checkout (if its files are in no repository, those of JAXASR_COMMIT; without
        it, as after an installation from a wheel, "installed" and None), and `jaxasr_sources`: 12 hex digits of the hash of
        its Python files.

    Raises:
        ValueError: JAXASR_COMMIT is needed and is no commit.
    """
    folder = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py") is not None  # not a folder that git ignores
    commit = _git(folder, "rev-parse", "HEAD") if tracked else None
    changed = _git(folder, "status", "--porcelain", "--", ".") if commit else None
    dirty = None if changed is None else bool(changed)
    if commit is None:
        commit, dirty = _stated_commit()
    return {
        "jaxasr_commit": commit or "installed",
        "jaxasr_dirty": dirty,
        SOURCES: digest.hexdigest()[:12],
    }


def _stated_commit() -> tuple[str | None, bool | None]:
    """Returns commit and dirtiness of JAXASR_COMMIT; None and None without it."""
    stated = os.environ.get(COMMIT, "")
    if not stated:
        return None, None
    found = re.fullmatch(r"([0-9a-f]{40})(-dirty)?", stated)
    if not found:
        raise ValueError(
            f"{COMMIT}={stated[:80]}; it is a commit of 40 hex digits, with -dirty for changes that are not committed: "
            "git describe --always --abbrev=40 --dirty --exclude='*'"
        )
    return found[1], found[2] is not None


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in SPEED}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _line_end_missing(file: Any) -> bytes:
    """Returns a line end if the last line has none: what a machine left that died while writing."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return b""
    file.seek(end - 1)
    return b"" if file.read(1) == b"\n" else b"\n"


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of git; None if there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
