"""The main memory traffic of one execution of a compiled program on a chip, and the number of its kernels.

Every scheduled instruction reads its operands and writes its result, times the trips of the loops around it (XLA's own
`bytes accessed` counts the body of a loop once). Of a sliced array only the slice counts, and of an array that is updated in
place only the update. A scan does both with its inputs and outputs. Arrays in a TPU's vector memory do not count. Allocation
without a write does not count either: an empty buffer, the workspace of a library's matrix product.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxasr.cost.hlo import Computation, Instruction, Program

_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"),
    *("while", "conditional", "call", "opt-barrier", "add-dependency", "iota", "get-dimension-size"),
}
_FREE_TARGETS = ("AllocateBuffer", "ConcatBitcast")  # custom calls that only allocate or rename memory
_PASSED = ("bitcast", "reshape", "copy", "convert")


@dataclass(frozen=True)
class Traffic:
    """The memory traffic of one execution on one chip."""

    bytes: int  # read and written in main memory
    kernels: int  # instructions that run one by one, without counters of loops; an asynchronous collective counts once
    loop_trips: int  # of all loops together: steps that run in sequence


def traffic_of(program: Program) -> Traffic:
    """Returns the memory traffic of a program, its kernels, and the trips of its loops."""
    total = 0
    kernels = 0
    trips = 0
    for name in program.scheduled:
        times = program.runs[name]
        computation = program.computations[name]
        for instruction in computation.values():
            if instruction.opcode == "while":
                trips += times * program.trips(name, instruction)
            if _is_free(instruction):
                continue
            total += times * _instruction_bytes(program, computation, instruction)
            arrays = any(array.dims for array in instruction.types)
            kernels += times * (arrays and not instruction.opcode.endswith("-done"))
    return Traffic(total, kernels, trips)


def _is_free(instruction: Instruction) -> bool:
    """Returns True for an instruction that runs nothing."""
    return instruction.opcode in _FREE or instruction.target in _FREE_TARGETS


def _instruction_bytes(program: Program, computation: Computation, instruction: Instruction) -> int:
    """Returns the bytes that an instruction reads and writes. For an asynchronous one the start reads and the end writes."""
    operands = [computation[name] for name in instruction.operands if name in computation]
    opcode = instruction.opcode
    if opcode.endswith("-done"):
        return _hbm_bytes(instruction)
    if opcode.endswith("-start"):
        return sum(map(_hbm_bytes, operands))
    if opcode in ("dynamic-slice", "gather", "slice"):
        return 2 * _hbm_bytes(instruction)
    if opcode == "dynamic-update-slice":
        return 2 * _hbm_bytes(operands[1])
    if opcode == "custom-call":
        return sum(map(_hbm_bytes, operands)) + _used_bytes(computation, instruction)
    if opcode != "fusion":
        return sum(map(_hbm_bytes, operands)) + _hbm_bytes(instruction)
    fused = program.computations[instruction.called()]
    reads = [_read_bytes(program, fused, number, operand) for number, operand in enumerate(operands)]
    return sum(reads) + _written_bytes(fused, instruction)


def _read_bytes(program: Program, fused: Computation, number: int, operand: Instruction) -> int:
    """Returns the bytes that a fused computation reads of an operand. Of a sliced operand the slices count."""
    parameters = (instruction for instruction in fused.values() if instruction.opcode == "parameter")
    parameter = next((one for one in parameters if one.place == number), None)
    if parameter is None or not _hbm_bytes(operand):
        return 0
    sizes = [_user_bytes(program, value, user) for value, user in _uses(fused, parameter)]
    return min(_hbm_bytes(operand), sum(sizes))


def _user_bytes(program: Program, value: Instruction, user: Instruction) -> int:
    """Returns the bytes of `value` that a user within a fused computation reads."""
    if user.opcode in ("dynamic-slice", "gather", "slice") and user.operands[0] == value.name:
        return user.bytes
    if user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
        return 0
    if user.opcode == "fusion":
        number = user.operands.index(value.name)
        return _read_bytes(program, program.computations[user.called()], number, value)
    return value.bytes


def _uses(fused: Computation, value: Instruction) -> Iterable[tuple[Instruction, Instruction]]:
    """Yields the value or a bitcast of it, with each instruction of the fused computation that uses it."""
    for user in fused.values():
        if value.name in user.operands:
            if user.opcode == "bitcast" and not user.is_root:
                yield from _uses(fused, user)
            else:
                yield value, user


def _written_bytes(fused: Computation, fusion: Instruction) -> int:
    """Returns the bytes that a fusion writes. Of an update in place only the update counts."""
    root = next(instruction for instruction in fused.values() if instruction.is_root)
    results = [fused[name] for name in root.operands] if root.opcode == "tuple" else [root]
    if len(results) != len(fusion.types):
        return _hbm_bytes(fusion)
    total = 0
    for result, array in zip(results, fusion.types, strict=True):
        while result.opcode in _PASSED and result.operands and result.operands[0] in fused:
            result = fused[result.operands[0]]
        if array.space == 0:
            update = fused.get(result.operands[1]) if result.opcode == "dynamic-update-slice" else None
            total += array.bytes if update is None else update.bytes
    return total


def _used_bytes(computation: Computation, called: Instruction) -> int:
    """Returns the bytes of a result in main memory, without unused elements of a tuple, such as a workspace."""
    users = [user for user in computation.values() if called.name in user.operands]
    used = {user.place for user in users}
    if len(called.types) == 1 or called.is_root or any(user.opcode != "get-tuple-element" for user in users):
        return _hbm_bytes(called)
    return sum(array.bytes for index, array in enumerate(called.types) if array.space == 0 and index in used)


def _hbm_bytes(instruction: Instruction) -> int:
    """Returns the bytes of a result in main memory."""
    return sum(array.bytes for array in instruction.types if array.space == 0)
