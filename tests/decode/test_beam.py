"""Beam search against brute force and a slow twin; its limits, its n best, its alignments."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, Greedy, MaxTokens
from jaxasr.records import Hypotheses
from tests.decode.toy_model import batch_of, next_log_probs, search, toy
from tests.reference import beam as slow

FOUR_STEPS = MaxTokens(0.0, 4)
LONG = Beam(4, length_norm=1.0, end_threshold=1.5)  # finds seven tokens in the toy of seed 9


def found(hypotheses: Hypotheses, i: int = 0) -> list[slow.Found]:
    """The n best of one example as the slow twin gives them."""
    items = []
    for w in range(hypotheses.scores_bw.shape[1]):
        if not np.isfinite(hypotheses.scores_bw[i, w]):
            assert hypotheses.token_lengths_bw[i, w] == 0
            assert not hypotheses.finished_bw[i, w]
            continue
        length = hypotheses.token_lengths_bw[i, w]
        tokens = hypotheses.tokens_bwu[i, w]
        assert not tokens[length:].any()
        score, log_prob = hypotheses.scores_bw[i, w], hypotheses.log_probs_bw[i, w]
        finished = bool(hypotheses.finished_bw[i, w])
        items.append(slow.Found(tuple(tokens[:length].tolist()), float(score), float(log_prob), finished))
    return items


def assert_same(ours: list[slow.Found], theirs: list[slow.Found]) -> None:
    assert [(item.tokens, item.finished) for item in ours] == [(item.tokens, item.finished) for item in theirs]
    np.testing.assert_allclose([i.log_prob for i in ours], [i.log_prob for i in theirs], rtol=2e-5)
    np.testing.assert_allclose([i.score for i in ours], [i.score for i in theirs], rtol=2e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_beam_as_wide_as_the_tree_finds_every_transcript_in_order(rng, seed):
    model = toy(3, seed=seed, sharpness=1.5)
    batch = batch_of(rng, 5)
    beam = Beam(48, nbest=48, length_norm=0.7, max_tokens=FOUR_STEPS)
    expected = slow.brute_force(next_log_probs(model, batch), vocab=3, steps=4, length_norm=0.7)
    assert len(expected) == 1 + 2 + 4 + 8 + 16
    assert_same(found(search(beam, model, batch)), expected)


def test_stopping_by_proof_loses_nothing(rng):
    """The best of a wide beam is the best of all, although it stops before the limit."""
    model = toy(4, seed=3, sharpness=2.0)
    batch = batch_of(rng, 6)
    follow = next_log_probs(model, batch)
    beam = Beam(128, length_norm=1.0, max_tokens=MaxTokens(0.0, 5))
    expected = slow.brute_force(follow, vocab=4, steps=5, length_norm=1.0)
    assert_same(found(search(beam, model, batch)), expected[:1])


@pytest.mark.parametrize(
    ("width", "length_norm", "end_threshold"), [(5, 0.0, None), (3, 1.0, None), (2, 0.6, 1.5), (4, 0.0, 2.0)]
)
def test_beam_is_its_slow_twin(rng, width, length_norm, end_threshold):
    beam = Beam(width, nbest=width, length_norm=length_norm, end_threshold=end_threshold, max_tokens=MaxTokens(0.0, 9))
    for seed in range(6):
        model = toy(7, seed=seed, sharpness=2.0)
        batch = batch_of(rng, 6)
        expected = slow.beam(
            next_log_probs(model, batch), width=width, steps=9, length_norm=length_norm, end_threshold=end_threshold
        )
        assert_same(found(search(beam, model, batch)), expected)


def test_width_one_is_greedy(rng):
    limit = MaxTokens(1.0, 2)
    cut = 0
    for seed in range(6):
        model = toy(6, seed=seed, sharpness=3.0)
        batch = batch_of(rng, 4, 7, 1)
        greedy, beam = search(Greedy(limit), model, batch), search(Beam(1, max_tokens=limit), model, batch)
        np.testing.assert_array_equal(greedy.tokens_bwu, beam.tokens_bwu)
        np.testing.assert_array_equal(greedy.finished_bw, beam.finished_bw)
        np.testing.assert_allclose(greedy.scores_bw, beam.scores_bw, rtol=1e-5)
        np.testing.assert_allclose(greedy.weights_buhs, beam.weights_buhs, rtol=1e-4, atol=1e-6)
        cut += np.sum(~greedy.finished_bw)
    assert 0 < cut < 18  # both ways out were taken


@pytest.mark.parametrize("beam", [Beam(3, nbest=2, end_threshold=1.5), Greedy()], ids=["beam", "greedy"])
def test_padding_rows_and_rows_without_a_position_are_empty_and_finished(rng, beam):
    """The toy's attention over nothing is NaN: none of it may come out."""
    batch = batch_of(rng, 4, 0, padding_rows=2)
    hypotheses = search(beam, toy(4, sharpness=2.0), batch)
    assert found(hypotheses, 0)[0].tokens
    for i in (1, 2, 3):
        assert found(hypotheses, i) == [slow.Found((), 0.0, 0.0, True)]
    for leaf in jax.tree.leaves(hypotheses):
        assert not np.isnan(leaf).any()
    nothing = search(beam, toy(4), batch_of(rng, 0, padding_rows=3, pad_to=4))
    assert [found(nothing, i) for i in range(4)] == [[slow.Found((), 0.0, 0.0, True)]] * 4


