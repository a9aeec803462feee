"""Tests of the parser of compiled programs: types, calls, trips of loops."""

import jax
import jax.numpy as jnp
import pytest

from jaxasr.cost.hlo import Program, Type, read_program

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
