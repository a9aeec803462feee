"""What is said of alignments: sums that no neighbour changes, and one line when an attention has collapsed."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import decode
from jaxasr.evaluation.attention_metrics import (
    FROM_STEP,
    AttentionCollapseMonitor,
    alignment_sums,
    hypothesis_sums,
    replay_warnings,
    with_alignment_metrics,
)
from jaxasr.records import Batch, Hypotheses, Outputs, Sum
from tests import tiny_experiments as tiny


def batch(lengths_b, valid_b) -> Batch:
    rows = len(lengths_b)
    return Batch(
        wave_bn=np.zeros((rows, 16_000), np.int16),
        sample_lengths_b=np.full(rows, 16_000, np.int32),
        tokens_bu=np.ones((rows, 5), np.int32),
        token_lengths_b=np.array(lengths_b, np.int32),
        ids_b=np.arange(rows, dtype=np.uint32),
        valid_b=np.array(valid_b),
    )


def outputs(weights_buhs, lengths_b) -> Outputs:
    rows, steps = weights_buhs.shape[:2]
    return Outputs(jnp.zeros((rows, steps, 4)), None, jnp.asarray(lengths_b), jnp.asarray(weights_buhs, jnp.float32))


def criterion(given: Outputs, _: Batch) -> dict[str, Sum]:
    return {"loss": Sum(jnp.sum(given.weights_buhs), jnp.ones(()))}


def test_training_is_watched_over_the_tokens_and_the_end_of_real_utterances(rng):
    """Three rows, one of them padding: a sharp one and a diffuse one share the means."""
    weights = np.zeros((3, 6, 1, 6))
    weights[0, :, 0] = np.eye(6)
    weights[1, :5] = 1 / 6
    weights[2] = rng.normal(size=(6, 1, 6))
    sums = with_alignment_metrics(criterion)(outputs(weights, [6, 6, 6]), batch([5, 4, 0], [True, True, False]))
    assert sums["loss"].mean == pytest.approx(weights.sum(), abs=1e-4)
    found = {name.removeprefix("attention_"): each.mean for name, each in sums.items() if name != "loss"}
    assert (found["collapsed"], found["diffuse"]) == pytest.approx((0.5, 0.5))
    assert found["entropy"] == pytest.approx(np.log(6) / 2)
    assert float(sums["attention_lag"].weight) == 2.0


def test_no_gradient_comes_of_watching(rng):
    weights = jnp.asarray(rng.uniform(size=(2, 6, 2, 8)), jnp.float32)

    def loss(weights_buhs):
        sums = with_alignment_metrics(criterion)(outputs(weights_buhs, [8, 8]), batch([5, 5], [True, True]))
        return sums["loss"].value + sums["attention_entropy"].value

    np.testing.assert_array_equal(jax.grad(loss)(weights), np.ones(weights.shape))


def test_of_several_samples_the_first_is_watched(rng):
    weights = rng.uniform(size=(2, 6, 1, 8))
    twice = np.repeat(weights, 2, axis=0)
    twice[1::2] = 0.0
    given = batch([5, 5], [True, True])
    one, two = (
        with_alignment_metrics(criterion)(outputs(w, [8, 8]), given)["attention_entropy"].mean for w in (weights, twice)
    )
    assert one == two > 0.0


def test_an_utterance_has_collapsed_if_every_head_has():
    weights = np.full((1, 6, 2, 6), 1 / 6)
    lengths = jnp.array([6])
    assert alignment_sums(jnp.asarray(weights), lengths, lengths)["attention_collapsed"].mean == 1.0
    weights[0, :, 1] = np.eye(6)
    assert alignment_sums(jnp.asarray(weights), lengths, lengths)["attention_collapsed"].mean == 0.0


def test_hypotheses_are_watched_over_the_positions_of_their_encoder():
    """One second at 20 ms and stride 2 is 25 positions (of 49 windows); the best hypothesis has its own length."""
    weights = np.zeros((2, 7, 1, 30), np.float32)
    weights[:, :5, :, :25] = 1 / 25
    tokens = jnp.ones((2, 1, 7), int)
    scores = jnp.zeros((2, 1))
    found = Hypotheses(tokens, jnp.array([[5], [0]]), scores, scores, jnp.asarray(weights), jnp.ones((2, 1), bool))
    model = tiny.experiment().model
    sums = hypothesis_sums(model, found, batch([3, 3], [True, True]))
    assert sums["attention_diffuse"].mean == pytest.approx(1.0)
    assert float(sums["attention_diffuse"].weight) == 1.0
    blind = replace(found, weights_buhs=jnp.zeros((2, 7, 1, 0)))
    assert hypothesis_sums(model, blind, batch([3, 3], [True, True])) == {}
    assert decode.Beam(2, alignments=False).alignments is False


def row(step: int, share: float, place: str = "train") -> dict[str, float]:
    return {"step": step, f"{place}/attention_collapsed": share, f"{place}/attention_diffuse": 0.97}


def test_a_collapse_is_told_once_and_so_is_the_recovery():
    alarm = AttentionCollapseMonitor()
    assert alarm.warnings(FROM_STEP - 1, row(0, 1.0)) == []
    (line,) = alarm.warnings(FROM_STEP, row(0, 0.8))
    assert line.startswith("step 1,000: WARNING: the attention of train has collapsed in 80% of its utterances")
    assert "mean entropy 97% of the largest" in line
    assert alarm.warnings(FROM_STEP + 50, row(0, 0.9)) == []
    assert alarm.warnings(FROM_STEP + 60, {"validation/wer": 0.3}) == []
    (validation,) = alarm.warnings(FROM_STEP + 70, row(0, 0.9, "validation"))
    assert "the attention of validation has collapsed" in validation
    (line,) = alarm.warnings(FROM_STEP + 100, row(0, 0.2))
    assert line == "step 1,100: the attention of train has recovered: 20% of its utterances are collapsed"
    assert alarm.warnings(FROM_STEP + 150, row(0, 0.5)) == []


def test_a_run_that_goes_on_does_not_tell_again_what_it_has_told():
    rows = [row(1_000, 0.9), row(1_050, 0.1), row(1_100, 0.9)]
    alarm = AttentionCollapseMonitor()
    assert [line.split(":")[0] for line in replay_warnings(rows, alarm)] == ["step 1,000", "step 1,050", "step 1,100"]
    assert alarm.warnings(1_150, row(0, 0.9)) == []
