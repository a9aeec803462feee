"""The communication volume of one execution of a compiled program: its collectives, by kind and by axis of the mesh.

`Collective.bytes` is the size of the complete tensor, counted once for a group of chips and independent of the algorithm:

    all-reduce            the tensor that is summed                 (data parallel: 4 bytes a parameter)
    all-gather            the tensor that every chip receives       (fsdp: the parameters, at each use)
    reduce-scatter        the tensor that is summed and split       (fsdp: the gradients)
    all-to-all, collective-permute: the data that a chip sends

`Collective.wire_bytes` is the number of bytes that one chip sends in a ring: 2 (g - 1) / g of an all-reduce over g chips,
(g - 1) / g of the next three, all of a permute.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxasr.cost.hlo import Instruction, Program

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute", "collective-broadcast")
_FUSED_SCATTER = "all-reduce-scatter"  # name of a TPU's computation: an all-reduce of which a chip keeps its own slice


@dataclass(frozen=True)
class Collective:
    """A collective instruction of a compiled program."""

    kind: str  # of KINDS
    axes: tuple[str, ...]  # axes of the mesh that a group spans
    group: int  # chips in a group
    bytes: int  # of the complete tensor (see the module's docstring)
    times: int  # runs in one execution: the trips of the loops around it
    nodes: int = 1  # nodes that a group spans

    @property
    def wire_bytes(self) -> float:
        """The bytes that a chip sends in one run, as a ring."""
        if self.kind in ("collective-permute", "collective-broadcast"):
            return float(self.bytes)
        return (2 if self.kind == "all-reduce" else 1) * (self.group - 1) / self.group * self.bytes


def collectives_of(program: Program, mesh: Mapping[str, int], nodes: Sequence[int] = ()) -> tuple[Collective, ...]:
    """Returns the collectives of a program, without those of a single chip.

    Args:
        program: the compiled program.
        mesh: axes and their sizes; devices are numbered in row-major order, as in a jax.sharding.Mesh.
        nodes: for each device the number of its node; empty: there is one node.
    """
    found: list[Collective] = []
    for name, times in program.runs.items():
        computation = program.computations[name]
        starts = any(instruction.begins_stages for instruction in computation.values())
        for instruction in computation.values():
            kind = instruction.opcode.removesuffix("-start")
            if kind not in KINDS or (instruction.is_stage and not starts):
                continue
            if kind == "all-reduce" and name.startswith(_FUSED_SCATTER):
                kind = "reduce-scatter"
            members = _members(instruction, math.prod(mesh.values()))
            if len(members) < 2:
                continue
            size = _operand_bytes(instruction, [computation[operand].bytes for operand in instruction.operands])
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


def _operand_bytes(instruction: Instruction, operands: Sequence[int]) -> int:
    """Returns the bytes of the operands. For an all-reduce a wider result counts: a TPU may widen bfloat16 to float32."""
    if instruction.opcode != "all-reduce" or len(instruction.types) != len(operands):
        return sum(operands)
    return sum(max(operand, result.bytes) for operand, result in zip(operands, instruction.types, strict=True))


def _members(instruction: Instruction, devices: int) -> list[int]:
    """Returns the devices of the first group with two or more; for a permute the first pair of different devices."""
    groups = instruction.groups(devices)
    return next((group for group in groups if len(set(group)) > 1), [])


def _axes(members: Sequence[int], mesh: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the axes along which the members differ."""
    coordinates = np.unravel_index(np.array(members), tuple(mesh.values()))
    return tuple(name for name, along in zip(mesh, coordinates, strict=True) if len(set(along.tolist())) > 1)
