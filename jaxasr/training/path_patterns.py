"""Patterns that choose parameters by their paths: names of modules, as in "encoder/block_0/attention/output/kernel"."""

import re
from collections.abc import Sequence
from typing import Any

import jax

_SHOWN = 8  # paths in a message


def check_patterns(owner: str, patterns: Sequence[str]) -> None:
    """Checks that patterns are regular expressions.

    Args:
        owner: the name of the class that has them, for the message.
        patterns: what `re.search` takes.

    Raises:
        ValueError: one is not.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{owner} has the pattern {pattern!r}, which is no regular expression: {error}") from error


def first_matches(owner: str, patterns: Sequence[str], params: Any) -> Any:
    """Returns the index of the first pattern that finds the path of each parameter, in a tree of the same structure.

    It is -1 for a parameter that no pattern finds.

    Raises:
        ValueError: a pattern finds no parameter.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    unused = [pattern for pattern in patterns if not any(re.search(pattern, path) for path in paths)]
    if unused:
        raise ValueError(
            f"{owner} has the patterns {unused}, which find no parameter; there are {', '.join(paths[:_SHOWN])} and "
            f"{max(0, len(paths) - _SHOWN)} more"
        )
    found = [next((i for i, pattern in enumerate(patterns) if re.search(pattern, path)), -1) for path in paths]
    return jax.tree_util.tree_unflatten(structure, found)
