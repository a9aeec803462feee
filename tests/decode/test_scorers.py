"""Every combination of scorers in a full beam against brute force over all transcripts; shares, stops, refusals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import (
    AttentionStallRule,
    Beam,
    Coverage,
    InternalLm,
    LengthReward,
    LmScorer,
    MaxTokens,
    NoRepeatNgram,
    Rescoring,
    Scorer,
)
from jaxasr.records import Batch, Start, pytree
from tests.decode.test_joint import joint_follow
from tests.decode.toy_model import WIDTH, Toy, batch_of, next_steps, row, search, toy
from tests.reference import beam as slow

VOCAB, STEPS = 3, 4
LIMIT = MaxTokens(0.0, STEPS)


@pytree
@dataclass(frozen=True)
class Trigrams:
    """A language model whose state is the token before the previous one."""

    log_probs_vvv: jax.Array

    @property
    def vocab(self) -> int:
        return self.log_probs_vvv.shape[0]

    def start(self, examples: int) -> Any:
        return {"before_b": jnp.zeros(examples, jnp.int32), "previous_b": jnp.zeros(examples, jnp.int32)}

    def step(self, state: Any, tokens_b: jax.Array) -> tuple[jax.Array, Any]:
        before_b = state["previous_b"]
        return self.log_probs_vvv[before_b, tokens_b], {"before_b": before_b, "previous_b": tokens_b}


@pytree
@dataclass(frozen=True)
class Hushed(Toy):
    """A toy that can be asked what it expects where nothing was heard."""

    def without_audio(self, batch: Batch) -> Start:
        start = self.start(batch)
        b = start.hidden_lengths_b.shape[0]
        return replace(start, memory={"hidden": jnp.zeros((b, 1, WIDTH)), "valid": jnp.ones((b, 1), bool)})


def trigrams(seed: int) -> Trigrams:
    logits = 2 * np.random.default_rng(seed).normal(size=(VOCAB, VOCAB, VOCAB))
    return Trigrams(jax.nn.log_softmax(jnp.asarray(logits, jnp.float32)))


def fused_toy(seed: int) -> Hushed:
    model = toy(VOCAB, seed=seed, sharpness=1.5)
    return Hushed(model.weights, model.readout_bias_v, {"a": trigrams(seed + 10), "b": trigrams(seed + 20)})


Share = Callable[[tuple[int, ...]], np.ndarray]


def slow_share(scorer: Scorer, model: Hushed, batch: Batch) -> Share:
    """The same scorer over prefixes, one token at a time, in Python."""
    match scorer:
        case LmScorer(name, weight, ends):
            return fused(np.asarray(model.lms[name].log_probs_vvv, np.float64), weight, ends=ends)
        case InternalLm(weight):
            silent = next_steps(model, batch, start=model.without_audio(row(batch, 0)))
            return lambda prefix: weight * silent(prefix).log_probs_v
        case LengthReward(weight):
            return lambda prefix: np.where(np.arange(VOCAB) == 0, 0.0, weight)
        case Coverage(weight, threshold):
            return covering(next_steps(model, batch), weight, threshold)
        case NoRepeatNgram(longest, times):
            return unlooped(longest, times)
        case AttentionStallRule(stall, back):
            return advancing(next_steps(model, batch), stall, back)
    raise TypeError(f"no slow twin of {scorer}")


def fused(table_vvv: np.ndarray, weight: float, *, ends: bool) -> Share:
    def share(prefix):
        before, previous = ([0, 0, *prefix])[-2:]
        row_v = weight * table_vvv[before, previous]
        return row_v if ends else np.where(np.arange(VOCAB) == 0, 0.0, row_v)

    return share


def covering(heard, weight: float, threshold: float) -> Share:
    def covered(prefix, steps) -> int:
        total_s = sum((heard(prefix[:i]).weights_s for i in range(steps)), np.zeros(1))
        return int(np.sum(total_s > threshold))

    return lambda prefix: np.full(VOCAB, weight * (covered(prefix, len(prefix) + 1) - covered(prefix, len(prefix))))


def unlooped(longest: int, times: int) -> Share:
    def loops(tokens):
        phrases = [n for n in range(1, longest + 1) if len(tokens) >= n * times]
        return any(tokens[-n * times :] == tokens[-n:] * times for n in phrases)

    return lambda prefix: np.array([0.0, *(-np.inf if loops((*prefix, c)) else 0.0 for c in range(1, VOCAB))])


def advancing(heard, stall: int | None, back: int | None) -> Share:
    def share(prefix):
        front, stood, broken = -1, 0, False
        for i in range(len(prefix) + 1):
            peak = int(np.argmax(heard(prefix[:i]).weights_s))
            front, stood = (peak, 0) if peak > front else (front, stood + 1)
            broken = (stall is not None and stood > stall) or (back is not None and front - peak > back)
        return np.where(broken & (np.arange(VOCAB) > 0), -np.inf, 0.0)

    return share


COMBINATIONS = {
    "shallow fusion": (LmScorer("a", 0.7),),
    "no ends": (LmScorer("a", 0.7, score_eos=False), LengthReward(0.4)),
    "density ratio": (LmScorer("a", 0.6), LmScorer("b", -0.4)),
    "internal": (LmScorer("a", 0.6), InternalLm(-0.3)),
    "paid": (LengthReward(0.8), Coverage(0.5, threshold=0.4)),
    "guarded": (NoRepeatNgram(2, 2), AttentionStallRule(stall=2, back=1), LmScorer("b", 0.3)),
    "all": (
        LmScorer("a", 0.5),
        LmScorer("b", -0.2),
        InternalLm(-0.1),
        LengthReward(0.3),
        Coverage(0.2),
        NoRepeatNgram(1, 3),
    ),
}


@pytest.mark.parametrize(("name", "ctc_weight"), [*((name, 0.0) for name in COMBINATIONS), ("all", 0.4)])
def test_a_full_beam_ranks_every_transcript_by_all_scorers(rng, name, ctc_weight):
    batch, model, scorers = batch_of(rng, 5), fused_toy(1), COMBINATIONS[name]
    beam = Beam(48, nbest=48, ctc_weight=ctc_weight, length_norm=0.3, max_tokens=LIMIT, scorers=scorers)
    first = joint_follow(model, batch, ctc_weight) if ctc_weight else lambda p: next_steps(model, batch)(p).log_probs_v
    shares = [slow_share(each, model, batch) for each in scorers]
    expected = slow.brute_force(
        lambda prefix: first(prefix) + sum(share(prefix) for share in shares), vocab=VOCAB, steps=STEPS, length_norm=0.3
    )
    found = search(beam, model, batch)
    count = int(np.sum(found.scores_bw[0] > -np.inf))
    assert count == len(expected)
    assert found.scores_by_scorer_bwk is not None
    assert found.scores_by_scorer_bwk.shape[2] == len(beam.scorer_names) == 1 + bool(ctc_weight) + len(scorers)
    ours = [tuple(found.tokens_bwu[0, w, : found.token_lengths_bw[0, w]].tolist()) for w in range(count)]
    assert ours == [each.tokens for each in expected]
    np.testing.assert_allclose(found.scores_bw[0, :count], [each.score for each in expected], rtol=3e-5, atol=1e-6)
    np.testing.assert_allclose(found.log_probs_bw[0, :count], [e.log_prob for e in expected], rtol=3e-5, atol=1e-6)
    best, ended = expected[0].tokens, expected[0].finished
    for share, sum_k in zip(shares, found.scores_by_scorer_bwk[0, 0, -len(scorers) :], strict=True):
        steps = [share(best[:i])[token] for i, token in enumerate((*best, 0)[: len(best) + ended])]
        np.testing.assert_allclose(sum_k, sum(steps), rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["shallow fusion", "paid"])
def test_stopping_by_proof_loses_nothing_and_stops(rng, name):
    """What may still be earned is part of the proof: the best of a narrow n-best list is the best of all."""
    batch = batch_of(rng, 5)
    for seed in range(4):
        model = fused_toy(seed)
        whole = search(Beam(48, nbest=48, max_tokens=LIMIT, scorers=COMBINATIONS[name]), model, batch)
        soon = search(Beam(48, nbest=1, max_tokens=LIMIT, scorers=COMBINATIONS[name]), model, batch)
        np.testing.assert_array_equal(soon.tokens_bwu[0, 0], whole.tokens_bwu[0, 0])
        np.testing.assert_allclose(soon.scores_bw[0, 0], whole.scores_bw[0, 0], rtol=1e-6)


def test_a_batch_is_its_examples_one_by_one(rng):
    together, model = batch_of(rng, 6, 3, 5, padding_rows=1), fused_toy(2)
    beam = Beam(3, nbest=2, ctc_weight=0.3, max_tokens=MaxTokens(0.5, 2), scorers=COMBINATIONS["all"])
    found = search(beam, model, together)
    for i in range(3):
        alone = search(beam, model, row(together, i, pad_to=6))
        assert found.scores_by_scorer_bwk is not None
        assert alone.scores_by_scorer_bwk is not None
        u = alone.tokens_bwu.shape[2]
        np.testing.assert_array_equal(found.tokens_bwu[i, :, :u], alone.tokens_bwu[0])
        np.testing.assert_allclose(found.scores_by_scorer_bwk[i], alone.scores_by_scorer_bwk[0], rtol=1e-4, atol=1e-5)
        assert np.all(np.isfinite(alone.scores_by_scorer_bwk))


def test_no_hypothesis_loops_or_outgrows_its_limit(rng):
    """A model that has lost its way, on long input: the guards hold whatever it says."""
    batch = batch_of(rng, 60)
    beam = Beam(4, max_tokens=MaxTokens(0.8, 0), scorers=(NoRepeatNgram(longest=3, times=3),))
    for seed in range(6):
        stuck = replace(toy(4, seed=seed, sharpness=4.0), readout_bias_v=jnp.array([-9.0, 0.0, 0.0, 0.0]))
        found = search(beam, stuck, batch)
        tokens = found.tokens_bwu[0, 0, : found.token_lengths_bw[0, 0]].tolist()
        assert 0 < len(tokens) <= 48
        for n in range(1, 4):
            assert not any(tokens[i : i + n] * 3 == tokens[i : i + 3 * n] for i in range(len(tokens) - 3 * n + 1))


def test_a_second_pass_over_every_transcript_is_the_one_search(rng):
    """What scorers say of a whole n-best list, added afterwards, is what they say along the way."""
    batch, model = batch_of(rng, 5, 4), fused_toy(3)
    scorers = (LmScorer("a", 0.6), LmScorer("b", -0.3, score_eos=False), LengthReward(0.3), Coverage(0.4))
    base = Beam(48, nbest=48, ctc_weight=0.2, length_norm=0.5, max_tokens=LIMIT)
    at_once, twice = (search(how, model, batch) for how in (replace(base, scorers=scorers), Rescoring(base, scorers)))
    assert Rescoring(base, scorers).scorer_names == replace(base, scorers=scorers).scorer_names
    np.testing.assert_array_equal(twice.tokens_bwu, at_once.tokens_bwu)
    np.testing.assert_array_equal(twice.finished_bw, at_once.finished_bw)
    for name in ("scores_bw", "log_probs_bw", "scores_by_scorer_bwk", "weights_buhs"):
        np.testing.assert_allclose(getattr(twice, name), getattr(at_once, name), rtol=1e-4, atol=1e-5)
    for build in (lambda: Rescoring(Beam(2), scorers), lambda: Rescoring(base, ())):
        with pytest.raises(ValueError, match="are needed"):
            build()


def test_what_a_scorer_lacks_is_said(rng):
    batch, model = batch_of(rng, 3), fused_toy(0)
    for scorer, message in (
        (LmScorer("c", 0.3), "--lm c=PATH"),
        (LmScorer("a", 0.3), "has 3 tokens and the recogniser 4"),
    ):
        other = model if scorer.name == "c" else replace(toy(4), lms=model.lms)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda batch, s=scorer, m=other: Beam(2, scorers=(s,))(m, batch), batch)
    with pytest.raises(ValueError, match="has no without_audio"):
        jax.eval_shape(lambda batch: Beam(2, scorers=(InternalLm(-0.1),))(toy(3), batch), batch)
    with pytest.raises(ValueError, match="same name: attention, a, a"):
        Beam(2, scorers=(LmScorer("a", 0.1), LmScorer("a", 0.2)))
    for build in (
        lambda: NoRepeatNgram(0, 2),
        lambda: NoRepeatNgram(3, 1),
        lambda: AttentionStallRule(stall=0),
        lambda: Coverage(-1.0),
    ):
        with pytest.raises(ValueError, match="needed"):
            build()
