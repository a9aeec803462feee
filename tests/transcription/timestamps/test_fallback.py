"""Windows that fail are decoded again, at one temperature after another; windows that pass are not."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, CtcGreedy
from jaxasr.transcription.batch_transcriber import WindowTranscript
from jaxasr.transcription.timestamps import fallback
from jaxasr.transcription.timestamps.fallback import Fallback, with_fallback
from jaxasr.transcription.timestamps.window_form import WindowForm
from tests import tiny_experiments
from tests.transcription.test_batch_transcriber import ear

MODEL = tiny_experiments.experiment().model
GOOD = WindowTranscript((), -1.0, True, mean_log_prob=-0.5, compression=1.0)


@pytest.mark.parametrize(
    ("found", "fails"),
    [
        (GOOD, False),
        (replace(GOOD, compression=2.5), True),
        (replace(GOOD, mean_log_prob=-1.1), True),
        (replace(GOOD, compression=2.4, mean_log_prob=-1.0), False),
    ],
)
def test_repetition_and_improbable_words_fail(found, fails):
    assert Fallback().fails(found) is fails


def test_windows_that_fail_are_drawn_again_until_they_pass(monkeypatch):
    """The stand-in of the sampler is as improbable as cold: at 0.2 a window fails again, at 0.4 it passes."""
    shapes: list[tuple[int, ...]] = []
    drawn: list[tuple[float, int]] = []
    searched = ear(-30.0, shapes)  # three tokens with the end: -10 a token
    hearing = searched.decode_fn

    def decode(variables, batch, lms):
        loud_b = jnp.asarray(batch.wave_bn[:, 0] > 5)  # these fail
        found = hearing(variables, batch, lms)
        return replace(found, log_probs_b=jnp.where(loud_b, found.log_probs_b, -1.0))

    def compiled(model, search, *, times):
        def sample(temperature, variables, batch, lms):
            drawn.append((temperature, int(batch.valid_b.sum())))
            return replace(hearing(variables, batch, lms), log_probs_b=jnp.full(len(batch.valid_b), -1.2 / temperature))

        return sample

    monkeypatch.setattr(fallback, "compile_sample_fn", compiled)
    form = WindowForm(MODEL, Beam(1), "attention")
    transcribe = with_fallback(replace(searched, decode_fn=decode), form, Beam(1), Fallback())
    found = transcribe([np.full(20, level, np.int16) for level in (9, 1, 9)])
    assert [transcript.temperature for transcript in found] == [0.4, 0.0, 0.4]
    assert drawn == [(0.2, 2), (0.4, 2)]
    assert [transcript.log_prob for transcript in found] == pytest.approx([-3.0, -1.0, -3.0])


def test_the_last_temperature_is_kept(monkeypatch):
    searched = ear(-30.0, [])
    monkeypatch.setattr(
        fallback, "compile_sample_fn", lambda model, search, *, times: lambda t, *rest: searched.decode_fn(*rest)
    )
    form = WindowForm(MODEL, Beam(1), "attention")
    (found,) = with_fallback(searched, form, Beam(1), Fallback((0.5, 1.0)))([np.ones(20, np.int16)])
    assert found.temperature == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperatures": (0.4, 0.2)}, "numbers above 0 that rise"),
        ({"temperatures": (0.0, 0.2)}, "numbers above 0 that rise"),
        ({"temperatures": ()}, "numbers above 0 that rise"),
        ({"most_compression": 0.0}, "most_compression 0.0"),
        ({"least_log_prob": float("nan")}, "least_log_prob nan"),
    ],
)
def test_an_impossible_rule_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        Fallback(**values)


def test_a_search_without_draws_is_named():
    form = WindowForm(MODEL, CtcGreedy(), "ctc")
    with pytest.raises(ValueError, match="needs a beam, and the search is CtcGreedy"):
        with_fallback(ear(-1.0, []), form, CtcGreedy(), Fallback())