def test_what_never_ends_is_cut_at_its_own_limit(rng):
    model = toy(4, seed=1, forbidden=(0,))
    batch = batch_of(rng, 3, 6)
    for beam in (Beam(2, nbest=2, max_tokens=MaxTokens(0.5, 2)), Greedy(MaxTokens(0.5, 2))):
        hypotheses = search(beam, model, batch)
        assert not hypotheses.finished_bw.any()
        np.testing.assert_array_equal(hypotheses.token_lengths_bw[:, 0], [3, 5])
        assert hypotheses.tokens_bwu.shape[-1] == 5


def test_impossible_tokens_never_appear_and_nothing_is_nan(rng):
    """One token is possible, so the beam of four is never filled: its empty places say so."""
    model = toy(5, seed=1, forbidden=(1, 2, 4))
    hypotheses = search(Beam(4, nbest=4, length_norm=1.0, max_tokens=MaxTokens(0.0, 2)), model, batch_of(rng, 3))
    assert [item.tokens for item in sorted(found(hypotheses))] == [(), (3,), (3, 3)]
    assert hypotheses.scores_bw[0, 3] == -np.inf
    assert not np.isnan(hypotheses.scores_bw).any()


def test_the_weights_follow_the_best_hypothesis_through_its_parents(rng):
    """Replaying the best hypothesis token by token gives the attention that the search returned."""
    model = toy(6, seed=9, sharpness=1.2)
    batch = batch_of(rng, 6)
    hypotheses = search(LONG, model, batch)
    length = hypotheses.token_lengths_bw[0, 0]
    assert length > 2
    start = model.start(batch)
    state, previous = start.state, 0
    for i, token in enumerate(hypotheses.tokens_bwu[0, 0, :length]):
        step = model.step(start.memory, state, jnp.array([previous]))
        # the loop is compiled as a whole and the steps are not, so they round differently
        np.testing.assert_allclose(hypotheses.weights_buhs[0, i], step.weights_bhs[0], rtol=1e-4, atol=1e-5)
        state, previous = step.state, int(token)
    assert not hypotheses.weights_buhs[0, length:].any()


def test_without_alignments_the_rest_is_the_same(rng):
    model, batch = toy(6, seed=9, sharpness=1.2), batch_of(rng, 6)
    kept = search(LONG, model, batch)
    dropped = search(replace(LONG, alignments=False), model, batch)
    assert dropped.weights_buhs.shape == (*kept.weights_buhs.shape[:3], 0)
    np.testing.assert_array_equal(kept.tokens_bwu, dropped.tokens_bwu)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"width": 0}, "width 0"),
        ({"width": 2, "nbest": 3}, "nbest 3"),
        ({"width": 2, "length_norm": -1.0}, "length_norm"),
        ({"width": 2, "end_threshold": 0.5}, "end_threshold"),
        ({"width": 2, "ctc_weight": 1.5}, "ctc_weight"),
    ],
)
def test_a_beam_that_makes_no_sense_is_refused(field, message):
    with pytest.raises(ValueError, match=message):
        Beam(**field)
