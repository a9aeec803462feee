"""Sharding rules: a table that places the arrays of the state on the mesh. Models have no code for meshes.

A rule is a regular expression for paths of leaves, such as "decoder/readout/kernel$", and an axis (or None) for each
dimension. A parameter, its average and its optimizer state have paths with the same end, so one rule places all of them.
An array without a rule is split over fsdp along the longest dimension that fsdp divides.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxasr.scale.layout import AXES, FSDP, TENSOR

Axes = tuple[str | None, ...]
Rule = tuple[str, Axes]  # a pattern that re.search finds in the path, an axis for each dimension

# Column after row (Megatron-LM, Shoeybi 2019, section 3): one all-reduce for each pair of products.
TENSOR_RULES: tuple[Rule, ...] = (
    (r"/widen/kernel$", (None, TENSOR)),
    (r"/widen/bias$", (TENSOR,)),
    (r"/narrow/kernel$", (TENSOR, None)),
    (r"/readout/kernel$", (None, TENSOR)),
)


@dataclass(frozen=True)
class Rules:
    """A table of sharding rules. They take precedence over TENSOR_RULES."""

    table: tuple[Rule, ...] = ()
    split_from: int = 2**14  # elements; a smaller array is not split over fsdp

    def __post_init__(self):
        for pattern, axes in self.table:
            unknown = [axis for axis in axes if axis is not None and axis not in AXES]
            named = [axis for axis in axes if axis is not None]
            if unknown or len(set(named)) < len(named):
                raise ValueError(
                    f"the rule ({pattern!r}, {axes}) names {', '.join(unknown) or 'an axis twice'}; a dimension has one of "
                    f"{', '.join(AXES)}, or None, and each of them once at most"
                )

    def shardings(self, tree: Any, mesh: Mesh) -> Any:
        """Returns the sharding of each leaf of a state, or of a tree of its shapes.

        Raises:
            ValueError: two rules of the table place a leaf differently (both are named), or one does not fit a leaf.
        """
        sizes = dict(mesh.shape)

        def place(path: Any, leaf: Any) -> NamedSharding:
            name = _name(path)
            shape = np.shape(leaf)
            axes = self._table_axes(name, shape, sizes)
            return NamedSharding(mesh, PartitionSpec(*(self._built_in(name, shape, sizes) if axes is None else axes)))

        return jax.tree_util.tree_map_with_path(place, tree)

    def check_all_rules_used(self, state: Any) -> None:
        """Raises ValueError if a rule of the table matches no leaf of the state. The message names the nearest paths."""
        names = [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
        for pattern, _ in self.table:
            if not any(re.search(pattern, name) for name in names):
                near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
                raise ValueError(f"no leaf of the state has a path like {pattern!r}; there are {', '.join(near)} ...")

    def _table_axes(self, name: str, shape: Sequence[int], sizes: dict[str, int]) -> Axes | None:
        """Returns the axes that the table gives a leaf, or None if no rule matches.

        Rules do not apply to optimizer states with another number of dimensions than the parameter.
        """
        matching = [(pattern, axes) for pattern, axes in self.table if re.search(pattern, name)]
        if len({axes for _, axes in matching}) > 1:
            listed = " and ".join(f"({pattern!r}, {axes})" for pattern, axes in matching)
            raise ValueError(
                f"{name} is placed by {listed}; a leaf may be placed in one way: narrow one of the patterns"
            )
        if not matching or (len(matching[0][1]) != len(shape) and "optimizer" in name):
            return None
        pattern, axes = matching[0]
        if len(axes) != len(shape) or any(axis and shape[i] % sizes[axis] for i, axis in enumerate(axes)):
            raise ValueError(
                f"the rule ({pattern!r}, {axes}) does not fit {name}, of shape {tuple(shape)}, on the mesh {sizes}: an axis "
                "or None for each dimension is needed, and a dimension that its axis divides"
            )
        return axes

    def _built_in(self, name: str, shape: Sequence[int], sizes: dict[str, int]) -> Axes:
        """Returns the axes of TENSOR_RULES that fit, with fsdp added. An array may have more dimensions (stacked layers)."""
        rule = next((axes for pattern, axes in TENSOR_RULES if re.search(pattern, name)), ())
        ahead = len(shape) - len(rule)
        wanted = (None,) * ahead + rule if ahead >= 0 else (None,) * len(shape)
        axes = tuple(
            axis if axis and sizes[axis] > 1 and size % sizes[axis] == 0 else None
            for axis, size in zip(wanted, shape, strict=True)
        )
        free = [i for i, axis in enumerate(axes) if axis is None and shape[i] % sizes[FSDP] == 0]
        if sizes[FSDP] == 1 or not free or int(np.prod(shape)) < self.split_from:
            return axes
        longest = max(free, key=lambda i: shape[i])
        return tuple(FSDP if i == longest else axis for i, axis in enumerate(axes))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def keep_axes(axes: Sequence[str], spec: PartitionSpec) -> PartitionSpec:
    """Returns the spec without the axes that are not in `axes`."""
    return PartitionSpec(*(axis if axis in axes else None for axis in spec))
