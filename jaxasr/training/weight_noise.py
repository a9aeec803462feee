"""Variational weight noise: Gaussian noise on the parameters in the forward pass of training."""

import zlib
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Int

from jaxasr.parameters import decays
from jaxasr.shapes import PRNGKey
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class WeightNoise:
    """A Gaussian noise on every matrix, table and filter in the forward pass of training, drawn at each step.

    Biases and norms have none (`parameters.decays`). The noise is the same for all examples and devices. SpecAugment's
    models use deviation 0.075 from step 20,000 on.

    Source: Graves 2011, Practical Variational Inference for Neural Networks, with a fixed deviation; Park et al. 2019
    (1904.08779), section 3.2.
    """

    deviation: float
    from_step: int = 0

    def __post_init__(self):
        check_numbers(self)
        if not self.deviation > 0.0 or self.from_step < 0:
            raise ValueError(
                f"WeightNoise has deviation={self.deviation}, from_step={self.from_step}; it needs deviation > 0, "
                "from_step >= 0"
            )

    def __call__(self, params: Any, step: Int[Array, ""], key: PRNGKey) -> Any:
        """Returns the noisy parameters of this step; gradients pass to the parameters unchanged."""

        def noisy(path: Any, has_noise: bool, leaf: Array) -> Array:
            if not has_noise:
                return leaf
            own = jax.random.fold_in(key, zlib.crc32(jax.tree_util.keystr(path).encode()))
            return leaf + (self.deviation * jax.random.normal(own, leaf.shape)).astype(leaf.dtype)

        def all_noisy(params: Any) -> Any:
            return jax.tree_util.tree_map_with_path(noisy, decays(params), params)

        return jax.lax.cond(step >= self.from_step, all_noisy, lambda params: params, params)
