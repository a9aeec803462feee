"""What one execution of a compiled program reads and writes in a chip's main memory, and how many kernels it runs.

Every scheduled instruction reads its operands and writes its result, times the trips of the loops around it (XLA's own
`bytes accessed` takes a loop's body once). Of what is sliced only the slice counts, and of what is updated in place only the
update: that is what a scan does to its inputs and outputs. What XLA keeps in a TPU's vector memory costs nothing here, nor
does room that is only set aside: a buffer that nothing has been written to yet, the workspace of a library's product.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxasr.cost.hlo import Computation, Instruction, Program

_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"),
    *("while", "conditional", "call", "opt-barrier", "add-dependency", "iota", "get-dimension-size"),
}
_FREE_TARGETS = ("AllocateBuffer", "ConcatBitcast")  # custom calls that give memory a name
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_PASSED = ("bitcast", "reshape", "copy", "convert")


@dataclass(frozen=True)
class Traffic:
    """Of one execution, on one chip."""

    bytes: int  # read and written in main memory
    kernels: (
        int  # instructions that are run one by one; counters of loops don't count, a collective under way does once
    )
    loop_trips: int  # of all loops together: steps that have to wait for each other


def traffic_of(program: Program) -> Traffic:
    """Reads and writes of a program, its kernels, and the trips of its loops."""
    total = kernels = trips = 0
    for name in program.scheduled:
        times, computation = program.runs[name], program.computations[name]
        for each in computation.values():
            if each.opcode == "while":
                trips += times * program.trips(name, each)
            if _free(each):
                continue
            total += times * _moved(program, computation, each)
            arrays = any(made.dims for made in each.types)
            kernels += times * (arrays and not each.opcode.endswith("-done"))
    return Traffic(total, kernels, trips)


def _free(each: Instruction) -> bool:
    """Whether nothing runs."""
    target = _TARGET.search(each.attributes) if each.opcode == "custom-call" else None
    return each.opcode in _FREE or (target is not None and target[1] in _FREE_TARGETS)


def _moved(program: Program, computation: Computation, each: Instruction) -> int:
    """Bytes that an instruction reads and writes. What is begun reads, what is done writes."""
    operands = [computation[name] for name in each.operands if name in computation]
    if each.opcode.endswith("-done"):
        return _hbm_bytes(each)
    if each.opcode.endswith("-start"):
        return sum(map(_hbm_bytes, operands))
    if each.opcode in ("dynamic-slice", "gather", "slice"):
        return 2 * _hbm_bytes(each)
    if each.opcode == "dynamic-update-slice":
        return 2 * _hbm_bytes(operands[1])
    if each.opcode == "custom-call":
        return sum(map(_hbm_bytes, operands)) + _used_bytes(computation, each)
    if each.opcode != "fusion":
        return sum(map(_hbm_bytes, operands)) + _hbm_bytes(each)
    fused = program.computations[each.called()]
    reads = [_read(program, fused, place, operand) for place, operand in enumerate(operands)]
    return sum(reads) + _written(fused, each)


def _read(program: Program, fused: Computation, place: int, operand: Instruction) -> int:
    """Bytes that a fused computation reads of an operand: of slices, what they cut out."""
    parameter = next((x for x in fused.values() if x.opcode == "parameter" and x.inner.strip() == str(place)), None)
    if parameter is None or not _hbm_bytes(operand):
        return 0
    sizes = [_used(program, value, user) for value, user in _uses(fused, parameter)]
    return min(_hbm_bytes(operand), sum(sizes))


def _used(program: Program, value: Instruction, user: Instruction) -> int:
    """Bytes of `value` that a user within a fused computation needs."""
    if user.opcode in ("dynamic-slice", "gather", "slice") and user.operands[0] == value.name:
        return user.bytes
    if user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
        return 0
    if user.opcode == "fusion":
        place = user.operands.index(value.name)
        return _read(program, program.computations[user.called()], place, value)
    return value.bytes


def _uses(fused: Computation, value: Instruction) -> Iterable[tuple[Instruction, Instruction]]:
    """Who uses a value within a fused computation, under this name or, behind a bitcast, under another."""
    for each in fused.values():
        if value.name in each.operands:
            if each.opcode == "bitcast" and not each.is_root:
                yield from _uses(fused, each)
            else:
                yield value, each


def _written(fused: Computation, fusion: Instruction) -> int:
    """Bytes that a fusion writes: of an update in place, the update."""
    root = next(each for each in fused.values() if each.is_root)
    results = [fused[name] for name in root.operands] if root.opcode == "tuple" else [root]
    if len(results) != len(fusion.types):
        return _hbm_bytes(fusion)
    total = 0
    for result, kept in zip(results, fusion.types, strict=True):
        while result.opcode in _PASSED and result.operands and result.operands[0] in fused:
            result = fused[result.operands[0]]
        if kept.space == 0:
            update = fused.get(result.operands[1]) if result.opcode == "dynamic-update-slice" else None
            total += kept.bytes if update is None else update.bytes
    return total


def _used_bytes(computation: Computation, called: Instruction) -> int:
    """Bytes of a result in main memory, without the parts that nobody takes: a workspace."""
    users = [each for each in computation.values() if called.name in each.operands]
    places = {each.attributes.partition("index=")[2].partition(",")[0] for each in users}
    if len(called.types) == 1 or called.is_root or any(each.opcode != "get-tuple-element" for each in users):
        return _hbm_bytes(called)
    return sum(each.bytes for place, each in enumerate(called.types) if each.space == 0 and str(place) in places)


def _hbm_bytes(instruction: Instruction) -> int:
    """Bytes of a result that lie in main memory."""
    return sum(each.bytes for each in instruction.types if each.space == 0)
