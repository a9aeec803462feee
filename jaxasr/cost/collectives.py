"""What the chips say to each other in one execution of a compiled program: how many bytes, by kind and by axis of the mesh.

Bytes are counted as theory counts them, by the whole tensor and once for a group of chips, whatever algorithm moves them:

    all-reduce            the tensor that is summed                 (data parallel: 4 bytes a parameter)
    all-gather            the tensor that every chip ends up with   (fsdp: the parameters, at each use)
    reduce-scatter        the tensor that is summed and shared out  (fsdp: the gradients)
    all-to-all, collective-permute: what a chip gives away

`Collective.wire_bytes` is what one chip sends when that runs as a ring: 2 (g - 1) / g of an all-reduce over g chips,
(g - 1) / g of the next three, all of a permute.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxasr.cost.hlo import Instruction, Program

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute", "collective-broadcast")
_FUSED_SCATTER = "all-reduce-scatter"  # a TPU's computation: an all-reduce of which a chip keeps its own slice
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((\[[^)]*?\](?:T\([\d,]*\))?)\))? \{([^}]*)\}")
_IOTA = re.compile(r"replica_groups=(\[[\d,]+\])<=(\[[\d,]+\](?:T\([\d,]*\))?)")
_LISTED = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
# A TPU prints a collective that is under way beside other work at every stage: it counts where it begins.
_STAGE, _BEGUN = '"async_collective_fusion_config"', '"AsyncCollectiveStart"'


@dataclass(frozen=True)
class Collective:
    """One instruction that chips carry out together."""

    kind: str  # of KINDS
    axes: tuple[str, ...]  # of the mesh, that its groups spread over
    group: int  # chips in a group
    bytes: int  # of the whole tensor, see above
    times: int  # in one execution: the trips of the loops around it
    nodes: int = 1  # that a group spreads over

    @property
    def wire_bytes(self) -> float:
        """What a chip sends each time, by a ring."""
        if self.kind in ("collective-permute", "collective-broadcast"):
            return float(self.bytes)
        return (2 if self.kind == "all-reduce" else 1) * (self.group - 1) / self.group * self.bytes


def collectives_of(program: Program, mesh: Mapping[str, int], nodes: Sequence[int] = ()) -> tuple[Collective, ...]:
    """The collectives of a program, those of one chip alone left out.

    Args:
        mesh: axes and their sizes; devices count row by row, as those of a jax.sharding.Mesh do.
        nodes: by device, the node that it is in; empty: all are in one.
    """
    found: list[Collective] = []
    for name, times in program.runs.items():
        computation = program.computations[name]
        begins = any(_BEGUN in each.attributes for each in computation.values())
        for each in computation.values():
            kind = each.opcode.removesuffix("-start")
            if kind not in KINDS or (_STAGE in each.attributes and not begins):
                continue
            if kind == "all-reduce" and name.startswith(_FUSED_SCATTER):
                kind = "reduce-scatter"
            members = _members(each, math.prod(mesh.values()))
            if len(members) < 2:
                continue
            size = _size(each, [computation[operand].bytes for operand in each.operands])
            found.append(
                Collective(
                    kind=kind,
                    axes=_axes(members, mesh),
                    group=len(members),
                    bytes=size * len(members) if kind == "all-gather" else size,
                    times=times,
                    nodes=len({nodes[member] for member in members}) if nodes else 1,
                )
            )
    return tuple(found)


def total_bytes(collectives: Sequence[Collective]) -> dict[tuple[str, str], int]:
    """The bytes of one execution by kind and axes ("data", "data+fsdp"), most first."""
    totals: dict[tuple[str, str], int] = {}
    for each in collectives:
        key = each.kind, "+".join(each.axes)
        totals[key] = totals.get(key, 0) + each.bytes * each.times
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _size(each: Instruction, operands: Sequence[int]) -> int:
    """The bytes that go in; of a sum, what is summed: a TPU may widen bfloat16 to float32 on the way."""
    if each.opcode != "all-reduce" or len(each.types) != len(operands):
        return sum(operands)
    return sum(max(into, out.bytes) for into, out in zip(operands, each.types, strict=True))


def _members(instruction: Instruction, devices: int) -> list[int]:
    """The devices of the first group with more than one; of a permute, the first pair that differs."""
    groups = replica_groups(instruction.attributes, devices)
    return next((group for group in groups if len(set(group)) > 1), [])


def replica_groups(attributes: str, devices: int) -> list[list[int]]:
    """The groups of devices that the attributes of a collective name, in any of XLA's four notations.

    Raises:
        ValueError: none of them is there.
    """
    if found := _MESH.search(attributes):
        return _mesh_groups(*found.groups())
    if found := _IOTA.search(attributes):
        return _iota(found[2]).reshape(_numbers(found[1])).tolist()
    if found := _LISTED.search(attributes) or _PAIRS.search(attributes):
        listed = [_numbers(each) for each in re.findall(r"\{([\d,]*)\}", found[1])]
        return listed or [list(range(devices))]
    raise ValueError(f"no groups of devices in {attributes[:200]!r}")


def _mesh_groups(sizes: str, ids: str | None, over: str) -> list[list[int]]:
    """mesh['x'=4,'y'=2], device_ids=([2,4]T(1,0)) {'y'}; an axis may be there in part: 'x':(2)2, behind two, two of it."""
    axes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", sizes)}
    dims, chosen = [], []
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
    """[4,2]T(1,0): the first eight numbers in 4 x 2, transposed."""
    dims, _, order = text.partition("T")
    numbers = np.arange(math.prod(_numbers(dims))).reshape(_numbers(dims))
    return numbers.transpose(_numbers(order)) if order else numbers


def _numbers(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", text)]


def _axes(members: Sequence[int], mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes along which the members differ."""
    places = np.unravel_index(np.array(members), tuple(mesh.values()))
    return tuple(name for name, place in zip(mesh, places, strict=True) if len(set(place.tolist())) > 1)
