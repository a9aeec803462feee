"""The groups of devices of a collective, parsed from the text of a compiled program (cost/hlo.py)."""

import math
import re

import numpy as np

_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\[[^)]*?\](?:T\([\d,]*\))?)\))? \{([^}]*)\}")
_IOTA = re.compile(r"replica_groups=(\[[\d,]+\])<=(\[[\d,]+\](?:T\([\d,]*\))?)")
_LISTED = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")


def replica_groups(attributes: str, devices: int) -> list[list[int]]:
    """Returns the groups of devices in the attributes of a collective, in any of XLA's four notations.

    Args:
        attributes: the text of the attributes.
        devices: number of all devices; they form one group where the list of groups is empty.

    Raises:
        ValueError: the attributes have none of the notations.
    """
    if found := _MESH.search(attributes):
        return _mesh_groups(*found.groups())
    if found := _IOTA.search(attributes):
        return _iota(found[2]).reshape(_numbers(found[1])).tolist()
    if found := _LISTED.search(attributes) or _PAIRS.search(attributes):
        listed = [_numbers(group) for group in re.findall(r"\{([\d,]*)\}", found[1])]
        return listed or [list(range(devices))]
    raise ValueError(f"no groups of devices in {attributes[:200]!r}")


def _mesh_groups(sizes: str, ids: str | None, over: str) -> list[list[int]]:
    """Parses mesh['x'=4,'y'=2], device_ids=([2,4]T(1,0)) {'y'}.

    A group may span a part of an axis: 'x':(2)2 is the part of size 2 after a part of size 2.
    """
    axes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", sizes)}
    dims: list[int] = []
    chosen: list[int] = []
    parts = {name: (before, size) for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", over)}
    for name, whole in axes.items():
        before, size = parts.get(name, ("", ""))
        split = [int(before), int(size), whole // int(before) // int(size)] if size else [1, whole, 1]
        if name in parts:
            chosen.append(len(dims) + 1)
        dims += split
    devices = (_iota(ids) if ids else np.arange(math.prod(axes.values()))).reshape(dims)
    behind = np.moveaxis(devices, chosen, range(-len(chosen), 0))
    return behind.reshape(-1, math.prod(dims[axis] for axis in chosen)).tolist()


def _iota(text: str) -> np.ndarray:
    """Parses a list of devices such as [4,2]T(1,0): the numbers 0 to 7 as a 4 x 2 array, transposed."""
    dims, _, order = text.partition("T")
    numbers = np.arange(math.prod(_numbers(dims))).reshape(_numbers(dims))
    return numbers.transpose(_numbers(order)) if order else numbers


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
