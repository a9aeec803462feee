"""Tests of the parser of compiled programs: types, calls, trips of loops."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxasr.cost.collectives import collectives_of
from jaxasr.cost.hlo import Program, Type, read_program
from jaxasr.cost.traffic import traffic_of

LOOP = """HloModule jit_step, is_scheduled=true

%body (p: (s32[], bf16[4,8])) -> (s32[], bf16[4,8]) {
  %one = s32[]{:T(128)} constant(STRIDE)
  %p = (s32[]{:T(128)}, bf16[4,8]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %copy.1 = s32[]{:T(128)S(6)} copy(%i)
  %next = s32[]{:T(128)} add(%copy.1, %one), metadata={op_name="jit(step)/while/body/add"}
  %x = bf16[4,8]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%p), index=1
  ROOT %both = (s32[]{:T(128)}, bf16[4,8]{1,0:T(8,128)(2,1)S(1)}) tuple(%next, /*index=1*/%x)
}
%condition (q: (s32[], bf16[4,8])) -> pred[] {
  %most = s32[]{:T(128)} constant(20)
  %q = (s32[]{:T(128)}, bf16[4,8]{1,0}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%q), index=0
  ROOT %less = pred[]{:T(512)} compare(%j, %most), direction=LT
}

ENTRY %main (x: bf16[4,8]) -> bf16[4,8] {
  %first = s32[] constant(FIRST)
  %x = bf16[4,8]{1,0} parameter(0)
  %start = (s32[], bf16[4,8]{1,0}) tuple(%first, %x)
  %while.1 = (s32[], bf16[4,8]{1,0}) while(%start), condition=%condition, body=%body
  ROOT %result = bf16[4,8]{1,0} get-tuple-element(%while.1), index=1
}
"""


def _loop(first: int, stride: int) -> Program:
    return read_program(LOOP.replace("FIRST", str(first)).replace("STRIDE", str(stride)))


@pytest.mark.parametrize(("first", "stride", "trips"), [(0, 1, 20), (4, 1, 16), (0, 2, 10), (1, 2, 10), (0, 3, 7)])
def test_a_loop_runs_from_its_start_by_its_stride_to_the_limit_of_its_condition(first: int, stride: int, trips: int):
    program = _loop(first, stride)
    assert program.runs["body"] == trips
    assert program.runs["main"] == 1
    assert program.unbounded_loops == ()


def test_xlas_own_note_of_trips_is_believed():
    noted = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"7"}}')
    assert read_program(noted).runs["body"] == 7


def test_a_loop_without_a_limit_counts_once_and_is_named():
    program = read_program(LOOP.replace("direction=LT", "direction=NE"))
    assert program.runs["body"] == 1
    assert program.unbounded_loops == ("while.1",)


def test_types_know_their_bytes_and_where_they_lie():
    p = _loop(0, 1).computations["body"]["p"]
    assert p.types == (Type("s32", ()), Type("bf16", (4, 8), space=1))
    assert [array.bytes for array in p.types] == [4, 64]
    assert Type("pred", (3,)).bytes == 3
    assert Type("s4", (6,)).bytes == 3
    assert Type("f8e4m3fn", (6,)).bytes == 6


def test_what_is_read_of_a_line():
    both = _loop(0, 1).computations["body"]["both"]
    assert (both.opcode, both.operands, both.is_root) == ("tuple", ("next", "x"), True)
    main = _loop(0, 1).computations["main"]["while.1"]
    assert (main.called("body"), main.called("condition"), main.called()) == ("body", "condition", "")


def test_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY computation"):
        read_program("nothing")


def test_nested_scans_of_a_real_program_multiply():
    def inner(carry: jax.Array, x: jax.Array):
        return jnp.tanh(carry @ x), None

    def outer(carry: jax.Array, xs: jax.Array):
        return jax.lax.scan(inner, carry, xs)[0], None

    def function(start: jax.Array, xs: jax.Array) -> jax.Array:
        return jax.lax.scan(outer, start, xs)[0]

    text = jax.jit(function).lower(jnp.ones((8, 8)), jnp.ones((3, 5, 8, 8))).compile().as_text()
    assert text is not None
    program = read_program(text)
    assert sorted(program.runs[name] for name in program.scheduled) == [1, 3, 15]
    assert program.unbounded_loops == ()


def test_a_line_in_a_new_form_is_named():
    with pytest.raises(
        ValueError, match=r"no opcode in the instruction %next = s32\[\] <add>: XLA prints it in a new way"
    ):
        read_program(LOOP.replace("%next = s32[]{:T(128)} add(", "%next = s32[] <add>("))


# A program with most kinds of instructions, as the XLA of each minor version of jaxlib prints it

KINDS = Path(__file__).parents[1] / "golden"


def of_many_kinds() -> Program:
    """Scans within a scan, a loop of unknown trips, branches, products, a convolution, an FFT, a sort, sums over devices."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())

    def inner(c_bd, x_d):
        c_bd = jnp.tanh(c_bd @ jnp.outer(x_d, x_d))
        return c_bd, c_bd[0]

    def outer(c_bd, xs_kd):
        c_bd, last_kd = lax.scan(inner, c_bd, xs_kd)
        return c_bd, last_kd.sum(axis=0)

    def function(c_bd, xs_nkd, most, ids_b):
        c_bd, sums_nd = lax.scan(outer, c_bd, xs_nkd)
        c_bd = lax.while_loop(lambda x: jnp.sum(x) > most, lambda x: x * 0.5, c_bd)
        c_bd = lax.cond(most > 0, jnp.sin, lambda x: jnp.sort(x, axis=1), c_bd)
        power_bf = jnp.abs(jnp.fft.rfft(c_bd)) ** 2
        wide_bd = lax.conv_general_dilated(c_bd[:, None], jnp.ones((1, 1, 3)), (1,), "SAME")[:, 0]
        noise_bd = jax.random.normal(jax.random.key(0), c_bd.shape) + c_bd[ids_b].astype(jnp.bfloat16)
        added_d = jnp.zeros(c_bd.shape[1]).at[ids_b].add(c_bd[:, 0])
        return power_bf.sum(), jnp.argmax(wide_bd, axis=1), noise_bd.max(), jnp.cumsum(added_d), sums_nd

    c_bd = jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=rows)
    xs_nkd = jax.ShapeDtypeStruct((3, 5, 16), jnp.float32, sharding=whole)
    most, ids_b = (jax.ShapeDtypeStruct(shape, kind, sharding=whole) for shape, kind in (((), "f4"), ((8,), "i4")))
    text = jax.jit(function, out_shardings=whole).lower(c_bd, xs_nkd, most, ids_b).compile().as_text()
    return read_program(text)


