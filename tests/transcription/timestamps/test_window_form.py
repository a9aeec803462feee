"""A tiny Whisper with random weights writes segments between times; other models are named."""

import numpy as np
import pytest
import soundfile

from jaxasr import tree
from jaxasr.decode import Beam, CtcGreedy, Greedy, MaxTokens
from jaxasr.experiment import load
from jaxasr.huggingface import import_run
from jaxasr.transcription import Fallback, TranscriptionError, iter_transcripts
from jaxasr.transcription.timestamps.window_form import window_form
from tests import tiny_experiments
from tests import tiny_whisper as tiny


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf")
    tiny.write_checkpoint(folder / "nano", times=46)
    import_run(str(folder / "nano"), folder / "run")
    return load(str(folder / "run" / "experiment.py")), folder / "run"


def test_the_prompt_asks_for_times_and_the_search_has_their_rules(imported):
    experiment, _ = imported
    search = experiment.validation.search
    form = window_form(experiment, search, "timestamps", "auto")
    assert form.model.decoder.prompt == experiment.model.decoder.prompt[:-1]
    none = experiment.tokenizer.special("<|notimestamps|>")
    rules = form.search.scorers[0]
    assert (rules.zero, rules.times) == (none + 1, 46)
    assert set(rules.never.tokens) == {*search.scorers[0].tokens, none}
    assert form.longest_s == 0.9  # the latest time of this vocabulary
    assert window_form(experiment, Greedy(MaxTokens(0.0, 9)), "timestamps", "auto").search.max_tokens.extra == 9
    assert window_form(experiment, search, "pauses", "auto").search is search


def test_files_become_words_with_windows_by_timestamps_and_a_fallback(imported, tmp_path):
    """Random weights are improbable, so every window falls back; both ways of cutting end with all of the audio."""
    experiment, workdir = imported
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 1_600), 16_000)
    for windows, most_s in (("timestamps", None), ("pauses", 0.8)):
        (*_, found) = iter_transcripts(
            experiment,
            workdir,
            [path],
            windows=windows,
            window_s=most_s,
            batch_size=1,
            fallback=Fallback((1.0,)),
            search=Beam(1, scorers=experiment.validation.search.scorers, max_tokens=MaxTokens(0.0, 4)),
            no_speech_threshold=None,
        )
        assert not isinstance(found, TranscriptionError)
        assert found.seconds == pytest.approx(0.1)
        assert found.drawn > 0


def test_other_models_and_searches_are_named(imported):
    with pytest.raises(ValueError, match=r"tokens of times of a Whisper.*Speller with"):
        window_form(tiny_experiments.experiment(), Beam(1), "timestamps", "auto")
    with pytest.raises(ValueError, match="greedy search or a beam, and the search is CtcGreedy"):
        window_form(imported[0], CtcGreedy(), "timestamps", "auto")
    without = tree.override(imported[0], {"model.decoder.prompt": "(1,)"})
    with pytest.raises(ValueError, match=r"the prompt of the decoder is \(1,\); .* ends with <\|notimestamps\|>"):
        window_form(without, Beam(1), "timestamps", "auto")
