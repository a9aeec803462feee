"""Optimizers beside Adam and SGD: Lion, Adafactor, Muon, AdaDelta and schedule-free Adam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import contrib

from jaxasr.parameters import decays, kinds, stacked_axes
from jaxasr.training.optimizer import Optimizer, accumulate
from jaxasr.training.plateau import Plateau, new_plateau
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Lion(Optimizer):
    """The Lion optimizer: the sign of an interpolation between gradient and momentum.

    It needs a rate 3 to 10 times lower than Adam's, and a decay higher by the same factor.

    Source: Chen et al. 2023 (arXiv:2302.06675), program 1.
    """

    b1: float = 0.9
    b2: float = 0.99

    def __post_init__(self):
        super().__post_init__()
        _shares(self, "b1", "b2")

    def scaling(self) -> optax.GradientTransformation:
        """Returns the sign of the interpolation."""
        return optax.scale_by_lion(b1=self.b1, b2=self.b2)


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """The Adafactor optimizer: second moments by rows and columns, updates clipped by root mean square, no momentum.

    Layers in a scan, and heads of a `MultiHead`, are parameters of their own.

    Source: Shazeer and Stern 2018 (arXiv:1804.04235), algorithms 4 and 5 with the decay 1 - t^-0.8. Its rate is relative to
    the parameter's size only with relative_rate="parameter".
    """

    clip_rms: float = 1.0
    relative_rate: Literal["none", "parameter"] = "none"
    factored_from: int = 128  # matrices with both sides at least this long are factored

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, positive=("clip_rms", "factored_from"))

    def scaling(self) -> optax.GradientTransformation:
        """Returns the gradient over the root of its factored second moment, clipped."""
        parts = [
            optax.scale_by_factored_rms(min_dim_size_to_factor=self.factored_from),
            optax.clip_by_block_rms(self.clip_rms),
            *([optax.scale_by_param_block_rms()] if self.relative_rate == "parameter" else []),
        ]
        return _by_layer(optax.chain(*parts))


@dataclass(frozen=True)
class Muon(Optimizer):
    """The Muon optimizer: orthogonalised momentum for matrices between hidden units, Adam for everything else.

    Readouts, CTC heads, embeddings, filters of convolutions, biases and norms are with Adam (`parameters.kinds`). Layers in
    a scan and heads of a `MultiHead` are matrices of their own. Gates of a recurrent layer, and query, key and value of a
    self-attention, are one matrix, as they are one parameter. The update of a matrix is scaled to the root mean square of an
    Adam update, so one rate fits both.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale 0.2 sqrt(max(rows, columns)): Liu et al. 2025
    (arXiv:2502.16982), equation 4.
    """

    momentum: float = 0.95
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _shares(self, "momentum", "b1", "b2")
        check_numbers(self, positive=("eps",))

    def scaling(self) -> optax.GradientTransformation:
        """Returns Newton-Schulz on the momentum of matrices, and Adam elsewhere."""
        newton_schulz = contrib.scale_by_muon(beta=self.momentum, weight_dimension_numbers=_rows_and_columns)
        orthogonal = optax.chain(newton_schulz, optax.stateless(_like_adam))
        adam = optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)
        return optax.partition({"matrix": orthogonal, "other": adam}, _matrices)


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """The AdaDelta optimizer: updates in the units of the parameters, from moving squares; the rate is usually 1.

    `on_plateau` lowers epsilon instead of the rate.

    Source: Zeiler 2012 (arXiv:1212.5701), algorithm 1; epsilon's decay: ESPnet's recipes (rho 0.95, eps 1e-8, factor 0.01)
    after Watanabe et al. 2017, section IV.
    """

    rho: float = 0.95
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _shares(self, "rho")
        check_numbers(self, positive=("eps",))

    def scaling(self) -> optax.GradientTransformation:
        """Returns sqrt(E[dx^2] + eps) / sqrt(E[g^2] + eps) * g."""

        def init(params: Any) -> AdaDeltaState:
            zeros = jax.tree.map(lambda p: jnp.zeros_like(p, jnp.float32), params)
            return AdaDeltaState(zeros, jax.tree.map(jnp.copy, zeros), new_plateau())

        def moving(mean: Array, x: Array) -> Array:
            return self.rho * mean + (1.0 - self.rho) * jnp.square(x.astype(jnp.float32))

        def update(gradients: Any, state: AdaDeltaState, params: Any = None) -> tuple[Any, AdaDeltaState]:
            del params
            eps = self.eps * state.plateau.scale
            squares = jax.tree.map(moving, state.gradients, gradients)
            updates = jax.tree.map(
                lambda g, dx, e: (jnp.sqrt(dx + eps) / jnp.sqrt(e + eps) * g).astype(g.dtype),
                gradients,
                state.updates,
                squares,
            )
            return updates, AdaDeltaState(squares, jax.tree.map(moving, state.updates, updates), state.plateau)

        return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]

    def after_rate(self) -> list[optax.GradientTransformation]:
        """Returns no transformation, because the plateau acts on epsilon."""
        return []


class AdaDeltaState(NamedTuple):
    """The moving squares, and the plateau that scales epsilon."""

    gradients: Any
    updates: Any
    plateau: Plateau


@dataclass(frozen=True)
class ScheduleFree(Optimizer):
    """The schedule-free Adam optimizer, which evaluates an average of its own and needs neither decay nor a last step.

    Gradients are taken at y, between the iterate z and the average x. `params` of the state are y, `ema_params` are x. The
    schedule should ramp up and stay constant.

    Source: Defazio et al. 2024 (arXiv:2405.15682), algorithm 1.
    """

    b1: float = 0.9  # share of the average in y
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _shares(self, "b1", "b2")
        check_numbers(self, positive=("eps",))
        if self.b1 == 0.0 or self.on_plateau is not None:
            raise ValueError(
                f"ScheduleFree has b1={self.b1}, on_plateau={self.on_plateau}; it needs b1 > 0 and no plateau"
            )

    @property
    def keeps_average(self) -> bool:
        return True

    def scaling(self) -> optax.GradientTransformation:
        """Returns the gradient over the root of Adam's second moment."""
        return optax.scale_by_adam(b1=0.0, b2=self.b2, eps=self.eps)

    def build(self) -> optax.GradientTransformationExtraArgs:
        """Builds the chain of z's updates with the average around it."""
        inner = [self.scaling()]
        if self.weight_decay > 0.0:
            inner.append(optax.add_decayed_weights(self.weight_decay, mask=decays))
        inner.append(optax.scale_by_learning_rate(self.schedule))  # pyright: ignore[reportArgumentType]
        around = contrib.schedule_free(optax.chain(*inner), self.schedule, b1=self.b1)  # pyright: ignore[reportArgumentType]
        return accumulate(optax.chain(*self.before_scaling(), around), every=self.accumulate_steps)


