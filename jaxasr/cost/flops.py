"""How much arithmetic a function is, read from its jaxpr: loops are multiplied by their trips.

XLA's own analysis counts the body of a loop once, so it is of no use for LSTMs, CTC and scanned layers. Conventions here:

* A multiply-add is 2 FLOPs. A matrix product is 2 b m n k.
* A convolution counts the multiply-adds of real elements alone: neither padding nor the zeros that a dilated input
  is filled up with (the gradient of a strided convolution has those). Groups divide the input channels.
* Everything elementwise is 1 a result, whatever it is: an addition, a comparison, a selection, a tanh, a random word.
* A reduction is 1 an input; a cumulative one too (how XLA does it may take more); a windowed one 1 a place of the
  window for each result; what is scattered with an operation 1 an update.
* An FFT over n points is 5 n log2 n, with real input or output half of that; sorting n keys is n log2 n.
* Moving, copying, converting, indexing and talking to other devices are nothing.
* `scan` is its body by its length; `cond` its most expensive branch (of ways that
  only the platform decides between the cheapest); under `shard_map` and `pmap` what one device does
  by the devices. `while` is its body by its trips where these can be read off (a counter from a known start by a known
  step to a known limit). Where more than the counter can end the loop the limit of the counter is taken and the loop named in
  `at_most`; where nothing can be read the body is counted once and the loop named in `unbounded`.
* What recomputes (jax.checkpoint) is counted as often as it is computed. For the FLOPs of the model alone trace it
  without.
* What no result depends on is not counted: XLA leaves it out.
* A Pallas kernel is its body by the programs of its grid.
* A primitive without a rule here is once what it calls, and is named in `assumed`. One that calls nothing that can be seen
  (`ffi_call`, callbacks, the products and recurrences of cuDNN) is not counted, and is named in `uncounted`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jaxasr.cost.jaxprs import trace
from jaxasr.cost.tally import NOTES, FlopCounter, walk


class Product(NamedTuple):
    """Matrix products, or convolutions, of one shape: what the matrix units of a chip are for."""

    kind: Literal["matmul", "convolution"]
    dtype: str  # of the operands; of two, the wider
    flops: int  # of one
    bytes: int  # operands and result of one
    times: int

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that must at least be moved."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Flops:
    """What `count` found. Numbers of operations are exact under the conventions of this module."""

    elementwise: int = 0
    reduction: int = 0
    other: int = 0  # FFTs and sorting
    products: tuple[Product, ...] = ()  # by falling share of the FLOPs
    bytes: int = 0  # operands and results of all that is counted, each time: traffic to memory if nothing were fused
    at_most: tuple[str, ...] = ()  # loops that may end earlier, with their trips
    unbounded: tuple[str, ...] = ()  # loops of unknown trips, counted once
    assumed: tuple[str, ...] = ()  # primitives without a rule, of which what they call is counted once
    uncounted: tuple[str, ...] = ()  # primitives without a rule that call nothing that can be seen

    @property
    def matmul(self) -> int:
        """Of matrix products."""
        return sum(each.flops * each.times for each in self.products if each.kind == "matmul")

    @property
    def convolution(self) -> int:
        """Of convolutions."""
        return sum(each.flops * each.times for each in self.products if each.kind == "convolution")

    @property
    def of_products(self) -> int:
        """Of matrix products and convolutions: what MFU is made of."""
        return self.matmul + self.convolution

    @property
    def product_bytes(self) -> int:
        """Operands and results of the products: traffic to memory if all else were fused into them."""
        return sum(each.bytes * each.times for each in self.products)

    @property
    def total(self) -> int:
        """All together."""
        return self.of_products + self.elementwise + self.reduction + self.other

    def __str__(self) -> str:
        kinds = ("matmul", "convolution", "elementwise", "reduction", "other")
        parts = ", ".join(
            f"{kind} {getattr(self, kind) / max(self.total, 1):.1%}" for kind in kinds if getattr(self, kind)
        )
        return f"{self.total / 1e9:,.3f} GFLOP ({parts}){''.join(f'; {note}' for note in self.notes)}"

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers has to know: what is counted in part, or not at all."""
        kinds = {
            "at most": self.at_most,
            "counted once": self.unbounded,
            "without a rule, counted once": self.assumed,
            "not counted": self.uncounted,
        }
        return [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]


def count(function: Callable[..., Any], *shapes: Any) -> Flops:
    """Counts what a call does. Nothing is compiled or computed.

    Args:
        function: pure; jitted or not. A jitted one keeps its trace: a later call with such arguments makes no other.
        shapes: its arguments: arrays, or trees of jax.ShapeDtypeStruct.
    """
    tally = FlopCounter()
    walk(trace(function, *shapes), 1, tally)
    products = [Product(*key, times) for key, times in tally.products.items() if times]
    products.sort(key=lambda product: -product.flops * product.times)
    notes: dict[str, Any] = {kind: tuple(tally.notes[kind]) for kind in NOTES}
    kinds = {kind: tally.kinds[kind] for kind in ("elementwise", "reduction", "other", "bytes")}
    return Flops(products=tuple(products), **kinds, **notes)
