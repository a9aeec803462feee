"""A parser for the text of a compiled program: its computations, their calls, and their runs in one execution.

XLA prints an optimised program as computations of instructions, `%name = type opcode(%operand, ...), attribute=...`. A loop
is one `while` with a body and a condition. JAX's scans count up to a constant, which is in the condition or in XLA's
attribute `known_trip_count`.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from jaxasr.cost.hlo_groups import replica_groups

_BITS = {"pred": 8, "token": 0, "opaque": 0, "e8m0fnu": 8}
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=\s]*)\](?:\{([^}]*)\})?")
_SPACE = re.compile(r"S\((\d+)\)")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"[a-z][a-z0-9\-]*")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CALLED = re.compile(r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
# The text of a TPU's program has an asynchronous collective at each of its stages. It counts at the stage of its start.
_STAGE = '"async_collective_fusion_config"'
_START = '"AsyncCollectiveStart"'
_LOOKED_THROUGH = ("copy", "bitcast", "convert", "reshape")


@dataclass(frozen=True)
class Type:
    """An array as XLA prints it."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0  # memory space; 0: the chip's main memory, 1 on a TPU: its vector memory

    @property
    def bytes(self) -> int:
        """The bytes of the elements, without the padding of a tiled layout."""
        bits = _BITS.get(self.dtype) if self.dtype in _BITS else int(re.findall(r"\d+", self.dtype)[0])
        return math.prod(self.dims) * (bits or 0) // 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    types: tuple[Type, ...]  # of the result; for a tuple, of all its arrays
    operands: tuple[str, ...]
    inner: str  # text between the brackets: a parameter's number, a constant's value
    attributes: str
    is_root: bool

    @property
    def bytes(self) -> int:
        """The bytes of the result."""
        return sum(array.bytes for array in self.types)

    def called(self, which: str = "calls") -> str:
        """Returns the computation that an attribute names, or "" without this attribute."""
        found = re.search(rf"\b{which}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else ""

    def groups(self, devices: int) -> list[list[int]]:
        """Returns the groups of devices of a collective (`replica_groups`)."""
        return replica_groups(self.attributes, devices)

    @property
    def target(self) -> str:
        """The function of a custom call; "" for other instructions."""
        found = _TARGET.search(self.attributes)
        return found[1] if found else ""

    @property
    def place(self) -> int | None:
        """The index of a get-tuple-element among the results, or of a parameter among the arguments."""
        text = self.inner if self.opcode == "parameter" else self.attributes.partition("index=")[2].partition(",")[0]
        return int(text) if text.strip().isdecimal() else None

    @property
    def is_stage(self) -> bool:
        """The answer to whether it is a stage of an asynchronous collective."""
        return _STAGE in self.attributes

    @property
    def begins_stages(self) -> bool:
        """The answer to whether it starts an asynchronous collective."""
        return _START in self.attributes


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class Program:
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str

    @cached_property
    def runs(self) -> dict[str, int]:
        """The runs of each computation in one execution, including computations that are fused into an instruction.

        Every branch of a conditional counts. A loop of unknown trips counts once (`unbounded_loops`).
        """
        times: dict[str, int] = defaultdict(int)

        def visit(name: str, count: int) -> None:
            times[name] += count
            for instruction in self.computations[name].values():
                inner = count * self.trips(name, instruction) if instruction.opcode == "while" else count
                for called in _called(instruction):
                    if called in self.computations:
                        visit(called, inner)

        visit(self.entry, 1)
        return dict(times)

    @property
    def opcodes(self) -> set[str]:
        """The opcodes of all instructions."""
        return {line.opcode for computation in self.computations.values() for line in computation.values()}

    @cached_property
    def scheduled(self) -> tuple[str, ...]:
        """The computations whose instructions run one by one: the entry, bodies of loops, branches."""
        names: list[str] = []
        left = [self.entry]
        while left:
            name = left.pop()
            if name in names:
                continue
            names.append(name)
            for instruction in self.computations[name].values():
                if instruction.opcode in ("while", "conditional", "call"):
                    left += [called for called in _called(instruction) if called in self.computations]
        return tuple(names)

    @property
    def unbounded_loops(self) -> tuple[str, ...]:
        """The names of the loops of unknown trips."""
        names: list[str] = []
        for computation in self.scheduled:
            for instruction in self.computations[computation].values():
                if instruction.opcode == "while" and self._known_trips(computation, instruction) is None:
                    names.append(instruction.name)
        return tuple(names)

    def trips(self, where: str, loop: Instruction) -> int:
        """Returns the trips of a `while` of the computation `where`; 1 if they are unknown."""
        found = self._known_trips(where, loop)
        return 1 if found is None else found

    def _known_trips(self, where: str, loop: Instruction) -> int | None:
        noted = _TRIPS.search(loop.attributes)
        if noted:
            return int(noted[1])
        condition = self.computations.get(loop.called("condition"), {})
        compare = _root(condition, "compare")
        if compare is None or "direction=LT" not in compare.attributes:
            return None
        counter = _source(condition, compare.operands[0])
        limit = _constant(condition, compare.operands[1])
        if counter is None or limit is None or counter.opcode != "get-tuple-element":
            return None
        place = counter.place or 0
        first = self._first(self.computations[where], loop, place)
        return math.ceil((limit - first) / self._stride(loop, place))

    def _first(self, computation: Computation, loop: Instruction, place: int) -> int:
        start = computation.get(loop.operands[0])
        if start is None or start.opcode != "tuple":
            return 0
        return _constant(computation, start.operands[place]) or 0

    def _stride(self, loop: Instruction, place: int) -> int:
        body = self.computations.get(loop.called("body"), {})
        root = _root(body, "tuple")
        added = None if root is None else _source(body, root.operands[place])
        if added is None or added.opcode != "add":
            return 1
        steps = [_constant(body, operand) for operand in added.operands]
        return next((step for step in steps if step), 1)


def read_program(text: str) -> Program:
    """Parses the text of `compiled.as_text()`.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry = ""
    here: Computation | None = None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            here = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif line.startswith("}"):
            here = None
        elif here is not None and (found := _LINE.match(line)):
            instruction = _instruction(found[2], found[3], is_root=bool(found[1]))
            here[instruction.name] = instruction
    if not entry:
        raise ValueError(f"no ENTRY computation in a program of {len(text)} characters; give it compiled.as_text()")
    return Program(computations, entry)


def _instruction(name: str, rest: str, *, is_root: bool) -> Instruction:
    rest = re.sub(r"/\*.*?\*/", "", rest)
    end = _closing(rest) if rest.startswith("(") else rest.index(" ")
    shown = rest[:end]
    opcode, _, rest = rest[end:].lstrip().partition("(")
    close = _closing("(" + rest) - 1
    inner = rest[: close - 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", inner))
    if not _OPCODE.fullmatch(opcode):
        raise ValueError(f"no opcode in the instruction %{name} = {shown} {opcode[:80]}: XLA prints it in a new way")
    return Instruction(name, opcode, _types(shown), operands, inner, rest[close:].lstrip(", "), is_root)


def _types(shown: str) -> tuple[Type, ...]:
    found = []
    for dtype, dims, layout in _ARRAY.findall(shown):
        space = _SPACE.search(layout)
        sizes = tuple(int(size) for size in re.findall(r"\d+", dims))
        found.append(Type(dtype, sizes, int(space[1]) if space else 0))
    return tuple(found)


def _closing(text: str) -> int:
    """Returns the index after the bracket that closes the bracket at the start."""
    depth = 0
    for found in re.finditer(r"[()]", text):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.end()
    return len(text)


def _called(instruction: Instruction) -> list[str]:
    branches = _BRANCHES.search(instruction.attributes)
    listed = re.findall(r"[\w.\-]+", branches[1]) if branches else []
    return listed + _CALLED.findall(instruction.attributes)


def _root(computation: Computation, opcode: str) -> Instruction | None:
    """Returns the root of a computation if it has this opcode."""
    roots = (instruction for instruction in computation.values() if instruction.is_root)
    return next((root for root in roots if root.opcode == opcode), None)


def _source(computation: Computation, name: str) -> Instruction | None:
    """Returns the instruction that computes a value, through copies and casts."""
    found = computation.get(name)
    while found is not None and found.opcode in _LOOKED_THROUGH and found.operands:
        found = computation.get(found.operands[0])
    return found


def _constant(computation: Computation, name: str) -> int | None:
    found = _source(computation, name)
    if found is None or found.opcode != "constant" or not re.fullmatch(r"-?\d+", found.inner):
        return None
    return int(found.inner)
