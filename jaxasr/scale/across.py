"""What a step asks of the devices it runs on, however many: sums over all, parameters whole, gradients split again."""

from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import jax
from jax.sharding import Mesh, NamedSharding

from jaxasr.scale.layout import FSDP
from jaxasr.scale.rules import Rules, without

Tree = TypeVar("Tree")


@runtime_checkable
class Across(Protocol):
    """Given to a step with its state and batch. Sums travel through `add` before anything is divided."""

    def add(self, sums: Tree) -> Tree:
        """Over all devices, where each sees its own examples alone."""
        ...

    def gather(self, variables: Tree) -> Tree:
        """Parameters that are to be computed with."""
        ...

    def scatter(self, gradients: Tree) -> Tree:
        """Gradients, to where their parameters are kept."""
        ...


@dataclass(frozen=True)
class Alone:
    """A step that sees the whole batch and the whole state."""

    def add(self, sums: Tree) -> Tree:
        """They are those of all examples already."""
        return sums

    def gather(self, variables: Tree) -> Tree:
        """They are whole."""
        return variables

    def scatter(self, gradients: Tree) -> Tree:
        """Their parameters are here."""
        return gradients


@dataclass(frozen=True)
class Mapped(Alone):
    """A step that runs on every device with its own examples, under pmap."""

    axis: str

    def add(self, sums: Tree) -> Tree:
        """One all-reduce of everything."""
        return jax.lax.psum(sums, self.axis)


@dataclass(frozen=True)
class Partitioned(Alone):
    """A step over a mesh, which XLA's partitioner splits. It sees the whole of everything, wherever it lies.

    Said to the partitioner: parameters are gathered over fsdp once a step, before the forward pass, and gradients are
    scattered once, after the backward pass (ZeRO, Rajbhandari 2020, stage 2 with split parameters); left to itself it would
    rather move activations.
    """

    mesh: Mesh
    rules: Rules

    def gather(self, variables: Tree) -> Tree:
        """Whole over fsdp, as the rules have it over tensor."""

        def whole(leaf: jax.Array, kept: NamedSharding) -> jax.Array:
            return jax.lax.with_sharding_constraint(leaf, NamedSharding(self.mesh, without(FSDP, kept.spec)))

        return jax.tree.map(whole, variables, self.rules.shardings(variables, self.mesh))

    def scatter(self, gradients: Tree) -> Tree:
        """As the rules have their parameters. First whole, so that it is they that are split and not the activations."""
        named = {"params": self.gather({"params": gradients})["params"]}  # by the paths that rules are written for
        return jax.lax.with_sharding_constraint(named, self.rules.shardings(named, self.mesh))["params"]


ALONE = Alone()
