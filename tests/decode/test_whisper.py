"""Whisper's decoding: rules of timestamps as the paper has them, and draws with the probabilities of the model."""

import math
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, MaxTokens, SuppressTokens
from jaxasr.decode.scorers import DecoderOutput
from jaxasr.decode.search import encode_batch
from jaxasr.decode.whisper.sampling import Sampling
from jaxasr.decode.whisper.timestamps import TimestampRules
from tests.decode.toy_model import Scripted, batch_of, search, toy
from tests.reference import whisper

ZERO, TIMES, VOCAB = 6, 8, 14
RULES = TimestampRules(ZERO, TIMES, SuppressTokens((5,), first=(3,)), first_most=2)
PREFIXES = [
    (),
    (6,),
    (6, 1),
    (6, 1, 2),
    (6, 1, 9),
    (6, 1, 9, 9),
    (6, 1, 9, 9, 2),
    (7, 1, 8, 11, 4),
    (8, 1, 2, 13),
    (8, 1, 2, 13, 13, 1),
    (6, 1, 2, 3, 9, 4, 10),
]


def scores_after(rules: TimestampRules, prefix, log_probs_uv) -> np.ndarray:
    """Returns the scores of the next token, after the rules have read the prefix token by token."""
    scorer = rules.init(encode_batch(toy(VOCAB), batch_of(np.random.default_rng(0), 2), MaxTokens()))
    state = scorer.state
    scores_bv = jnp.zeros((1, VOCAB))
    for token, log_probs_v in zip((0, *prefix), log_probs_uv, strict=True):
        output = DecoderOutput(jnp.array([token]), jnp.asarray(log_probs_v)[None], jnp.zeros((1, 1, 1)))
        scores_bv, state = scorer.score(scorer.memory, state, output)
    return np.asarray(scores_bv[0])


def log_probs_of(prefix, seed: int) -> np.ndarray:
    logits_uv = np.random.default_rng(seed).normal(size=(len(prefix) + 1, VOCAB)) * 2
    logits_uv[:, ZERO:] -= seed % 3  # times are likely for some seeds and unlikely for others
    return np.asarray(jax.nn.log_softmax(jnp.asarray(logits_uv, jnp.float32)))


@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
def test_tokens_are_allowed_as_by_the_rules_written_out(prefix):
    for seed in range(6):
        log_probs_uv = log_probs_of(prefix, seed)
        scores_v = scores_after(RULES, prefix, log_probs_uv)
        allowed = whisper.allowed_tokens(
            prefix, log_probs_uv[-1], zero=ZERO, times=TIMES, first_most=2, never=(5,), never_first=(3,)
        )
        assert set(np.flatnonzero(scores_v > -np.inf)) == allowed
        np.testing.assert_allclose(np.exp(scores_v + log_probs_uv[-1]).sum(), 1.0, rtol=1e-5)
        kept = sorted(allowed)
        np.testing.assert_allclose(scores_v[kept], scores_v[kept[0]])  # ratios are those of the model


@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
def test_transformers_has_the_same_rules(prefix):
    """A witness where it is installed. Its ids have the end behind the text, here it is 0."""
    transformers = pytest.importorskip("transformers", reason="an independent system, no dependency")
    torch = pytest.importorskip("torch", reason="the system that it computes with")
    ids = [4, *range(4), *range(5, VOCAB)]  # of the tokens: text 0 to 3, end 4, times from 6
    config = SimpleNamespace(
        no_timestamps_token_id=5,
        eos_token_id=4,
        bos_token_id=4,
        max_initial_timestamp_index=2,
        is_multilingual=False,
    )
    processor = transformers.generation.logits_process.WhisperTimeStampLogitsProcessor(config, begin_index=1)
    rules = replace(RULES, never=SuppressTokens((5,)))
    for seed in range(6):
        log_probs_uv = log_probs_of(prefix, seed)
        scores_v = torch.full((1, VOCAB), -math.inf)
        scores_v[0, ids] = torch.tensor(log_probs_uv[-1])
        found_v = processor(torch.tensor([[5, *(ids[token] for token in prefix)]]), scores_v.clone())[0]
        expected = {token for token in range(VOCAB) if found_v[ids[token]] > -math.inf}
        assert set(np.flatnonzero(scores_after(rules, prefix, log_probs_uv) > -np.inf)) == expected


def test_a_search_writes_segments_between_times():
    rules = TimestampRules(4, 8, first_most=1)
    for seed in range(3):
        found = search(
            Beam(2, scorers=(rules,), max_tokens=MaxTokens(0.0, 12)),
            toy(12, seed=seed),
            batch_of(np.random.default_rng(seed), 8, 5),
        )
        for row in range(2):
            tokens = found.tokens_bwu[row, 0, : found.token_lengths_bw[row, 0]]
            times = tokens[tokens >= 4]
            assert 4 <= tokens[0] <= 5
            assert np.all(np.diff(times) >= 0)
            assert found.log_probs_bw[row, 0] <= 0


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: TimestampRules(1, 8), "zero=1 and times=8; at least two time tokens"),
        (lambda: TimestampRules(4, 8, first_most=-1), "first_most"),
        (lambda: Sampling(0.0), "temperature 0.0; a number above 0 is needed"),
    ],
)
def test_impossible_rules_are_named(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_times_outside_the_vocabulary_are_named():
    with pytest.raises(ValueError, match="times from 6 to 16, and the model has 14 tokens"):
        scores_after(TimestampRules(6, 11), (), log_probs_of((), 0))


def test_samples_have_the_probabilities_of_the_model_at_the_temperature():
    """2,000 examples draw one token each; four standard deviations are allowed."""
    log_probs_v = jax.nn.log_softmax(jnp.array([-30.0, 1.0, 0.0, -1.0]))
    end_v = jnp.array([0.0, -30.0, -30.0, -30.0])
    model = Scripted(jnp.stack([log_probs_v, end_v]))
    batch = batch_of(np.random.default_rng(0), *[2] * 2_000)
    for temperature in (0.5, 1.0):
        found = search(Beam(1, scorers=(Sampling(temperature),)), model, batch)
        share_v = np.bincount(found.tokens_bwu[:, 0, 0], minlength=4) / 2_000
        expected_v = np.asarray(jax.nn.softmax(log_probs_v / temperature))
        np.testing.assert_array_less(np.abs(share_v - expected_v), 4 * np.sqrt(expected_v / 2_000) + 1e-6)
        drawn = np.asarray(log_probs_v)[found.tokens_bwu[:, 0, 0]]
        np.testing.assert_allclose(found.scores_by_scorer_bwk[:, 0, 0], drawn, atol=1e-4)  # without the noise
        assert np.all(found.finished_bw)


def test_a_draw_belongs_to_the_example_and_not_to_its_row():
    model = toy(9, seed=1)
    batch = batch_of(np.random.default_rng(0), 6, 6, 6)
    turned = jax.tree.map(lambda leaf: leaf[::-1], batch)
    how = Beam(1, scorers=(Sampling(1.0),), max_tokens=MaxTokens(0.0, 8))
    forward, backward = search(how, model, batch), search(how, model, turned)
    np.testing.assert_array_equal(forward.tokens_bwu, backward.tokens_bwu[::-1])
    other = search(Beam(1, scorers=(Sampling(1.0, seed=1),), max_tokens=MaxTokens(0.0, 8)), model, batch)
    assert np.any(other.tokens_bwu != forward.tokens_bwu)
