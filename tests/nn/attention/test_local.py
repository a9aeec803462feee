"""Windows, local attention and forward attention against loops over steps and positions."""

import numpy as np
import pytest

from jaxasr.nn import ForwardAttention, GaussianLocal, SmoothSoftmax, WindowedFocus
from tests.nn.attention.steps import QUERY, attend_sequence
from tests.reference.local_attention import bell, forward, median, window_softmax

STEPS = 4
POSITIONS = 9


@pytest.fixture
def drawn(rng):
    """Returns energies and queries of two examples."""
    return rng.normal(size=(STEPS, 2, POSITIONS)) * 2, rng.normal(size=(STEPS, 2, QUERY))


@pytest.mark.parametrize("centre", ["median", "peak"])
def test_the_window_is_around_the_step_before(drawn, centre):
    weights_ubs, _, _ = attend_sequence(WindowedFocus(1, 3, centre), drawn[0])
    for row in range(2):
        at = 0
        for energy_s, found_s in zip(drawn[0][:, row], weights_ubs[:, row], strict=True):
            expected_s = window_softmax(energy_s, at - 1, at + 3)
            np.testing.assert_allclose(found_s, expected_s, rtol=1e-5, atol=1e-7)
            at = median(expected_s) if centre == "median" else int(np.argmax(expected_s))


def test_a_window_takes_any_focus(drawn):
    weights_ubs, _, _ = attend_sequence(WindowedFocus(1, 3, inner=SmoothSoftmax()), drawn[0][:1])
    sigmoid_s = 1 / (1 + np.exp(-drawn[0][0, 0, :4]))
    np.testing.assert_allclose(weights_ubs[0, 0], [*sigmoid_s / np.sum(sigmoid_s), 0, 0, 0, 0, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("centre", ["monotonic", "predicted", "advancing"])
def test_local_weights_are_those_of_the_paper(drawn, centre):
    energies_ubs, queries_ubd = drawn
    pace = 1.0 if centre == "predicted" else 1.5
    weights_ubs, _, variables = attend_sequence(GaussianLocal(2, 4, centre, pace), energies_ubs, queries_ubd)
    params = variables.get("params", {})
    for row in range(2):
        place = 0.0
        for u in range(STEPS):
            if centre == "monotonic":
                place = 1.5 * u
            else:
                score = np.tanh(queries_ubd[u, row] @ params["hidden"]["kernel"]) @ params["place"]["kernel"][:, 0]
            if centre == "predicted":
                place = POSITIONS / (1 + np.exp(-score))
            if centre == "advancing":
                place = place + np.log1p(np.exp(score + params["place"]["bias"][0]))
            place = min(place, POSITIONS - 1)
            expected_s = window_softmax(energies_ubs[u, row], place - 2, place + 2)
            if centre != "monotonic":
                expected_s = expected_s * bell(POSITIONS, place, 1.0)
            np.testing.assert_allclose(weights_ubs[u, row], expected_s, rtol=2e-5, atol=1e-7)


def test_an_advancing_place_begins_with_the_pace(drawn):
    _, states, _ = attend_sequence(GaussianLocal(2, 4, "advancing", pace=1.75), drawn[0])  # queries of zero
    np.testing.assert_allclose(states[-1].at_b, [STEPS * 1.75] * 2, rtol=1e-5)


def test_a_place_in_a_window_goes_on_to_the_end_of_the_utterance():
    """The window has 5 of 20 positions, but the position is limited by the length of the utterance."""
    local = GaussianLocal(1, 4, "advancing", pace=2.0)
    weights_ubs, _, _ = attend_sequence(WindowedFocus(1, 3, inner=local), np.zeros((12, 1, 20)))
    np.testing.assert_array_equal(np.argmax(weights_ubs[:, 0], axis=-1), np.minimum(2 * np.arange(1, 13), 19))


def test_forward_attention_stays_at_the_end_however_sure_it_is_to_move():
    """In float32 the agent's probability of moving is 1, so that of staying is 0."""
    agent = {"params": {"move": {"kernel": np.zeros((QUERY, 1)), "bias": np.array([40.0])}}}
    weights_ubs, _, _ = attend_sequence(ForwardAttention(1, "learned"), np.zeros((6, 1, 4)), change=lambda _: agent)
    np.testing.assert_allclose(weights_ubs[2:, 0], [[0, 0, 0, 1]] * 4, atol=1e-5)


@pytest.mark.parametrize(("reach", "agent"), [(1, "none"), (3, "none"), (1, "learned"), (3, "learned")])
def test_forward_attention_is_the_recursion_of_the_paper(drawn, reach, agent):
    energies_ubs, queries_ubd = drawn
    weights_ubs, _, variables = attend_sequence(ForwardAttention(reach, agent), energies_ubs, queries_ubd)
    for row in range(2):
        before_s = np.eye(POSITIONS)[0]
        move = None
        for u in range(STEPS):
            if agent == "learned":
                dense = variables["params"]["move"]
                move = 1 / (1 + np.exp(-(queries_ubd[u, row] @ dense["kernel"][:, 0] + dense["bias"][0])))
            before_s = forward(energies_ubs[u, row], before_s, reach, move)
            np.testing.assert_allclose(weights_ubs[u, row], before_s, rtol=2e-5, atol=1e-7)


def test_forward_attention_gets_past_what_float32_can_not_hold():
    """The softmax is zero where the prior is not: their product is zero, the sum of logarithms is finite."""
    energies_ubs = np.zeros((3, 1, 6))
    energies_ubs[:, 0, 5] = 500.0
    weights_ubs, _, _ = attend_sequence(ForwardAttention(1), energies_ubs)
    np.testing.assert_allclose(
        weights_ubs[:, 0, :4], [[0.5, 0.5, 0, 0], [0.25, 0.5, 0.25, 0], [0.125, 0.375, 0.375, 0.125]]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowedFocus(-1, 2), "left=-1 and right=2"),
        (lambda: WindowedFocus(3, 0), "it could never move on"),
        (lambda: GaussianLocal(0, 3), "reach=0"),
        (lambda: GaussianLocal(2, 3, pace=0.0), r"pace=0\.0"),
        (lambda: GaussianLocal(2, 3, pace=4.0), r"pace=4\.0 and centre='predicted', which has none"),
        (lambda: ForwardAttention(0), "reach is 0"),
    ],
)
def test_what_looks_nowhere_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
