"""Parameters that are not trained, or more slowly than others, chosen by their paths."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxasr.training.path_patterns import check_patterns, first_matches

ALL_BUT_ADAPTERS = r"^(?!.*/low_rank_)"  # a pattern: all parameters but those of `nn.LowRank`


@dataclass(frozen=True)
class Freeze:
    """A choice of parameters that keep their values in training: those whose path a pattern finds (`re.search`).

    A path has the names of the modules, as in "encoder/block_0/attention/output/kernel". Frozen parameters have no gradient,
    so they count neither in its norm nor in clipping, and weight decay does not change them. The optimizer keeps no state for
    them, unless it averages all parameters (`ScheduleFree`). Nothing is computed for the gradients of layers below which all
    is frozen.

    Raises:
        ValueError: a pattern is no regular expression.
    """

    patterns: tuple[str, ...] = ()  # such as ("^encoder/",); none: all parameters are trained

    def __post_init__(self):
        check_patterns("Freeze", self.patterns)

    def mask(self, params: Any) -> Any:
        """Returns True for each frozen parameter, in a tree of the same structure.

        Raises:
            ValueError: a pattern finds no parameter, or nothing is left to train.
        """
        frozen = jax.tree.map(lambda index: index >= 0, first_matches("Freeze", self.patterns, params))
        if all(jax.tree.leaves(frozen)):
            raise ValueError(
                f"Freeze has the patterns {list(self.patterns)}, which freeze all {len(jax.tree.leaves(frozen))} parameters"
            )
        return frozen

    def without_state(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
        """Returns the optimizer of the other parameters: it neither reads the frozen ones nor has a state for them."""
        if not self.patterns:
            return optax.with_extra_args_support(optimizer)
        return optax.masked(optimizer, lambda params: jax.tree.map(lambda frozen: not frozen, self.mask(params)))

    def without_gradients(self, params: Any) -> Any:
        """Returns the parameters, of which the frozen ones have the gradient zero."""
        if not self.patterns:
            return params
        return jax.tree.map(
            lambda frozen, leaf: jax.lax.stop_gradient(leaf) if frozen else leaf, self.mask(params), params
        )

    def without_updates(self, updates: Any) -> Any:
        """Returns the updates of an optimizer, zero for the frozen parameters."""
        if not self.patterns:
            return updates
        return jax.tree.map(lambda frozen, leaf: jnp.zeros_like(leaf) if frozen else leaf, self.mask(updates), updates)


MOST_FACTOR = 1e6


@dataclass(frozen=True)
class PartRates:
    """The learning rates of parts of a model, as factors of the schedule's: those of the first pattern that finds a path.

    Parameters that no pattern finds have the factor 1. Decoupled weight decay is scaled with the rate; clipping, and the
    norm of the gradient, are those of all parameters before.

    Raises:
        ValueError: a pattern is no regular expression, or a factor is not in (0, 1e6].
    """

    factors: tuple[tuple[str, float], ...] = ()  # such as (("^encoder/", 0.1),)

    def __post_init__(self):
        check_patterns("PartRates", [pattern for pattern, _ in self.factors])
        wrong = [pair for pair in self.factors if not 0.0 < pair[1] <= MOST_FACTOR]
        if wrong:
            raise ValueError(
                f"PartRates has the factors {wrong}; they must be above 0 and at most {MOST_FACTOR:g} (Freeze keeps "
                "parameters as they are)"
            )

    def scaled(self, updates: Any) -> Any:
        """Returns the updates of an optimizer, multiplied by the factors.

        Raises:
            ValueError: a pattern finds no parameter.
        """
        if not self.factors:
            return updates
        first = first_matches("PartRates", [pattern for pattern, _ in self.factors], updates)
        return jax.tree.map(
            lambda index, leaf: leaf if index < 0 else leaf * jnp.asarray(self.factors[index][1], leaf.dtype),
            first,
            updates,
        )
