"""Tests of the memory traffic of programs against counts by hand."""

import jax
import jax.numpy as jnp

from jaxasr.cost.hlo import read_program
from jaxasr.cost.traffic import Traffic, traffic_of

SLICED = """%fused (p0: f32[100,8], p1: s32[]) -> f32[1,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %b = f32[100,8]{1,0} bitcast(%p0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %cut = f32[1,8]{1,0} dynamic-slice(%b, %p1, %zero), dynamic_slice_sizes={1,8}
  ROOT %n = f32[1,8]{1,0} negate(%cut)
}
%written (q0: f32[100,8], q1: f32[1,8], q2: s32[]) -> f32[100,8] {
  %q0 = f32[100,8]{1,0} parameter(0)
  %q1 = f32[1,8]{1,0} parameter(1)
  %q2 = s32[] parameter(2)
  %none = s32[] constant(0)
  ROOT %u = f32[100,8]{1,0} dynamic-update-slice(%q0, %q1, %q2, %none)
}
ENTRY %main (x: f32[100,8], i: s32[]) -> f32[100,8] {
  %x = f32[100,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %row = f32[1,8]{1,0} fusion(%x, %i), kind=kLoop, calls=%fused
  ROOT %y = f32[100,8]{1,0} fusion(%x, %row, %i), kind=kLoop, calls=%written
}
"""


def test_of_slices_and_updates_only_they_count():
    # row: 32 bytes of x, 4 of i, 32 written; y: the row and i read, 32 written
    assert traffic_of(read_program(SLICED)) == Traffic(bytes=32 + 4 + 32 + 32 + 4 + 32, kernels=2, loop_trips=0)


def test_vector_memory_costs_nothing():
    near = SLICED.replace("%row = f32[1,8]{1,0}", "%row = f32[1,8]{1,0:T(8,128)S(1)}")
    assert traffic_of(read_program(near)).bytes == 32 + 4 + 4 + 32


def test_what_is_under_way_reads_when_it_begins_and_writes_when_it_is_done():
    text = """ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %begun = (f32[8]{0:S(1)}, f32[8]{0}, u32[]) copy-start(%x)
  ROOT %there = f32[8]{0:S(1)} copy-done(%begun)
}
"""
    assert traffic_of(read_program(text)) == Traffic(bytes=32, kernels=1, loop_trips=0)


def test_a_scan_reads_its_weights_at_every_step_and_its_inputs_once():
    def function(w: jax.Array, xs: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, x: (jnp.tanh(c @ w + x), None), jnp.zeros((4, 64)), xs)[0]

    text = jax.jit(function).lower(jnp.ones((64, 64)), jnp.ones((50, 4, 64))).compile().as_text()
    assert text is not None
    found = traffic_of(read_program(text))
    weights = 50 * 64 * 64 * 4
    inputs = 50 * 4 * 64 * 4
    assert weights + inputs <= found.bytes <= weights + 12 * inputs  # the rest: carry, sums and tanh of each step
    assert found.loop_trips == 50


def test_room_that_is_set_aside_is_neither_moved_nor_a_kernel():
    """Checks a TPU's buffer for the stacked results of a loop, and the workspace of a matrix product of a GPU's library."""
    text = """ENTRY %main (x: bf16[8,4], w: bf16[4,2]) -> bf16[8,2] {
  %x = bf16[8,4]{1,0} parameter(0)
  %w = bf16[4,2]{1,0} parameter(1)
  %stack = bf16[17,8,2]{2,1,0} custom-call(), custom_call_target="AllocateBuffer"
  %product = (bf16[8,2]{1,0}, s8[4194304]{0}) custom-call(%x, %w), custom_call_target="__cublas$lt$matmul"
  ROOT %y = bf16[8,2]{1,0} get-tuple-element(%product), index=0
}
"""
    program = read_program(text)
    assert traffic_of(program) == Traffic(bytes=2 * (8 * 4 + 4 * 2 + 8 * 2), kernels=1, loop_trips=0)
    used = text.replace("}\n", "  %w8 = s8[4194304]{0} get-tuple-element(%product), index=1\n}\n")
    assert traffic_of(read_program(used)).bytes == 2 * (8 * 4 + 4 * 2 + 8 * 2) + 4_194_304
