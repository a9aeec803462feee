"""From batches to hypotheses beside references, with a search that is told what to find."""

import io
import time
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from jaxasr import report, score
from jaxasr.records import Batch, Hypotheses

WORDS = ("", "yes", "no", "maybe")


def decode_text(tokens) -> str:
    return " ".join(WORDS[token] for token in tokens)


@dataclass(frozen=True)
class Named:
    """A batch as data.EvalBatch, without a plan."""

    batch: Batch
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...]

    @property
    def sample_lengths(self) -> tuple[int, ...]:
        return tuple(self.batch.sample_lengths_b[: len(self.ids)].tolist())


def batch_of(transcripts: list[list[int]], *, rows: int, samples: int = 16_000) -> Batch:
    """The wave holds the tokens that the search is going to find."""
    wave_bn = np.zeros((rows, samples), np.int16)
    for i, tokens in enumerate(transcripts):
        wave_bn[i, : len(tokens)] = tokens
    valid_b = np.arange(rows) < len(transcripts)
    return Batch(
        wave_bn=wave_bn,
        sample_lengths_b=np.where(valid_b, samples, 0).astype(np.int32),
        tokens_bu=np.zeros((rows, 1), np.int32),
        token_lengths_b=np.zeros(rows, np.int32),
        ids_b=np.arange(rows, dtype=np.uint32),
        valid_b=valid_b,
    )


def told(batch: Batch) -> Hypotheses:
    """Reads the tokens off the wave; the second best is always "no", a third was never found. Six tokens are cut."""
    tokens_bu = batch.wave_bn[:, :6].astype(np.int32)
    rows, lengths_b = len(tokens_bu), (tokens_bu > 0).sum(axis=1)
    tokens_bwu = np.stack([tokens_bu, np.eye(1, 6, dtype=np.int32).repeat(rows, 0) * 2, 0 * tokens_bu], axis=1)
    scores_bw = np.tile(np.array([-1.5, -2.5, -np.inf], np.float32), (rows, 1))
    leaves = (
        tokens_bwu,
        np.stack([lengths_b, np.ones(rows), np.zeros(rows)], axis=1).astype(np.int32),
        scores_bw,
        2 * scores_bw,
        np.zeros((rows, 6, 1, 0), np.float32),
        np.stack([lengths_b < 6, np.full(rows, True), np.full(rows, False)], axis=1),
    )
    return Hypotheses(*map(jnp.asarray, leaves))


FIRST = Named(batch_of([[1, 2], [3], []], rows=4), ("u1", "u2", "u3"), ("yes no", "yes", ""), ("anna", "anna", "berta"))
SECOND = Named(batch_of([[2] * 6], rows=4), ("u4",), ("no",), ("berta",))


def test_hypotheses_stand_beside_references_in_the_order_they_came():
    found = score.evaluate(told, iter([FIRST, SECOND]), decode_text)
    assert [(each.id, each.reference, each.hypothesis) for each in found.utterances] == [
        ("u1", "yes no", "yes no"),
        ("u2", "yes", "maybe"),
        ("u3", "", ""),
        ("u4", "no", "no no no no no no"),
    ]
    assert found.utterances[0].candidates == (
        score.Candidate("yes no", -1.5, -3.0, True),
        score.Candidate("no", -2.5, -5.0, True),
    )
    assert found.scores.wer == (1 + 5) / 4
    assert found.oracle == 1 / 4  # "maybe" or "no" for "yes"; of the six the second best is the one "no"
    assert found.cut == ("u4",)
    assert found.repetitive == ("u4",)
    assert found.utterances[2].speaker == "berta"


def test_where_nothing_was_said_rates_are_infinite_or_nothing():
    silence, noise = replace(FIRST, texts=("", "", "")), replace(SECOND, texts=("",))
    found = score.evaluate(told, [silence, noise], decode_text)
    assert found.scores.wer == found.oracle == float("inf")  # the last has no candidate without a word
    assert found.estimates()["wer"].interval.high == float("inf")
    silent = replace(FIRST, batch=batch_of([[], [], []], rows=4), texts=("", "", ""))
    assert score.evaluate(told, [silent], decode_text).oracle == 0.0


def test_each_candidate_keeps_what_every_scorer_added():
    def shared(batch: Batch) -> Hypotheses:
        found = told(batch)
        return replace(
            found, scores_by_scorer_bwk=jnp.stack([0.75 * found.log_probs_bw, 0.25 * found.log_probs_bw], axis=-1)
        )

    first, second = (
        score.evaluate(shared, [SECOND], decode_text, scorer_names=("attention", "ctc")).utterances[0].candidates
    )
    assert first.shares == {"attention": -2.25, "ctc": -0.75}
    assert second.shares == {"attention": -3.75, "ctc": -1.25}
    assert score.evaluate(shared, [SECOND], decode_text).utterances[0].candidates[0].shares == {}
    assert (
        score.evaluate(told, [SECOND], decode_text, scorer_names=("attention",)).utterances[0].candidates[0].shares
        == {}
    )


def test_estimates_are_over_utterances_or_speakers():
    found = score.evaluate(told, [FIRST, SECOND], decode_text)
    assert found.estimates()["wer"].value == found.estimates("speakers")["wer"].value == found.scores.wer
    assert found.estimates("speakers")["wer"].interval.high > found.estimates("utterances")["wer"].interval.high
    assert (found.units.kind, found.units.count) == ("utterances", 4)  # two speakers are too few


def test_the_first_batch_of_a_shape_is_not_timed():
    """Compiling takes long; what was compiled before is timed, its padding not counted."""
    calls = []

    def decode(batch: Batch) -> Hypotheses:
        time.sleep(0.001 if calls else 1.0)
        calls.append(batch)
        return told(batch)

    speed = score.evaluate(decode, [FIRST, SECOND, SECOND], decode_text).speed
    assert speed.samples == 32_000
    assert 0.002 <= speed.wall_s < 1.0
    assert speed.audio_per_wall(16_000) == 2 / speed.wall_s


def test_where_every_shape_is_new_there_is_no_speed():
    speed = score.evaluate(told, [FIRST], decode_text).speed
    assert speed.audio_per_wall(16_000) is None


def test_progress_counts_utterances():
    console = rich.console.Console(file=io.StringIO())
    with report.Progress(4, "eval", "utterances", console=console) as bar:
        score.evaluate(told, [FIRST, SECOND], decode_text, progress=bar)
    assert bar.done == 4


def test_a_score_that_is_no_number_names_its_utterance():
    def diverged(batch: Batch) -> Hypotheses:
        found = told(batch)
        return replace(found, scores_bw=found.scores_bw.at[1, 0].set(np.nan))

    with pytest.raises(FloatingPointError, match="utterance u2 is NaN"):
        score.evaluate(diverged, [FIRST], decode_text)


def test_rows_without_a_name_and_names_without_a_row_are_refused():
    nameless = Named(FIRST.batch, ("u1",), ("yes no",), ("anna",))
    with pytest.raises(ValueError, match="1 ids and 3 valid rows"):
        score.evaluate(told, [nameless], decode_text)
    surplus = Named(FIRST.batch, ("u1", "u2", "u3", "u4"), ("",) * 4, ("",) * 4)
    with pytest.raises(ValueError, match="4 ids and 3 valid rows"):
        score.evaluate(told, [surplus], decode_text)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="0 references"):
        score.evaluate(told, [], decode_text)
