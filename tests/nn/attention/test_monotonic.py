"""Monotonic attention and MoChA: the training form against the recurrence, the decode form against the paper's loop."""

import jax
import numpy as np
import pytest

from jaxasr.nn import AdditiveAttention, MoChA, Monotonic, SmoothSoftmax, Softmax
from tests.nn.attention.steps import attend_sequence
from tests.reference import monotonic as reference


@pytest.fixture
def energies_ubs(rng):
    return rng.normal(size=(5, 2, 8))


def test_the_training_form_is_the_expectation_with_the_learned_bias(energies_ubs):
    def shifted(variables):
        return jax.tree.map(lambda r: r + 0.25, variables)

    weights_ubs, _, variables = attend_sequence(Monotonic(noise=0.0, bias=-0.5), energies_ubs, step=0, change=shifted)
    assert variables["params"]["offset"] == -0.25
    for row in range(2):
        before_s = np.eye(8)[0]
        for energy_s, found_s in zip(energies_ubs[:, row], weights_ubs[:, row], strict=True):
            before_s = reference.alignment(energy_s - 0.25, before_s)
            np.testing.assert_allclose(found_s, before_s, rtol=1e-4, atol=1e-7)


def test_the_decode_form_is_the_loop_of_the_paper(energies_ubs):
    weights_ubs, states, _ = attend_sequence(Monotonic(bias=-0.5), energies_ubs)
    for row in range(2):
        expected_us = reference.read_hard(energies_ubs[:, row] - 0.5)
        np.testing.assert_array_equal(weights_ubs[:, row], expected_us)
        read = np.flatnonzero(np.any(expected_us, axis=1))
        assert states[-1][row] == np.argmax(expected_us[read[-1]])


def test_noise_is_drawn_in_training_for_each_token_and_is_that_of_the_example(energies_ubs):
    same_ubs = np.broadcast_to(energies_ubs[:1, :1], energies_ubs.shape)
    weights_ubs, _, _ = attend_sequence(Monotonic(bias=0.0), same_ubs, step=0)
    quiet_ubs, _, _ = attend_sequence(Monotonic(bias=0.0, noise=0.0), same_ubs, step=0)
    np.testing.assert_array_equal(weights_ubs[:, 0], weights_ubs[:, 1])  # one key for both examples
    assert not np.allclose(weights_ubs[0], quiet_ubs[0], atol=1e-3)
    shorter_ubs, _, _ = attend_sequence(Monotonic(bias=0.0), same_ubs[..., :5], step=0)
    np.testing.assert_allclose(shorter_ubs, weights_ubs[..., :5], rtol=1e-5)


class QueryEnergies(AdditiveAttention):
    """An attention without parameters whose energies are the query."""

    def setup(self):
        """Creates no parameters."""

    def keys(self, hidden_bsd):
        return ()

    def energies(self, query_bd, memory, prev_state):
        return query_bd


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_chunks_stand_behind_the_stops_in_both_forms(rng, energies_ubs, chunk):
    chunks_ubs = rng.normal(size=energies_ubs.shape)
    focus = MoChA(QueryEnergies(1), chunk, Monotonic(noise=0.0, bias=0.0))
    trained_ubs, _, _ = attend_sequence(focus, energies_ubs, chunks_ubs, step=0)
    decoded_ubs, _, _ = attend_sequence(focus, energies_ubs, chunks_ubs)
    for row in range(2):
        before_s = np.eye(8)[0]
        for energy_s, chunk_s, found_s in zip(
            energies_ubs[:, row], chunks_ubs[:, row], trained_ubs[:, row], strict=True
        ):
            before_s = reference.alignment(energy_s, before_s)
            np.testing.assert_allclose(found_s, reference.chunk(before_s, chunk_s, chunk), rtol=1e-4, atol=1e-7)
        expected_us = reference.read_hard(energies_ubs[:, row], chunks_ubs[:, row], chunk)
        np.testing.assert_allclose(decoded_ubs[:, row], expected_us, rtol=1e-5, atol=1e-7)


def test_with_sure_energies_both_forms_are_the_same(energies_ubs):
    sure_ubs = np.where(energies_ubs > 0.5, 60.0, -60.0)
    sure_ubs[..., -1] = 60.0
    forms = [attend_sequence(Monotonic(noise=0.0, bias=0.0), sure_ubs, step=step)[0] for step in (0, None)]
    np.testing.assert_allclose(*forms, atol=1e-6)


def test_what_can_not_stop_is_refused():
    with pytest.raises(ValueError, match=r"noise is -1\.0"):
        Monotonic(noise=-1.0)
    with pytest.raises(ValueError, match="chunk is -2"):
        MoChA(AdditiveAttention(2), -2)


@pytest.mark.parametrize("focus", [SmoothSoftmax(), Softmax(0.5), Softmax(top=2), Softmax(decode_temperature=2.0)])
def test_a_chunk_has_no_focus_of_its_own(focus):
    with pytest.raises(ValueError, match=rf"energies\.focus is a {type(focus).__name__} that .* would not be used"):
        MoChA(AdditiveAttention(2, focus=focus), 2)