def test_no_kind_of_instruction_is_unknown():
    """A golden may have more than this machine's XLA makes: what is rewritten differs with the processor."""
    minor = ".".join(jaxlib.__version__.split(".")[:2])
    path, program = KINDS / f"hlo_{minor}.txt", of_many_kinds()
    every = [each for computation in program.computations.values() for each in computation.values()]
    found = sorted(
        {f"opcode {each.opcode}" for each in every} | {f"type {t.dtype}" for each in every for t in each.types}
    )
    known = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()
    if os.environ.get("JAXASR_RENEW_GOLDEN"):
        known |= set(found)
        path.write_text("\n".join(sorted(known)) + "\n", encoding="utf-8")
    assert known, (
        f"jaxlib {minor} is new: see whether cost/hlo.py, collectives.py and traffic.py understand its programs, then make "
        f"{path} with JAXASR_RENEW_GOLDEN=1"
    )
    assert [each for each in found if each not in known] == [], f"not in {path}"


def test_a_real_program_is_read_as_its_source_says():
    program = of_many_kinds()
    runs = [program.runs[name] for name in program.scheduled]
    assert {1, 3, 15} <= set(runs)
    assert len(program.unbounded_loops) == 1
    assert {"while", "conditional", "parameter", "constant", "tuple", "get-tuple-element"} <= program.opcodes
    assert {("all-reduce", ("data",), 4)} <= {
        (each.kind, each.axes, each.group) for each in collectives_of(program, {"data": 4})
    }
    traffic = traffic_of(program)
    assert traffic.loop_trips >= 3 + 15 + 1
    assert traffic.bytes > 15 * 4 * 2 * 16
    for computation in program.computations.values():
        assert all(operand in computation for each in computation.values() for operand in each.operands)
