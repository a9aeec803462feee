"""What one equation of a jaxpr costs. The conventions stand in `flops`."""

import math
from typing import Any, Literal, NamedTuple

import numpy as np

Kind = Literal["matmul", "convolution", "elementwise", "reduction", "other", "movement"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CALLS = _words(
    "jit pjit closed_call core_call call remat remat2 checkpoint custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr "
    "shard_map xla_pmap composite custom_lin"
)  # primitives that call one jaxpr once

_ELEMENTWISE = _words(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex conj cos "
    "cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac imag integer_pow is_finite le "
    "le_to lgamma log log1p logistic lt lt_to max min mul ne neg nextafter not or polygamma population_count pow "
    "random_bits random_fold_in random_gamma random_seed random_split real reduce_precision "
    "regularized_incomplete_beta rem rng_bit_generator rng_uniform round rsqrt select_n shift_left "
    "shift_right_arithmetic shift_right_logical sign sin sinh sqrt square sub tan tanh threefry2x32 xor zeta"
)
_REDUCTIONS = _words(
    "argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce reduce_and reduce_max reduce_min reduce_or "
    "reduce_prod reduce_sum reduce_xor"
)
_WINDOWED = _words("select_and_gather_add reduce_window reduce_window_max reduce_window_min reduce_window_sum")
_UPDATES = _words("scatter-add scatter-max scatter-min scatter-mul scatter_add scatter_max scatter_min scatter_mul")
_SORTED = _words("sort top_k approx_top_k")
_MOVEMENT = _words(
    "after_all all_gather all_gather_invariant all_gather_reduced all_to_all axis_index platform_index bitcast_convert_type "
    "broadcast broadcast_in_dim concatenate convert_element_type copy copy_p create_token device_put dynamic_slice "
    "dynamic_update_slice empty empty2 gather iota layout_constraint mesh_cast name optimization_barrier pad pbroadcast "
    "pcast pmax pmin ppermute psum psum2 psum_invariant psum_scatter pvary ragged_all_to_all random_clone random_unwrap "
    "random_wrap reduce_scatter reshape reshard rev scatter sharding_constraint slice split "
    "squeeze stack stop_gradient transpose unstack"
)


class Cost(NamedTuple):
    """Of one equation, once."""

    kind: Kind
    flops: int = 0
    bytes: int = 0  # operands and results; 0 for movement
    dtype: str = ""  # of a product's operands
    assumed: bool = False  # no rule: elementwise by its results


def cost_of(equation: Any) -> Cost:
    """The cost of an equation that is neither a loop nor a branch nor a call."""
    name = equation.primitive.name
    if name in _MOVEMENT:
        return Cost("movement")
    moved = sum(_bytes(atom.aval) for atom in (*equation.invars, *equation.outvars))
    if name == "dot_general":
        return Cost("matmul", _matmul(equation), moved, _dtype(equation))
    if name == "conv_general_dilated":
        return Cost("convolution", _convolution(equation), moved, _dtype(equation))
    results = sum(_size(out.aval) for out in equation.outvars)
    if name in _ELEMENTWISE:
        return Cost("elementwise", results, moved)
    if name in _REDUCTIONS:
        return Cost("reduction", _size(equation.invars[0].aval), moved)
    if name in _WINDOWED:
        return Cost("reduction", results * math.prod(equation.params["window_dimensions"]), moved)
    if name in _UPDATES:
        return Cost("reduction", _size(equation.invars[-1].aval), moved)
    if name in ("select_and_scatter_add", "select_and_scatter"):
        return Cost(
            "reduction", _size(equation.invars[0].aval) * math.prod(equation.params["window_dimensions"]), moved
        )
    if name == "fft":
        return Cost("other", _fft(equation), moved)
    if name in _SORTED:
        return Cost("other", _sort(equation), moved)
    return Cost("elementwise", results, moved, assumed=True)


def devices_of(call: Any) -> int:
    """On how many devices a called jaxpr runs, each with its part of the data."""
    if call.primitive.name == "xla_pmap":
        return int(call.params["global_axis_size"])
    if call.primitive.name != "shard_map":
        return 1
    mesh, params = call.params["mesh"], call.params
    axes = params.get("newly_manual_axes", params.get("manual_axes", mesh.axis_names))
    return math.prod(mesh.shape[axis] for axis in axes)


def _matmul(equation: Any) -> int:
    ((left_axes, _), _), left = equation.params["dimension_numbers"], equation.invars[0].aval
    return 2 * _size(equation.outvars[0].aval) * math.prod(left.shape[axis] for axis in left_axes)


def _convolution(equation: Any) -> int:
    params, (left, right), out = equation.params, (v.aval for v in equation.invars), equation.outvars[0].aval
    numbers = params["dimension_numbers"]
    taps = 1
    for place in range(len(params["window_strides"])):
        taps *= _taps(
            size=left.shape[numbers.lhs_spec[2 + place]],
            kernel=right.shape[numbers.rhs_spec[2 + place]],
            results=out.shape[numbers.out_spec[2 + place]],
            stride=params["window_strides"][place],
            before=params["padding"][place][0],
            spread=params["lhs_dilation"][place],
            reach=params["rhs_dilation"][place],
        )
    examples, channels = (out.shape[axis] for axis in numbers.out_spec[:2])
    return 2 * examples * channels * right.shape[numbers.rhs_spec[1]] * taps


def _taps(*, size: int, kernel: int, results: int, stride: int, before: int, spread: int, reach: int) -> int:
    """Pairs of a result and a place of the kernel that meet on a real input, along one axis.

    Args:
        before: padding in front; may be negative.
        spread: the input's dilation: its elements stand so far apart, with zeros between them.
        reach: the kernel's.
    """
    at = np.arange(results)[:, None] * stride + np.arange(kernel) * reach - before
    return int(np.sum((at >= 0) & (at <= (size - 1) * spread) & (at % spread == 0)))


def _fft(equation: Any) -> int:
    lengths, fft_type = equation.params["fft_lengths"], str(equation.params["fft_type"])
    into, out = (_size(v.aval) for v in (equation.invars[0], equation.outvars[0]))
    real = "RFFT" in fft_type.upper() or fft_type in ("2", "3")
    points = max(into, out) if real else out
    return int((2.5 if real else 5.0) * points * math.log2(max(math.prod(lengths), 1)))


def _sort(equation: Any) -> int:
    keys, params = equation.invars[0].aval, equation.params
    axis = params.get("dimension", params.get("operand_axis", params.get("reduction_dimension", -1)))
    return int(_size(keys) * math.log2(max(keys.shape[axis], 1)))


def _dtype(equation: Any) -> str:
    return str(max((v.aval.dtype for v in equation.invars[:2]), key=lambda dtype: dtype.itemsize))


def _size(aval: Any) -> int:
    return math.prod(getattr(aval, "shape", ()))


def _bytes(aval: Any) -> int:
    dtype = getattr(aval, "dtype", None)
    return _size(aval) * getattr(dtype, "itemsize", 0)
