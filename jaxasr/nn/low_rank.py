"""Low-rank adapters: small trainable matrices beside frozen layers (LoRA).

Source: Hu et al. 2021 (2106.09685), section 4.1: y = x W + (alpha / rank) x A B, where B begins as zero.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.nn.layers import Dense
from jaxasr.ops.products import times
from jaxasr.tree import check_numbers

A = "low_rank_a"  # the parameters of an adapter, beside the kernel of its layer
B = "low_rank_b"


@dataclass(frozen=True)
class LowRank:
    """A choice of linear layers that get an adapter: those whose path a pattern finds (`re.search`).

    A path has the names of the modules, as in "encoder/block_0/attention/query_key_value". To train the adapters alone,
    freeze the rest: `training.Freeze((training.ALL_BUT_ADAPTERS,))`. The adapters of layers in a scan are stacked as well.

    Raises:
        ValueError: a pattern is no regular expression, there is none, or a number is not possible.
    """

    patterns: tuple[str, ...]  # such as ("attention",)
    rank: int = 8
    alpha: float = 16.0  # the product of the two matrices is multiplied by alpha / rank

    def __post_init__(self) -> None:
        check_numbers(self, positive=("rank", "alpha"))
        if not self.patterns:
            raise ValueError("LowRank has no patterns: name the layers that get an adapter, such as ('attention',)")
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"LowRank has the pattern {pattern!r}, which is no regular expression: {error}"
                ) from error

    @property
    def scale(self) -> float:
        """The factor of the product of the two matrices."""
        return self.alpha / self.rank

    def finds(self, path: str) -> bool:
        """Returns True if the layer of this path gets an adapter."""
        return any(re.search(pattern, path) for pattern in self.patterns)

    def check(self, params: Any) -> None:
        """Checks that every pattern has found a layer.

        Raises:
            ValueError: a pattern has found none.
        """
        leaves, _ = jax.tree_util.tree_flatten_with_path(params)
        paths = [jax.tree_util.keystr(path, simple=True, separator="/").rpartition("/") for path, _ in leaves]
        adapted = [layer for layer, _, name in paths if name == A]
        unused = [pattern for pattern in self.patterns if not any(re.search(pattern, layer) for layer in adapted)]
        if unused:
            layers = sorted({layer for layer, _, name in paths if name == "kernel"})
            raise ValueError(
                f"LowRank has the patterns {unused}, which find no linear layer; there are {', '.join(layers[:8])} and "
                f"{max(0, len(layers) - 8)} more with a kernel"
            )


@contextlib.contextmanager
def adapted(adapters: LowRank | None) -> Iterator[None]:
    """Adds the adapters to the linear layers of all modules that are applied inside."""
    if adapters is None:
        yield
        return

    def with_adapter(
        layer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: nn.module.InterceptorContext
    ) -> Any:
        y = layer(*args, **kwargs)
        module = context.module
        if not isinstance(module, Dense) or context.method_name != "__call__":
            return y
        return _plus_product(module, args[0], y, adapters) if adapters.finds("/".join(module.path)) else y

    with nn.intercept_methods(with_adapter):
        yield


def _plus_product(module: Dense, x: Any, y: Any, adapters: LowRank) -> Any:
    a_dr = module.param(A, nn.initializers.lecun_normal(), (x.shape[-1], adapters.rank), jnp.float32)
    b_rm = module.param(B, nn.initializers.zeros, (adapters.rank, module.features), jnp.float32)
    return y + times((x @ a_dr.astype(x.dtype)) @ b_rm.astype(x.dtype), adapters.scale).astype(y.dtype)


def merged(flat: Mapping[str, np.ndarray], adapters: LowRank) -> dict[str, np.ndarray]:
    """Returns parameters by path in which each adapter is part of its layer's kernel: W + (alpha / rank) A B.

    The sum is computed in float64 and rounded once to the kernel's type.
    """
    kept = {path: leaf for path, leaf in flat.items() if path.rpartition("/")[2] not in (A, B)}
    for path, a_dr in flat.items():
        layer, _, name = path.rpartition("/")
        if name != A:
            continue
        kernel_dm = flat[f"{layer}/kernel"]
        product_dm = np.asarray(a_dr, np.float64) @ np.asarray(flat[f"{layer}/{B}"], np.float64)
        kept[f"{layer}/kernel"] = (kernel_dm + adapters.scale * product_dm).astype(kernel_dm.dtype)
    return kept
