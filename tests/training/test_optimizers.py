"""The other optimizers by their formulas, and what a plateau does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxasr.training import (
    AdaDelta,
    Adafactor,
    Adam,
    Constant,
    Lion,
    Muon,
    Newbob,
    ScheduleFree,
    Sgd,
    plateau_scale,
    update_plateau,
)
from jaxasr.training.optimizers import own_average
from jaxasr.training.plateau import new_plateau
from tests import zoo

PARAMS = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}
EVERY = [
    AdaDelta(Constant(1.0), eps=1e-3, l2=0.01, on_plateau=Newbob(0.5)),
    Adafactor(Constant(0.1), clip_norm=1.0),
    Lion(Constant(0.1), weight_decay=0.1),
    Muon(Constant(0.1), accumulate_steps=2),
    ScheduleFree(Constant(0.1), clip_norm=1.0, accumulate_steps=2, weight_decay=0.01),
]


def gradients_of(rng, count):
    return [{k: jnp.asarray(rng.normal(size=v.shape), jnp.float32) for k, v in PARAMS.items()} for _ in range(count)]


def run(optimizer, gradients, params=PARAMS):
    """Parameters and state after an update with each of `gradients`."""
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params, weight=jnp.float32(1.0))
        return optax.apply_updates(params, updates), state

    for gradient in gradients:
        params, state = step(params, state, gradient)
    return params, state


def test_lion_takes_the_sign(rng):
    gradients = gradients_of(rng, 3)
    found, _ = run(Lion(Constant(0.1), b1=0.8, b2=0.95).build(), gradients)
    theta, m = np.asarray(PARAMS["bias"], float), 0.0
    for gradient in gradients:
        g = np.asarray(gradient["bias"], float)
        theta, m = theta - 0.1 * np.sign(0.8 * m + 0.2 * g), 0.95 * m + 0.05 * g
    np.testing.assert_allclose(found["bias"], theta, rtol=1e-5)


def test_adadelta_is_algorithm_1_and_its_epsilon_falls_on_a_plateau(rng):
    gradients = gradients_of(rng, 3)
    optimizer = AdaDelta(Constant(1.0), rho=0.9, eps=1e-3, on_plateau=Newbob(0.01))
    params, state = run(optimizer.build(), gradients[:2])
    for score in (0.5, 0.5):
        state = update_plateau(state, optimizer.on_plateau, score)
    assert plateau_scale(state) == pytest.approx(0.01)
    updates, _ = optimizer.build().update(gradients[2], state, params)
    theta, eg, ex = np.asarray(PARAMS["kernel"], float), 0.0, 0.0
    for gradient, eps in zip(gradients, (1e-3, 1e-3, 1e-5), strict=True):
        g = np.asarray(gradient["kernel"], float)
        eg = 0.9 * eg + 0.1 * g**2
        dx = -np.sqrt(ex + eps) / np.sqrt(eg + eps) * g
        ex, theta = 0.9 * ex + 0.1 * dx**2, theta + dx
    np.testing.assert_allclose(params["kernel"] + updates["kernel"], theta, rtol=1e-5, atol=1e-6)


def test_adafactor_keeps_rows_and_columns_of_large_matrices():
    optimizer = Adafactor(Constant(0.1), factored_from=2)
    state = optimizer.build().init({"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)})
    sizes = sorted(leaf.size for leaf in jax.tree.leaves(state))
    assert 24 not in sizes
    assert {4, 6} <= set(sizes)


def test_muon_makes_matrices_orthogonal_and_leaves_the_rest_to_adam(rng):
    params = {"kernel": jnp.zeros((4, 6)), "embed": jnp.zeros((5, 3)), "bias": jnp.zeros(6)}
    gradient = {k: jnp.asarray(rng.normal(size=v.shape), jnp.float32) for k, v in params.items()}
    found, _ = run(Muon(Constant(1.0)).build(), [gradient], params)
    adam, _ = run(Adam(Constant(1.0)).build(), [gradient], params)
    for name in ("embed", "bias"):
        np.testing.assert_allclose(found[name], adam[name], rtol=1e-5)
    singular = np.linalg.svd(np.asarray(found["kernel"]) / (0.2 * 6**0.5), compute_uv=False)
    assert np.all((singular > 0.6) & (singular < 1.3))
    assert 0.1 < np.sqrt(np.mean(np.square(found["kernel"]))) < 0.3


def layers_apart_and_stacked(rng, place):
    """Returns three layers as parameters of their own, and the same layers stacked as the modules of the zoo stack them."""
    shapes = {"kernel": (4, 6), "bias": (6,), "filters": (3, 2)}
    layers = [
        {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()} for _ in range(3)
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    around = {"blocks": stacked} if place == "scan" else {"inner": stacked, "values": {"kernel": jnp.ones((2, 2))}}
    return {f"layer_{number}": layer for number, layer in enumerate(layers)}, around


@pytest.mark.parametrize("place", ["scan", "heads"])
@pytest.mark.parametrize(
    "optimizer",
    [
        Muon(Constant(1.0), weight_decay=0.1),
        Adafactor(Constant(1.0), clip_rms=0.1, factored_from=2),
        Adafactor(Constant(1.0), relative_rate="parameter", weight_decay=0.1),
    ],
    ids=["Muon", "Adafactor, factored", "Adafactor, relative"],
)
def test_stacked_layers_and_heads_are_trained_as_layers_apart(optimizer, place, rng):
    apart, stacked = layers_apart_and_stacked(rng, place)
    layers, (all_at_once, _) = (run(optimizer.build(), [tree], tree) for tree in (apart, stacked))
    found = all_at_once["blocks" if place == "scan" else "inner"]
    for number, name in itertools.product(range(3), ("kernel", "bias", "filters")):
        expected = layers[0][f"layer_{number}"][name]
        np.testing.assert_allclose(found[name][number], expected, rtol=1e-4, atol=1e-5)


def test_muon_orthogonalises_hidden_matrices_of_a_model_head_by_head_and_nothing_else(rng):
    decoder = zoo.DECODERS["speller, heads of location"]
    hidden, lengths, tokens = jnp.zeros((1, 3, 8)), jnp.array([3]), jnp.array([[1, 2]])
    made = jax.eval_shape(lambda: decoder.init(jax.random.key(0), hidden, lengths, tokens, training=None))["params"]
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), made)
    gradient = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), made)
    found, adam = (
        run(optimizer.build(), [gradient], params)[0] for optimizer in (Muon(Constant(1.0)), Adam(Constant(1.0)))
    )
    matrices = {"attention/inner/key/kernel", "attention/inner/query/kernel", "attention/inner/location/kernel"}
    matrices |= {"attention/values/kernel", "kernels_0/kernel", "token_gates/kernel"}
    for (path, leaf), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(adam), strict=True):
        if jax.tree_util.keystr(path, simple=True, separator="/") in matrices:
            singular = np.linalg.svd(np.asarray(leaf) / (0.2 * max(leaf.shape[-2:]) ** 0.5), compute_uv=False)
            assert np.all((singular > 0.6) & (singular < 1.3))
            matrices.remove(jax.tree_util.keystr(path, simple=True, separator="/"))
        else:
            np.testing.assert_allclose(leaf, other, rtol=1e-5)
    assert matrices == set()


def test_schedule_free_is_algorithm_1(rng):
    gradients = gradients_of(rng, 3)
    optimizer = ScheduleFree(Constant(0.1), b1=0.9, b2=0.99, eps=1e-8)
    y, state = run(optimizer.build(), gradients)
    z = x = np.asarray(PARAMS["kernel"], float)
    v = 0.0
    for t, gradient in enumerate(gradients, 1):
        g = np.asarray(gradient["kernel"], float)
        v = 0.99 * v + 0.01 * g * g
        z = z - 0.1 * g / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        x = (1 - 1 / t) * x + z / t
    np.testing.assert_allclose(y["kernel"], 0.9 * x + 0.1 * z, rtol=1e-4)
    np.testing.assert_allclose(own_average(state, y)["kernel"], x, rtol=1e-4)
    assert own_average(run(Sgd(Constant(0.1)).build(), gradients[:1])[1], y) is None


@pytest.mark.parametrize("optimizer", EVERY, ids=lambda o: type(o).__name__)
def test_each_comes_down_a_bowl(optimizer):
    built = optimizer.build()
    aim = {"kernel": jnp.full((2, 3), 1.5), "bias": jnp.zeros(3)}

    def distance(params):
        return sum(jnp.sum((params[name] - aim[name]) ** 2) for name in aim)

    @jax.jit
    def steps(params, state):
        def one(_, carried):
            params, state = carried
            updates, state = built.update(jax.grad(distance)(params), state, params, weight=jnp.float32(1.0))
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 60, one, (params, state))

    params, _ = steps(PARAMS, built.init(PARAMS))
    assert distance(params) < 0.97 * distance(PARAMS)


def test_the_penalty_is_in_the_gradient_before_it_is_clipped():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    found, _ = run(Sgd(Constant(0.5), l2=0.2).build(), [zero])
    np.testing.assert_allclose(found["kernel"], PARAMS["kernel"] * (1 - 0.5 * 0.2), rtol=1e-6)
    np.testing.assert_array_equal(found["bias"], PARAMS["bias"])
    clipped, _ = run(Sgd(Constant(1.0), l2=1.0, clip_norm=1.0).build(), [zero])
    np.testing.assert_allclose(np.linalg.norm(clipped["kernel"] - PARAMS["kernel"]), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "scores", "scales"),
    [
        (Newbob(0.5), [0.9, 0.8, 0.8, 0.7, 0.71], [1, 1, 0.5, 0.5, 0.25]),
        (Newbob(0.5, threshold=0.1), [1.0, 0.95, 0.85], [1, 0.5, 0.5]),
        (Newbob(0.5, patience=2), [0.9, 0.9, 0.9, 0.9, 0.9], [1, 1, 0.5, 0.5, 0.25]),
        (Newbob(0.1, least=0.05), [0.9, 0.9, 0.9, 0.9], [1, 0.1, 0.05, 0.05]),
        (Newbob(0.5), [float("nan"), 0.9, float("inf")], [0.5, 0.5, 0.25]),
    ],
)
def test_newbob_by_hand(rule, scores, scales):
    plateau, found = new_plateau(), []
    for score in scores:
        plateau = rule.update(plateau, score)
        found.append(float(plateau.scale))
    assert found == pytest.approx(scales)


def test_a_plateau_scales_the_rate_and_survives_accumulation():
    rule = Newbob(0.5)
    optimizer = Sgd(Constant(1.0), on_plateau=rule, accumulate_steps=2).build()
    state = optimizer.init(PARAMS)
    for score in (0.3, 0.4):
        state = update_plateau(state, rule, score)
    assert plateau_scale(state) == 0.5
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    for _ in range(2):
        updates, state = optimizer.update(ones, state, PARAMS, weight=jnp.float32(1.0))
    np.testing.assert_allclose(updates["bias"], -0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lion(Constant(0.1), b1=1.0), r"Lion has b1=1\.0; it must be in \[0, 1\)"),
        (lambda: Adafactor(Constant(0.1), clip_rms=0.0), r"Adafactor\.clip_rms is 0\.0; it must be more than 0"),
        (lambda: AdaDelta(Constant(1.0), eps=0.0), r"AdaDelta\.eps is 0\.0"),
        (lambda: Adam(Constant(0.1), l2=-1.0), r"Adam has l2=-1\.0; it must be 0 or more"),
        (lambda: ScheduleFree(Constant(0.1), b1=0.0), "needs b1 > 0 and no plateau"),
        (lambda: Newbob(1.0), r"Newbob has factor=1\.0"),
    ],
)
def test_an_optimizer_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