def own_average(state: Any, params: Any) -> Any | None:
    """Returns the optimizer's own average of the parameters; None if it keeps none."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, contrib.ScheduleFreeState))
    found = [node for node in nodes if isinstance(node, contrib.ScheduleFreeState)]
    return contrib.schedule_free_eval_params(found[0], params) if found else None


def _by_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies `inner` to each parameter alone, and to each layer or head of a stacked one."""

    def init(params: Any) -> Any:
        return jax.tree.map(lambda axes, param: _over_axes(inner.init, axes)(param), stacked_axes(params), params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def one(axes: int, *leaves: Any) -> tuple[Array, Any]:
            return _over_axes(inner.update, axes)(*leaves)

        structure = jax.tree.structure(updates)
        pairs = structure.flatten_up_to(jax.tree.map(one, stacked_axes(updates), updates, state, params))
        new_updates, new_state = (structure.unflatten(items) for items in zip(*pairs, strict=True))
        return new_updates, new_state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _over_axes(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """Returns `function` mapped over that many leading axes of its arguments."""
    for _ in range(axes):
        function = jax.vmap(function)
    return function


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda kind: "matrix" if kind == "matrix" else "other", kinds(params))


def _rows_and_columns(updates: Any) -> Any:
    return jax.tree.map(lambda _: contrib.MuonDimensionNumbers(-2, -1), updates)


def _like_adam(updates: Any, params: Any = None) -> Any:
    """Scales orthogonal updates to Adam's root mean square of about 0.2; that of m x n ones is 1 / sqrt(max(m, n))."""
    del params
    return jax.tree.map(lambda u: u * (0.2 * max(u.shape[-2:]) ** 0.5), updates)


def _shares(optimizer: Optimizer, *names: str) -> None:
    for name in names:
        value = getattr(optimizer, name)
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{type(optimizer).__name__} has {name}={value}; it must be in [0, 1)")
