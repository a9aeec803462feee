"""Rules for the FLOPs of one equation of a jaxpr. The conventions are in `flops`."""

import math
from typing import Literal, NamedTuple

import numpy as np

from jaxasr.cost.jaxprs import Atom, Equation, dtype_of, shape_of

Kind = Literal["matmul", "convolution", "elementwise", "reduction", "other", "movement"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CALLS = _words(
    "jit pjit closed_call eval_jaxpr core_call call remat remat2 checkpoint custom_jvp_call custom_vjp_call "
    "custom_vjp_call_jaxpr custom_vmap_call shard_map composite custom_lin call_hi_primitive compute_on"
)  # primitives that call one jaxpr once

_ELEMENTWISE = _words(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex conj cos "
    "cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac imag integer_pow is_finite le "
    "le_to lgamma log log1p logistic lt lt_to max min mul ne neg nextafter not or polygamma population_count pow "
    "random_bits random_fold_in random_gamma random_seed random_split real reduce_precision "
    "igamma_grad_a log2 mulhi one_minus_square philox2x32 philox4x32 reciprocal threefry4x32 "
    "regularized_incomplete_beta rem rng_bit_generator rng_uniform round rsqrt select_n shift_left "
    "shift_right_arithmetic shift_right_logical sign sin sinh sqrt square sub tan tanh threefry2x32 xor zeta"
)
_REDUCTIONS = _words(
    "argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce reduce_and reduce_max reduce_min reduce_or "
    "reduce_prod reduce_sum reduce_xor"
)
_WINDOWED = _words("select_and_gather_add reduce_window reduce_window_max reduce_window_min reduce_window_sum")
_UPDATES = _words(
    "scatter-add scatter-max scatter-min scatter-mul scatter_add scatter_max scatter_min scatter_mul scatter-sub "
    "accum_grad_in_ref addupdate"
)
_SORTED = _words("sort top_k approx_top_k")
_MOVEMENT = _words(
    "after_all all_gather all_gather_invariant all_gather_reduced all_to_all axis_index platform_index bitcast_convert_type "
    "broadcast broadcast_in_dim concatenate convert_element_type copy copy_p create_token device_put dynamic_slice "
    "dynamic_update_slice empty empty2 gather iota layout_constraint mesh_cast name optimization_barrier pad pbroadcast "
    "pcast pmax pmin ppermute psum psum2 psum_invariant psum_scatter pvary ragged_all_to_all random_clone random_unwrap "
    "random_wrap reduce_scatter reshape reshard rev scatter sharding_constraint slice split "
    "squeeze stack stop_gradient transpose unstack debug_callback debug_print "
    "get swap load masked_load masked_swap program_id num_programs multiple_of "
    "broadcast_to tile zeros_like iota_2x32_shape new_ref empty_ref free_ref freeze pin unpin reduced_vary_cast "
    "reduced_vary_cast_p vary_unreduced_cast vary_unreduced_cast_p relayout with_memory_space_constraint "
    "all_gather_start all_gather_reduced_start all_gather_done all_to_all_start all_to_all_done pbroadcast_start "
    "pbroadcast_done pbroadcast_dynamic ppermute_start ppermute_done psum_start psum_invariant_start psum_done "
    "reduce_scatter_start reduce_scatter_done unreduced_psum unreduced_psum_start unreduced_pmax unreduced_pmin "
    "unreduced_reduce_scatter unreduced_reduce_scatter_start precv psend preduced"
)


class Cost(NamedTuple):
    """The cost of one run of an equation."""

    kind: Kind
    flops: int = 0
    bytes: int = 0  # operands and results; 0 for movement
    dtype: str = ""  # of a product's operands


def cost_of(equation: Equation) -> Cost | None:
    """Returns the cost of an equation that is no loop, branch or call. Returns None if there is no rule for its primitive."""
    name = equation.name
    if name in _MOVEMENT:
        return Cost("movement")
    moved = sum(_bytes(atom) for atom in (*equation.operands, *equation.results))
    if name == "dot_general":
        return Cost("matmul", _matmul(equation), moved, _dtype(equation))
    if name == "conv_general_dilated":
        return Cost("convolution", _convolution(equation), moved, _dtype(equation))
    results = sum(_size(out) for out in equation.results)
    if name in _ELEMENTWISE:
        return Cost("elementwise", results, moved)
    if name in _REDUCTIONS:
        return Cost("reduction", _size(equation.operands[0]), moved)
    if name in _WINDOWED:
        return Cost("reduction", results * math.prod(equation.window), moved)
    if name in _UPDATES:
        return Cost("reduction", _size(equation.operands[-1]), moved)
    if name in ("select_and_scatter_add", "select_and_scatter"):
        return Cost("reduction", _size(equation.operands[0]) * math.prod(equation.window), moved)
    if name == "fft":
        return Cost("other", _fft(equation), moved)
    if name in _SORTED:
        return Cost("other", _sort(equation), moved)
    return None


def _matmul(equation: Equation) -> int:
    left = shape_of(equation.operands[0])
    return 2 * _size(equation.results[0]) * math.prod(left[axis] for axis in equation.contracted)


def _convolution(equation: Equation) -> int:
    left, right = (shape_of(atom) for atom in equation.operands)
    out = shape_of(equation.results[0])
    geometry = equation.convolution
    pairs = 1
    for axis in range(len(geometry.strides)):
        pairs *= _real_pairs(
            size=left[geometry.left_axes[2 + axis]],
            kernel=right[geometry.right_axes[2 + axis]],
            results=out[geometry.result_axes[2 + axis]],
            stride=geometry.strides[axis],
            before=geometry.padding[axis][0],
            dilation=geometry.left_dilation[axis],
            kernel_dilation=geometry.right_dilation[axis],
        )
    examples, channels = (out[axis] for axis in geometry.result_axes[:2])
    return 2 * examples * channels * right[geometry.right_axes[1]] * pairs


def _real_pairs(
    *, size: int, kernel: int, results: int, stride: int, before: int, dilation: int, kernel_dilation: int
) -> int:
    """Counts the pairs of a result and a kernel element along one axis that read a real input element.

    Args:
        size: length of the input.
        kernel: length of the kernel.
        results: length of the result.
        stride: of the kernel's positions.
        before: padding in front of the input; may be negative.
        dilation: distance of the input's elements; zeros are between them.
        kernel_dilation: distance of the kernel's elements.
    """
    at = np.arange(results)[:, None] * stride + np.arange(kernel) * kernel_dilation - before
    return int(np.sum((at >= 0) & (at <= (size - 1) * dilation) & (at % dilation == 0)))


def _fft(equation: Equation) -> int:
    results = _size(equation.results[0])
    points = max(_size(equation.operands[0]), results) if equation.is_real else results
    return int((2.5 if equation.is_real else 5.0) * points * math.log2(max(math.prod(equation.transformed), 1)))


def _sort(equation: Equation) -> int:
    keys = equation.operands[0]
    return int(_size(keys) * math.log2(max(shape_of(keys)[equation.sorted_axis], 1)))


def _dtype(equation: Equation) -> str:
    return str(max((dtype_of(atom) for atom in equation.operands[:2]), key=lambda dtype: dtype.itemsize))


def _size(atom: Atom) -> int:
    return math.prod(shape_of(atom))


def _bytes(atom: Atom) -> int:
    return _size(atom) * getattr(dtype_of(atom), "itemsize", 0)
