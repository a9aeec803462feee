"""What an objective may add: the score-function gradient against the exact sum over positions, and the rest by hand."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import HardAttention, Memory
from jaxasr.nn.attention.interface import randomness_of
from jaxasr.ops.attention.mixture import masked_log_softmax
from jaxasr.records import Batch, Draws, Outputs
from jaxasr.training import CtcSynchronous, Distill, GuidedAttentionLoss, Objective, QuantityLoss, Reinforce
from tests.nn.tiny import training_of

POSITIONS, STEPS, VOCAB = 2, 2, 3


def batch_of(tokens, lengths, valid=None):
    b = len(tokens)
    return Batch(
        wave_bn=np.zeros((b, 4), np.int16),
        sample_lengths_b=np.full(b, 4, np.int32),
        tokens_bu=jnp.asarray(tokens, jnp.int32),
        token_lengths_b=jnp.asarray(lengths, jnp.int32),
        ids_b=np.arange(b, dtype=np.uint32),
        valid_b=np.ones(b, bool) if valid is None else np.array(valid),
    )


class Toy:
    """A model of two steps and two positions, where what is read first decides what is likely to be read and said next.

    theta: energies [first position, s] of the first step (its row 0) and of the second, and logits by both positions.
    """

    def __init__(self, rng):
        self.theta = {
            "first": jnp.asarray(rng.normal(size=(1, POSITIONS)), jnp.float32),
            "second": jnp.asarray(rng.normal(size=(POSITIONS, POSITIONS)), jnp.float32),
            "say_first": jnp.asarray(rng.normal(size=(POSITIONS, VOCAB)), jnp.float32),
            "say_second": jnp.asarray(rng.normal(size=(POSITIONS, POSITIONS, VOCAB)), jnp.float32),
            "ctc": jnp.asarray(rng.normal(size=(1, POSITIONS, VOCAB)), jnp.float32),
        }

    def outputs(self, theta, read, baselines):
        """Of rows x, with the positions that were read [x, 2]."""
        valid = jnp.ones((1, POSITIONS), bool)
        first_x, second_x = read[:, 0], read[:, 1]
        rows = len(read)
        a_first = masked_log_softmax(theta["first"], valid)[jnp.zeros(rows, int), first_x]
        a_second = masked_log_softmax(theta["second"], jnp.ones((POSITIONS, POSITIONS), bool))
        probs = jax.nn.softmax(theta["second"])
        entropies = jnp.stack(
            [
                jnp.broadcast_to(
                    -jnp.sum(jax.nn.softmax(theta["first"]) * jax.nn.log_softmax(theta["first"])), (rows,)
                ),
                -jnp.sum(probs * a_second, axis=1)[first_x],
            ],
            axis=1,
        )
        log_probs = jnp.stack([a_first, a_second[first_x, second_x]], axis=1)
        logits = jnp.stack([theta["say_first"][first_x], theta["say_second"][first_x, second_x]], axis=1)
        draws = Draws(log_probs, jnp.broadcast_to(baselines, log_probs.shape), entropies)
        weights = jax.nn.one_hot(read, POSITIONS)[:, :, None]
        return Outputs(logits, theta["ctc"], jnp.full(1, POSITIONS), weights, draws)

    def exact(self, theta, objective):
        """The expected objective: the sum over all positions that may be read."""
        total = 0.0
        for read in itertools.product(range(POSITIONS), repeat=STEPS):
            outputs = self.outputs(theta, jnp.array([read]), jnp.zeros((1, STEPS)))
            loss = objective(outputs, BATCH)["loss"].value
            total += jnp.exp(jnp.sum(outputs.draws.log_probs_bu)) * loss
        return total


BATCH = batch_of([[2]], [1])


@functools.cache
def gradients(term, objective):
    """Jitted: the gradients of the surrogate loss by draw, how probable each draw is, and that of the expected loss."""
    toy = Toy(np.random.default_rng(0))

    def by_draw(theta, read, baselines):
        outputs = toy.outputs(theta, read, baselines)
        probability = jnp.exp(jnp.sum(outputs.draws.log_probs_bu))
        return replace(objective, auxiliary=(term,))(outputs, BATCH)["loss"].value, probability

    def both(theta, reads, baselines):
        one = jax.grad(by_draw, has_aux=True)
        by_draws, probabilities = jax.vmap(one, in_axes=(None, 0, None))(theta, reads[:, None], baselines)
        return by_draws, probabilities, jax.grad(functools.partial(toy.exact, objective=objective))(theta)

    return functools.partial(jax.jit(both), toy.theta)


def mean_over_all_draws(term, objective, baselines):
    reads = jnp.array(list(itertools.product(range(POSITIONS), repeat=STEPS)))
    by_draws, probabilities, exact = gradients(term, objective)(reads, baselines)
    np.testing.assert_allclose(np.sum(probabilities), 1.0, rtol=1e-5)
    return jax.tree.map(lambda g: np.tensordot(probabilities, g, 1), by_draws), exact


@pytest.mark.parametrize(
    "objective",
    [
        Objective(),
        Objective(label_smoothing=0.2),
        Objective(ctc_weight=0.5),
        Objective(ctc_weight=0.3, label_smoothing=0.1, prior=(0.5, 0.3, 0.2), base_weight=0.2),
    ],
    ids=lambda objective: f"smoothing {objective.label_smoothing}, {objective.base_weight} CTC {objective.ctc_weight}",
)
@pytest.mark.parametrize("baselines", [(0.0, 0.0), (0.7, -1.3)])
def test_the_expected_gradient_is_that_of_the_exact_sum_over_positions(objective, baselines):
    """Enumerates all draws: whatever the baselines are, their mean gradient is that of the expected objective."""
    mean, exact = mean_over_all_draws(Reinforce(baseline=0.0), objective, jnp.array([baselines]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), mean, exact)
    assert all(np.abs(leaf).max() > 1e-3 for name, leaf in exact.items() if objective.ctc_weight > 0 or name != "ctc")


def test_credit_for_the_token_alone_is_biased_where_positions_move_the_state():
    """The witness for the test above."""
    mean, exact = mean_over_all_draws(Reinforce(baseline=0.0, credit="token"), Objective(), jnp.zeros((1, 2)))
    assert np.abs(mean["first"] - exact["first"]).max() > 0.01


def test_the_mean_gradient_of_what_sampled_draws_is_within_its_standard_error_of_the_exact_one():
    toy, many = Toy(np.random.default_rng(0)), 4_000
    focus = HardAttention()
    params = {"params": {"baseline": {"kernel": jnp.zeros((1, 1)), "bias": jnp.full(1, -1.5)}}}
    training = randomness_of(jax.random.key(3), training_of(np.arange(many, dtype=np.uint32)))
    memory = Memory((), jnp.zeros((many, POSITIONS, 1)), jnp.ones((many, POSITIONS), bool), training)
    query_bd = jnp.zeros((many, 1))

    @jax.jit
    def draw(theta):
        state = focus.apply(params, memory, method="initial_state")
        first = focus.apply(params, jnp.repeat(theta["first"], many, 0), query_bd, memory, state)
        read_first = jnp.argmax(first.weights_bhs[:, 0], axis=-1)
        second = focus.apply(params, theta["second"][read_first], query_bd, memory, first.state)
        return jnp.stack([read_first, jnp.argmax(second.weights_bhs[:, 0], axis=-1)], 1), first.draw.baselines_bu[0]

    reads, baseline = draw(toy.theta)
    by_draw, _, exact = gradients(Reinforce(), Objective())(reads, jnp.broadcast_to(baseline[None], (1, STEPS)))

    def close(samples, expected):
        error = np.std(samples, axis=0) / many**0.5
        assert np.all(np.abs(np.mean(samples, axis=0) - expected) < 4 * error + 1e-6)
        assert np.any(error > 0)

    for name in set(exact) - {"ctc"}:
        close(by_draw[name], exact[name])


def test_several_samples_an_example_count_as_their_mean(rng):
    toy = Toy(rng)
    reads = jnp.array([[0, 1], [1, 0], [1, 1]])
    objective = Objective(label_smoothing=0.1, auxiliary=(Reinforce(entropy=0.3),))
    sums_of = jax.jit(lambda reads: objective(toy.outputs(toy.theta, reads, jnp.array([[0.3, 0.1]])), BATCH))
    together, alone = sums_of(reads), [sums_of(read[None]) for read in reads]
    assert set(together) == {
        "loss",
        "cross_entropy",
        "accuracy",
        "reinforce",
        "baseline_square_error",
        "drawn_entropy",
    }
    for name, found in together.items():
        np.testing.assert_allclose(found.value, np.mean([each[name].value for each in alone]), rtol=1e-5)
        assert found.weight == 2


def test_reinforce_by_hand(rng):
    toy = Toy(rng)
    outputs = jax.jit(toy.outputs)(toy.theta, jnp.array([[1, 0]]), jnp.array([[-2.0, -0.5]]))
    sums = jax.jit(Objective(auxiliary=(Reinforce(0.5, baseline=0.3, entropy=0.1),)).__call__)(outputs, BATCH)
    log_p = np.asarray(jax.nn.log_softmax(outputs.logits_buv))[0, [0, 1], [2, 0]]
    errors = np.array([log_p.sum() + 2.0, log_p[1] + 0.5])
    drawn, entropies = (np.asarray(leaf[0]) for leaf in (outputs.draws.log_probs_bu, outputs.draws.entropies_bu))
    term = (-errors * drawn + 0.3 * errors**2 - 0.1 * entropies).sum()
    np.testing.assert_allclose(sums["reinforce"].value, term, rtol=1e-5)
    np.testing.assert_allclose(sums["loss"].value, -log_p.sum() + 0.5 * term, rtol=1e-5)
    np.testing.assert_allclose(sums["baseline_square_error"].mean, np.mean(errors**2), rtol=1e-5)
    beside = jax.jit(
        Objective(ctc_weight=0.4, base_weight=0.5, auxiliary=(Reinforce(0.5, baseline=0.3, entropy=0.1),)).__call__
    )(outputs, BATCH)
    np.testing.assert_allclose(beside["reinforce"].value, 0.5 * 0.6 * term, rtol=1e-5)


def weighted_outputs(rng, rows=3, tokens=3, positions=5):
    energies = rng.normal(size=(rows, tokens, 2, positions))
    weights = jnp.asarray(np.exp(energies) / np.exp(energies).sum(-1, keepdims=True), jnp.float32)
    logits = jnp.asarray(rng.normal(size=(rows, tokens, VOCAB)), jnp.float32)
    return Outputs(logits, None, jnp.array([5, 3, 4]), weights)


THREE = batch_of([[1, 2], [2, 0], [1, 1]], [2, 1, 2], valid=[True, True, False])


def test_the_guide_by_hand(rng):
    outputs = weighted_outputs(rng)
    found = jax.jit(Objective(auxiliary=(GuidedAttentionLoss(2.0, width=0.3),)).__call__)(outputs, THREE)
    total = 0.0
    for row, (tokens, length) in enumerate(((3, 5), (2, 3))):
        for u in range(tokens):
            for s in range(5):
                cost = 1 - np.exp(-((u / tokens - s / length) ** 2) / (2 * 0.3**2))
                total += cost * float(outputs.weights_buhs[row, u, :, s].mean())
    np.testing.assert_allclose(found["guide"].value, total, rtol=1e-5)
    np.testing.assert_allclose(found["loss"].value, found["cross_entropy"].value + 2.0 * total, rtol=1e-5)


def test_the_quantity_by_hand(rng):
    outputs = weighted_outputs(rng)
    found = jax.jit(Objective(auxiliary=(QuantityLoss(0.1),)).__call__)(outputs, THREE)
    stops = [float(outputs.weights_buhs[row, :tokens].sum()) / 2 for row, tokens in enumerate((3, 2))]
    np.testing.assert_allclose(found["quantity"].value, abs(stops[0] - 3) + abs(stops[1] - 2), rtol=1e-4, atol=1e-5)


def test_counts_of_tokens_replace_the_stops(rng):
    """One column a layer: the mean over the columns. The third example is padding."""
    counts_bh = jnp.array([[3.5, 2.0], [1.5, 4.0], [9.0, 9.0]])
    outputs = replace(weighted_outputs(rng), counts_bh=counts_bh)
    found = jax.jit(Objective(auxiliary=(QuantityLoss(0.1),)).__call__)(outputs, THREE)
    np.testing.assert_allclose(found["quantity"].value, (0.5 + 1.0) / 2 + (0.5 + 2.0) / 2, rtol=1e-5)
    gradient_bh = jax.grad(
        lambda counts: (
            Objective(auxiliary=(QuantityLoss(2.0),))(replace(outputs, counts_bh=counts), THREE)["loss"].value
        )
    )(counts_bh)
    np.testing.assert_allclose(gradient_bh, [[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]])


def test_the_distance_from_ctc_by_hand(rng):
    """Every path of the transcript is enumerated. The second example has more tokens than positions: it is not counted."""
    batch = batch_of([[1, 2], [1, 1], [2, 0]], [2, 2, 1], valid=[True, True, False])
    lengths = [5, 2, 4]
    logits_bsv = rng.normal(size=(3, 5, VOCAB)).astype(np.float32)
    outputs = replace(
        weighted_outputs(rng), ctc_logits_bsv=jnp.asarray(logits_bsv), hidden_lengths_b=jnp.array(lengths)
    )
    found = jax.jit(Objective(auxiliary=(CtcSynchronous(0.1),)).__call__)(outputs, batch)

    def score(path):
        return sum(logits_bsv[0, s, token] for s, token in enumerate(path))  # the softmax's total is that of all paths

    def spelled(path):
        return [token for token, _ in itertools.groupby(path) if token]

    best = max((path for path in itertools.product(range(VOCAB), repeat=5) if spelled(path) == [1, 2]), key=score)
    begins = [best.index(1), best.index(2), 4]
    weights_us = np.asarray(outputs.weights_buhs[0].mean(axis=1), np.float64)
    expected = [sum(s * weights_us[u, s] for s in range(5)) for u in range(3)]
    total = sum(abs(a - b) for a, b in zip(expected, begins, strict=True))
    np.testing.assert_allclose(found["ctc_distance"].value, total, rtol=1e-5)
    np.testing.assert_allclose(found["loss"].value, found["cross_entropy"].value + 0.1 * total, rtol=1e-5)


def test_the_distance_from_ctc_moves_the_attention_and_not_ctc(rng):
    outputs = replace(weighted_outputs(rng), ctc_logits_bsv=jnp.asarray(rng.normal(size=(3, 5, VOCAB)), jnp.float32))

    def loss(weights, logits):
        found = replace(outputs, weights_buhs=weights, ctc_logits_bsv=logits)
        return Objective(auxiliary=(CtcSynchronous(1.0),))(found, THREE)["loss"].value

    by_weights, by_logits = jax.jit(jax.grad(loss, (0, 1)))(outputs.weights_buhs, outputs.ctc_logits_bsv)
    assert np.any(by_weights)
    assert not np.any(by_logits)


def test_the_distance_from_ctc_needs_ctc(rng):
    with pytest.raises(ValueError, match="CtcSynchronous but the model has no CTC head"):
        Objective(auxiliary=(CtcSynchronous(1.0),))(weighted_outputs(rng), THREE)


def test_distillation_by_hand(rng):
    """Two samples an example, one teacher; what stands behind the end is not looked at."""
    outputs, temperature = weighted_outputs(rng, rows=6), 2.0
    teacher = rng.normal(size=(3, 3, VOCAB)).astype(np.float32)
    spoilt = jnp.asarray(teacher).at[1, 2].set(jnp.nan)
    term = Distill(0.5, temperature)
    found = jax.jit(Objective(auxiliary=(term,)).__call__)(replace(outputs, teacher_logits_buv=spoilt), THREE)

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    total = 0.0
    for row, tokens in enumerate((3, 2)):
        taught = log_softmax(teacher[row, :tokens] / temperature)
        for sample in (0, 1):
            said = log_softmax(np.asarray(outputs.logits_buv[2 * row + sample, :tokens]) / temperature)
            total += temperature**2 * np.sum(np.exp(taught) * (taught - said)) / 2
    np.testing.assert_allclose(found["distill"].value, total, rtol=1e-4)
    np.testing.assert_allclose(found["loss"].value, found["cross_entropy"].value + 0.5 * total, rtol=1e-5)


def test_a_term_of_weight_zero_is_not_computed(rng):
    sums = jax.jit(Objective(auxiliary=(GuidedAttentionLoss(0.0), Reinforce(0.0))).__call__)(
        weighted_outputs(rng), THREE
    )
    assert set(sums) == {"loss", "cross_entropy", "accuracy"}


def test_distillation_wants_a_teacher(rng):
    with pytest.raises(ValueError, match="there is no teacher; give the experiment its model"):
        Objective(auxiliary=(Distill(1.0),))(weighted_outputs(rng), THREE)


def test_reinforce_wants_draws(rng):
    with pytest.raises(
        ValueError, match=r"Reinforce but the attention draws nothing; give it the focus nn.HardAttention"
    ):
        Objective(auxiliary=(Reinforce(),))(weighted_outputs(rng), THREE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reinforce(-1.0), r"Reinforce\.weight is -1\.0; it must be 0 or more"),
        (lambda: Reinforce(entropy=float("nan")), r"Reinforce\.entropy is nan"),
        (lambda: Distill(1.0, temperature=0.0), r"Distill\.temperature is 0\.0"),
        (lambda: GuidedAttentionLoss(1.0, width=0.0), r"GuidedAttentionLoss\.width is 0\.0; it must be more than 0"),
        (
            lambda: Objective(auxiliary=(GuidedAttentionLoss(1.0), GuidedAttentionLoss(2.0))),
            "guide, guide; each may stand there once",
        ),
        (lambda: Objective(prior=(0.5, 0.6)), "2 frequencies with sum 1.1"),
        (lambda: Objective(base_weight=-1.0), r"objective\.base_weight is -1\.0"),
    ],
)
def test_a_term_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unigram_frequencies_must_have_been_measured(rng):
    with pytest.raises(ValueError, match="measured when a run begins"):
        Objective(label_smoothing=0.1, prior="unigram")(weighted_outputs(rng), THREE)
