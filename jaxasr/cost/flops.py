"""Counts the FLOPs of a function from its jaxpr. The body of a loop counts once for each trip.

XLA's own analysis counts the body of a loop once, so it is wrong for LSTMs, CTC and scanned layers. Conventions:

* A multiply-add is 2 FLOPs. A matrix product is 2 b m n k.
* A convolution counts the multiply-adds of real elements. Padding does not count, nor do the zeros in a dilated input (the
  gradient of a strided convolution has such zeros). Groups divide the input channels.
* Every elementwise operation is 1 FLOP a result: an addition, a comparison, a selection, a tanh, a random word.
* A reduction is 1 an input. A cumulative reduction is too (XLA's algorithm may need more). A windowed reduction is 1 for
  each element of the window and each result. A scatter with an operation is 1 an update.
* An FFT over n points is 5 n log2 n, with real input or output half of that; sorting n keys is n log2 n.
* Moving, copying, converting, indexing and communication are 0.
* `scan` is its body times its length. `cond` is its most expensive branch (the cheapest one if the platform selects the
  branch). `shard_map` and `pmap` are the work of one device times the devices.
* `while` is its body times its trips. The trips are known if a counter goes from a known start by a known step to a known
  limit. If something else can end the loop too, the counter's limit counts and `at_most` names the loop. If the trips are
  unknown, the body counts once and `unbounded` names the loop.
* Recomputation (jax.checkpoint) counts each time. For the FLOPs of the model alone trace the function without it.
* Equations that no result depends on do not count, because XLA removes them.
* A Pallas kernel is its body times the programs of its grid.
* A primitive without a rule counts as one run of the jaxprs that it calls, and `assumed` names it. If it calls no jaxpr
  (`ffi_call`, callbacks, the products and recurrences of cuDNN), it does not count, and `uncounted` names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jaxasr.cost.jaxprs import trace
from jaxasr.cost.tally import NOTES, FlopCounter, walk


class Product(NamedTuple):
    """A group of equal matrix products or convolutions: the operations that run on the matrix units of a chip."""

    kind: Literal["matmul", "convolution"]
    dtype: str  # the wider one of the operands' types
    flops: int  # of one product
    bytes: int  # operands and result of one product
    times: int

    @property
    def intensity(self) -> float:
        """The FLOPs for each byte of operands and result."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Flops:
    """The result of `count`. Numbers of operations are exact under the conventions of this module."""

    elementwise: int = 0
    reduction: int = 0
    other: int = 0  # FFTs and sorting
    products: tuple[Product, ...] = ()  # the largest share of the FLOPs first
    bytes: int = 0  # operands and results of all counted operations: the memory traffic without any fusion
    at_most: tuple[str, ...] = ()  # loops that may end earlier, with their trips
    unbounded: tuple[str, ...] = ()  # loops of unknown trips, counted once
    assumed: tuple[str, ...] = ()  # primitives without a rule; the jaxprs that they call are counted once
    uncounted: tuple[str, ...] = ()  # primitives without a rule that call no jaxpr

    @property
    def matmul(self) -> int:
        """The FLOPs of matrix products."""
        return sum(product.flops * product.times for product in self.products if product.kind == "matmul")

    @property
    def convolution(self) -> int:
        """The FLOPs of convolutions."""
        return sum(product.flops * product.times for product in self.products if product.kind == "convolution")

    @property
    def of_products(self) -> int:
        """The FLOPs of matrix products and convolutions, the numerator of MFU."""
        return self.matmul + self.convolution

    @property
    def product_bytes(self) -> int:
        """The bytes of the products' operands and results: the memory traffic if all else is fused into the products."""
        return sum(product.bytes * product.times for product in self.products)

    @property
    def total(self) -> int:
        """The FLOPs of all kinds."""
        return self.of_products + self.elementwise + self.reduction + self.other

    def __str__(self) -> str:
        kinds = ("matmul", "convolution", "elementwise", "reduction", "other")
        parts = ", ".join(
            f"{kind} {getattr(self, kind) / max(self.total, 1):.1%}" for kind in kinds if getattr(self, kind)
        )
        return f"{self.total / 1e9:,.3f} GFLOP ({parts}){''.join(f'; {note}' for note in self.notes)}"

    @property
    def notes(self) -> list[str]:
        """A list of texts that name the loops and primitives that are counted in part, or not at all."""
        kinds = {
            "at most": self.at_most,
            "counted once": self.unbounded,
            "without a rule, counted once": self.assumed,
            "not counted": self.uncounted,
        }
        return [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]


def count(function: Callable[..., Any], *shapes: Any) -> Flops:
    """Counts the FLOPs of one call. Nothing is compiled or computed.

    Args:
        function: pure; jitted or not. A jitted one keeps its trace for later calls with such arguments.
        shapes: its arguments: arrays, or trees of jax.ShapeDtypeStruct.
    """
    counter = FlopCounter()
    walk(trace(function, *shapes), 1, counter)
    products = [Product(*key, times) for key, times in counter.products.items() if times]
    products.sort(key=lambda product: -product.flops * product.times)
    notes: dict[str, Any] = {kind: tuple(counter.notes[kind]) for kind in NOTES}
    kinds = {kind: counter.kinds[kind] for kind in ("elementwise", "reduction", "other", "bytes")}
    return Flops(products=tuple(products), **kinds, **notes)
