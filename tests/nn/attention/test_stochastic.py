"""Hard attention: its draws, its gradients, and the positions that the decode form reads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import GumbelSoftmax, HardAttention, LatentAttention, Memory
from jaxasr.nn.attention.interface import randomness_of
from tests.nn.tiny import training_of, with_garbage

LENGTHS = np.array([4, 2, 0])
ENERGY = np.array([[0.5, -1.0, 2.0, 0.0], [1.0, 0.0, 0, 0], [0, 0, 0, 0]], np.float32)
QUERY = jnp.linspace(-1, 1, 9).reshape(3, 3)
IDS = np.array([3, 1, 4], np.uint32)


def memory_of(lengths, positions, *, ids=None, step=0):
    training = None if ids is None else randomness_of(jax.random.key(5), training_of(ids, step))
    valid_bs = jnp.asarray(np.arange(positions) < np.asarray(lengths)[:, None])
    return Memory((), jnp.zeros((len(valid_bs), positions, 1)), valid_bs, training)


def look(focus, energy_bs, query_bd, memory, variables=None):
    """Returns the output of one step."""
    variables = {"params": {"baseline": {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1)}}}
    state = focus.apply(variables, memory, method="initial_state")
    return focus.apply(variables, jnp.asarray(energy_bs), query_bd, memory, state)


def softmax(energy_s):
    return np.exp(energy_s) / np.exp(energy_s).sum()


FOCUSES = {
    "sampled": HardAttention(),
    "soft": GumbelSoftmax(0.7, form="soft"),
    "straight-through": GumbelSoftmax(0.7),
    "latent": LatentAttention(3),
}


@pytest.mark.parametrize("name", FOCUSES)
def test_the_decode_form_reads_the_likeliest_position(name):
    output = look(FOCUSES[name], ENERGY, QUERY, memory_of(LENGTHS, 4))
    np.testing.assert_array_equal(output.weights_bhs[:, 0], [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert output.draw is None


@pytest.mark.parametrize("name", FOCUSES)
def test_padding_changes_neither_what_is_drawn_nor_its_gradient(name):
    def value(energy_bs, memory):
        output = look(FOCUSES[name], energy_bs, QUERY, memory)
        mix_s = jnp.arange(1.0, 1.0 + energy_bs.shape[1])
        seen = jnp.sum(output.weights_bhs * mix_s[None, None])
        if output.draw is not None:
            seen += jnp.sum(output.draw.log_probs_bu + 2 * output.draw.entropies_bu)
        if output.mixture is not None:
            seen += jnp.sum(jnp.where(output.mixture.valid_bw, output.mixture.log_probs_bw, 0.0))
        return seen, output

    gradient = jax.value_and_grad(value, has_aux=True)
    (found, output), d_energy = gradient(jnp.asarray(ENERGY), memory_of(LENGTHS, 4, ids=IDS))
    longer = with_garbage(ENERGY[..., None], LENGTHS, extra=3)[..., 0]
    (found_longer, longer_output), d_longer = gradient(longer, memory_of(LENGTHS, 7, ids=IDS))
    np.testing.assert_allclose(found_longer, found, rtol=1e-6)
    np.testing.assert_array_equal(longer_output.weights_bhs[..., :4], output.weights_bhs)
    assert not np.any(longer_output.weights_bhs[..., 4:])
    np.testing.assert_allclose(d_longer[:, :4], d_energy, rtol=1e-5, atol=1e-6)
    assert not np.any(np.asarray(d_longer)[np.arange(7) >= LENGTHS[:, None]])
    assert np.any(d_energy)


def test_positions_are_drawn_from_the_softmax_and_each_position_of_the_transcript_draws_anew():
    many = 4_000
    memory = memory_of(np.full(many, 3), 4, ids=np.arange(many, dtype=np.uint32))
    energy_bs, query_bd = (jnp.broadcast_to(x[:1], (many, x.shape[1])) for x in (jnp.asarray(ENERGY), QUERY))
    first = look(HardAttention(), energy_bs, query_bd, memory)
    variables = {"params": {"baseline": {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1)}}}
    second = HardAttention().apply(variables, energy_bs, query_bd, memory, first.state)
    expected = softmax(ENERGY[0, :3])
    for output in (first, second):
        share = np.mean(output.weights_bhs[:, 0, :3], axis=0)
        assert np.all(np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / many))
        np.testing.assert_array_equal(np.sum(output.weights_bhs, axis=-1), 1)
        drawn = np.argmax(output.weights_bhs[:, 0], axis=-1)
        np.testing.assert_allclose(output.draw.log_probs_bu[:, 0], np.log(expected)[drawn], rtol=1e-5)
        np.testing.assert_allclose(output.draw.entropies_bu, -np.sum(expected * np.log(expected)), rtol=1e-5)
        np.testing.assert_allclose(output.draw.baselines_bu[:, 0], 1.0 + np.sum(QUERY[0]), rtol=1e-6)
    same = np.mean(np.argmax(first.weights_bhs[:, 0], -1) == np.argmax(second.weights_bhs[:, 0], -1))
    assert abs(same - np.sum(expected**2)) < 4 * np.sqrt(0.25 / many)


def test_the_baseline_does_not_train_the_query():
    def baseline(query_bd):
        return jnp.sum(look(HardAttention(), ENERGY, query_bd, memory_of(LENGTHS, 4, ids=IDS)).draw.baselines_bu)

    assert not np.any(jax.grad(baseline)(QUERY))


def test_straight_through_reads_one_position_with_the_gradient_of_the_soft_weights():
    memory = memory_of(LENGTHS, 4, ids=IDS)

    def value(energy_bs, form):
        weights = look(GumbelSoftmax(0.7, form=form), energy_bs, QUERY, memory).weights_bhs
        return jnp.sum(weights * jnp.arange(4.0)[None, None]), weights

    gradient = jax.value_and_grad(functools.partial(value), has_aux=True)
    (_, hard), d_hard = gradient(jnp.asarray(ENERGY), "straight-through")
    (_, soft), d_soft = gradient(jnp.asarray(ENERGY), "soft")
    np.testing.assert_allclose(d_hard, d_soft, rtol=1e-6)
    np.testing.assert_array_equal(np.sort(hard[:2, 0], axis=-1), [[0, 0, 0, 1]] * 2)
    np.testing.assert_array_equal(np.argmax(hard[:2, 0], -1), np.argmax(soft[:2, 0], -1))
    np.testing.assert_allclose(np.sum(soft[:, 0], -1), [1, 1, 0], rtol=1e-6)


def test_the_temperature_may_follow_a_schedule():
    falling = GumbelSoftmax(lambda step: 1.0 / (1.0 + step), form="soft")
    for step, temperature in ((0, 1.0), (9, 0.1)):
        found = look(falling, ENERGY, QUERY, memory_of(LENGTHS, 4, ids=IDS, step=step))
        still = look(GumbelSoftmax(temperature, form="soft"), ENERGY, QUERY, memory_of(LENGTHS, 4, ids=IDS))
        np.testing.assert_allclose(found.weights_bhs, still.weights_bhs, rtol=1e-5, atol=1e-7)


def test_latent_names_the_likeliest_positions_and_renormalises_over_them():
    mixture = look(LatentAttention(3), ENERGY, QUERY, memory_of(LENGTHS, 4)).mixture
    np.testing.assert_array_equal(mixture.positions_bw[0], [2, 0, 3])
    np.testing.assert_array_equal(mixture.valid_bw, [[True] * 3, [True, True, False], [False] * 3])
    np.testing.assert_allclose(np.exp(mixture.log_probs_bw[0]), softmax(ENERGY[0, [2, 0, 3]]), rtol=1e-5)
    np.testing.assert_allclose(np.exp(mixture.log_probs_bw[1, :2]), softmax(ENERGY[1, :2]), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HardAttention(0), r"HardAttention\.samples is 0; it must be 1 or more"),
        (lambda: GumbelSoftmax(0.0), r"GumbelSoftmax\.temperature is 0\.0; it must be more than 0"),
        (lambda: LatentAttention(0), r"LatentAttention\.best is 0; it must be 1 or more"),
    ],
)
def test_a_focus_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
