"""Windows through a hearing that is told what to find: batches of few shapes, and what is no number."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import text
from jaxasr.records import Batch
from jaxasr.transcription.batch_transcriber import BatchTranscriber
from jaxasr.transcription.decode import DecodedBatch
from jaxasr.transcription.timing import FrameClock

LETTERS = text.Characters(" AB")


def ear(log_prob: float, shapes: list[tuple[int, ...]]) -> BatchTranscriber:
    """Hears "AB" in each real wave, with this log probability, and notes the shapes that it was given; padding is NaN."""

    def hearing(variables, batch: Batch, lms) -> DecodedBatch:
        shapes.append(batch.wave_bn.shape)
        rows = batch.wave_bn.shape[0]
        real_b = jnp.asarray(batch.valid_b)
        return DecodedBatch(
            tokens_bu=jnp.tile(jnp.array([[2, 3]]), (rows, 1)),
            token_lengths_b=jnp.full(rows, 2),
            log_probs_b=jnp.where(real_b, log_prob, jnp.nan),
            finished_b=real_b,
            token_log_probs_bu=jnp.full((rows, 2), -0.5),
            hidden_lengths_b=jnp.full(rows, 4),
            alignment=None,
            weights_bus=jnp.full((rows, 2, 4), 0.25),
        )

    return BatchTranscriber(
        hearing, {}, {}, LETTERS, FrameClock(0.1, 0.0), rate_hz=100, longest_samples=100, batch_size=4
    )


def test_batches_have_few_shapes():
    shapes: list[tuple[int, ...]] = []
    for count, samples in ((1, 20), (2, 26), (3, 51), (4, 100)):
        readings = ear(-1.0, shapes)([np.ones(samples, np.int16)] * count)
        assert [[word.text for word in each.words] for each in readings] == [["AB"]] * count
        assert all(each.complete and each.log_prob == -1.0 for each in readings)
    assert shapes == [(1, 25), (2, 50), (4, 100), (4, 100)]


def test_one_length_is_one_shape():
    shapes: list[tuple[int, ...]] = []
    transcriber = dataclasses.replace(ear(-1.0, shapes), length_fractions=(1.0,))
    transcriber([np.ones(20, np.int16)])
    transcriber([np.ones(90, np.int16)])
    assert shapes == [(1, 100)] * 2


def test_words_lie_within_the_audio_where_the_frontend_adds_silence():
    """Two of the four positions have audio; attention to the others does not count."""
    (found,) = ear(-1.0, [])([np.ones(20, np.int16)])
    assert [(word.start_s, word.end_s) for word in found.words] == [(0.0, 0.2)]


def test_what_is_no_number_is_no_transcript():
    with pytest.raises(FloatingPointError, match="of a window is NaN; the parameters are probably not finite"):
        ear(float("nan"), [])([np.ones(20, np.int16)])
