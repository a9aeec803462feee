"""Parameters that are not trained, chosen by their paths."""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Freeze:
    """A choice of parameters that keep their values in training: those whose path a pattern finds (`re.search`).

    A path has the names of the modules, as in "encoder/block_0/attention/output/kernel". Frozen parameters have no gradient,
    so they count neither in its norm nor in clipping, and weight decay does not change them. Nothing is computed for the
    gradients of layers below which all is frozen.

    Raises:
        ValueError: a pattern is no regular expression.
    """

    patterns: tuple[str, ...] = ()  # such as ("^encoder/",); none: all parameters are trained

    def __post_init__(self):
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"Freeze has the pattern {pattern!r}, which is no regular expression: {error}"
                ) from error

    def mask(self, params: Any) -> Any:
        """Returns True for each frozen parameter, in a tree of the same structure.

        Raises:
            ValueError: a pattern finds no parameter, or nothing is left to train.
        """
        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
        unused = [pattern for pattern in self.patterns if not any(re.search(pattern, path) for path in paths)]
        if unused:
            raise ValueError(
                f"Freeze has the patterns {unused}, which find no parameter; there are {', '.join(paths[:8])} and "
                f"{max(0, len(paths) - 8)} more"
            )
        frozen = [any(re.search(pattern, path) for pattern in self.patterns) for path in paths]
        if all(frozen):
            raise ValueError(f"Freeze has the patterns {list(self.patterns)}, which freeze all {len(paths)} parameters")
        return jax.tree_util.tree_unflatten(structure, frozen)

    def without_gradients(self, params: Any) -> Any:
        """Returns the parameters, of which the frozen ones have the gradient zero."""
        if not self.patterns:
            return params
        return jax.tree.map(
            lambda frozen, leaf: jax.lax.stop_gradient(leaf) if frozen else leaf, self.mask(params), params
        )

    def without_updates(self, updates: Any) -> Any:
        """Returns the updates of an optimizer, zero for the frozen parameters."""
        if not self.patterns:
            return updates
        return jax.tree.map(lambda frozen, leaf: jnp.zeros_like(leaf) if frozen else leaf, self.mask(updates), updates)
