"""The joint CTC / attention score in the beam, against brute force over all transcripts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, MaxTokens
from jaxasr.decode.scorers import CtcPrefixScorer, DecoderScorer, combine_scorers
from jaxasr.decode.search import encode_batch
from tests.decode.toy_model import Silent, batch_of, next_log_probs, row, search, toy
from tests.reference import beam as slow
from tests.reference import ctc_prefix as slow_ctc


def joint_follow(model, batch, weight: float):
    """Brute force: what may follow a prefix, as a weighted sum of the model's and of the listed CTC probabilities."""
    attention = next_log_probs(model, batch)
    start = model.start(row(batch, 0))
    listed = slow_ctc.transcripts(np.exp(np.asarray(start.ctc_log_probs_bsv[0], np.float64)))

    def starts(prefix):
        return sum(p for tokens, p in listed.items() if tokens[: len(prefix)] == prefix)

    def follow(prefix):
        whole = starts(prefix)
        if not whole:
            return np.full(model.vocab, -np.inf)
        with np.errstate(divide="ignore"):
            continues = [listed.get(prefix, 0.0), *(starts((*prefix, c)) for c in range(1, model.vocab))]
            ctc = np.log(np.array(continues) / whole)
        return ctc if weight == 1 else (1 - weight) * attention(prefix) + weight * ctc

    return follow


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_a_full_beam_ranks_every_transcript_by_both_scores(rng, weight):
    """Transcripts that the frames cannot spell don't come back at all."""
    batch = batch_of(rng, 4)
    beam = Beam(48, nbest=48, ctc_weight=weight, max_tokens=MaxTokens(0.0, 4))
    for seed in range(3):
        model = toy(3, seed=seed, sharpness=2.0)
        expected = slow.brute_force(joint_follow(model, batch, weight), vocab=3, steps=4)
        hypotheses = search(beam, model, batch)
        count = int(np.sum(hypotheses.scores_bw[0] > -np.inf))
        assert count == len(expected) < 31
        lengths = hypotheses.token_lengths_bw[0]
        ours = [tuple(hypotheses.tokens_bwu[0, w, : lengths[w]].tolist()) for w in range(count)]
        assert ours == [item.tokens for item in expected]
        np.testing.assert_allclose(hypotheses.scores_bw[0, :count], [item.score for item in expected], rtol=3e-5)


def test_a_narrow_joint_beam_is_its_slow_twin_at_any_padding(rng):
    beam = Beam(3, nbest=3, ctc_weight=0.4, length_norm=0.5, max_tokens=MaxTokens(0.5, 3))
    together = batch_of(rng, 6, 4, 2, padding_rows=1)
    for seed in range(3):
        model = toy(4, seed=seed, sharpness=2.0)
        hypotheses = search(beam, model, together)
        for i, positions in enumerate((6, 4, 2)):
            follow = joint_follow(model, row(together, i), 0.4)
            expected = slow.beam(follow, width=3, steps=3 + positions // 2, length_norm=0.5)
            lengths = hypotheses.token_lengths_bw[i]
            ours = [tuple(hypotheses.tokens_bwu[i, w, : lengths[w]].tolist()) for w in range(len(expected))]
            assert ours == [item.tokens for item in expected]
            np.testing.assert_allclose(
                hypotheses.scores_bw[i, : len(expected)], [item.score for item in expected], rtol=3e-5
            )
        assert hypotheses.finished_bw[3, 0]
        assert hypotheses.token_lengths_bw[3, 0] == 0


def test_the_end_threshold_spares_what_cannot_go_on(rng):
    """One frame, one token: after it CTC allows only the end, which the threshold alone would forbid."""
    model = toy(3, sharpness=0.0)
    model = dataclasses.replace(model, readout_bias_v=jnp.array([-5.0, 0.0, -5.0]))
    hypotheses = search(Beam(2, ctc_weight=0.5, end_threshold=1.5), model, batch_of(rng, 1))
    assert hypotheses.finished_bw[0, 0]
    np.testing.assert_array_equal(hypotheses.tokens_bwu[0, 0, :2], [1, 0])


def test_the_end_threshold_reads_the_model_alone(rng):
    """CTC is all for the end, which the model does not mean: it is held back. Without the threshold it is the best."""
    model = dataclasses.replace(toy(3, sharpness=0.0), readout_bias_v=jnp.log(jnp.array([0.2, 0.7, 0.1])))
    silence = jnp.log(jnp.array([0.98, 0.01, 0.01]))
    here = encode_batch(model, batch_of(rng, 2), MaxTokens())
    start = dataclasses.replace(here.start, ctc_log_probs_bsv=jnp.broadcast_to(silence, (1, 2, 3)))
    here = dataclasses.replace(here, start=start)
    for threshold in (None, 1.5):
        scorer = combine_scorers(here, (DecoderScorer(0.5), CtcPrefixScorer(0.5)), end_threshold=threshold)
        said = scorer.step(scorer.memory, scorer.state, jnp.zeros(1, jnp.int32))
        log_probs_v = jnp.sum(said.scores_bkv[0], axis=0)
        assert (log_probs_v[0] == -jnp.inf) == (threshold is not None)
        assert jnp.argmax(log_probs_v) == (1 if threshold else 0)


def test_a_model_without_a_ctc_head_is_refused(rng):
    model = toy(3)
    silent = Silent(model.weights, model.readout_bias_v)
    with pytest.raises(ValueError, match="has no CTC head"):
        jax.eval_shape(lambda batch: Beam(2, ctc_weight=0.3)(silent, batch), batch_of(rng, 3))
