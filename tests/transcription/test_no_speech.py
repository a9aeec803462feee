"""Tests of the no-speech decision of a run: its file, its calibration, and what `transcribe` does with it."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import soundfile

from jaxasr.__main__ import main
from jaxasr.experiment import RuntimeConfig, Workdir
from jaxasr.score.no_speech import NoSpeechMap
from jaxasr.transcription import calibrate, transcribe
from jaxasr.transcription.no_speech import load_no_speech_map
from tests import tiny_experiments as tiny
from tests.trained_run import RATE_HZ, TRAIN, TrainedRun

NEVER = NoSpeechMap(0.0, 0.0, 20.0)  # a probability of 0 for every window
ALWAYS = NoSpeechMap(0.0, 0.0, -20.0)


@pytest.fixture
def run(trained_run, tmp_path):
    """Copies the trained run, so that a map can be stored in it."""
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


def store(run, weights: NoSpeechMap) -> None:
    """Stores a map as `calibrate` does."""
    (run / "no_speech.json").write_text(json.dumps(asdict(weights)))


def test_a_run_without_calibration_has_the_default(run):
    """Checks models with and without a CTC head."""
    for ctc in (True, False):
        assert load_no_speech_map(Workdir(run), ctc=ctc) == NoSpeechMap.default(ctc=ctc)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"decoder_weight": 1, "ctc_weight": "x", "offset": 0}',
        '{"decoder_weight": -1, "ctc_weight": 1, "offset": 0}',
        '{"decoder_weight": 1, "ctc_weight": 1, "offset": NaN}',
    ],
)
def test_a_file_that_is_damaged(run, text):
    """Checks that the error names the file and the remedy."""
    (run / "no_speech.json").write_text(text)
    with pytest.raises(ValueError, match=r"no_speech.json is damaged .* make it again with jaxasr calibrate"):
        load_no_speech_map(Workdir(run), ctc=True)


def test_a_map_of_a_model_with_another_head(run):
    """Checks a map that reads CTC for a model without it."""
    store(run, NoSpeechMap(1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="it reads a CTC head, which the model lacks"):
        load_no_speech_map(Workdir(run), ctc=False)


def test_calibration_is_stored_where_transcribe_finds_it(trained_run: TrainedRun, run):
    """Fits on the tones that this run knows, and on noise, hum and chords: after it, its recordings are kept."""
    printed: list[str] = []
    calibrate(tiny.experiment(), run, RuntimeConfig(trained_run.data_dir), splits=("test",), print_fn=printed.append)
    kept = json.loads((run / "no_speech.json").read_text())
    assert printed[-1].startswith("no speech: ")
    assert kept["speech_windows"] == 4 * len(TRAIN)
    assert kept["right_words_lost"] <= 0.1
    fitted = load_no_speech_map(Workdir(run), ctc=True)
    assert asdict(fitted) == {name: kept[name] for name in ("decoder_weight", "ctc_weight", "offset")}
    (transcript,) = transcribe(tiny.experiment(), run, [trained_run.wavs / "train-5.wav"])
    assert transcript.text == TRAIN[5]


def test_words_are_withheld_from_the_threshold_on(trained_run, run):
    """Checks a map that finds no speech anywhere, thresholds, and the decision switched off."""
    path = trained_run.wavs / "train-5.wav"
    store(run, ALWAYS)
    found = {}
    for threshold in (0.5, 1.0, None):
        (found[threshold],) = transcribe(tiny.experiment(), run, [path], no_speech_threshold=threshold)
    assert [transcript.text for transcript in found.values()] == ["", "", TRAIN[5]]  # rounded, the probability is 1
    (window,) = found[0.5].windows
    assert (window.no_speech_prob, window.speech) == (1.0, False)
    assert [word.text for word in window.withheld] == TRAIN[5].split()
    assert found[None].windows == ()
    store(run, NEVER)
    (transcript,) = transcribe(tiny.experiment(), run, [path])
    assert transcript.text == TRAIN[5]
    assert transcript.windows[0].no_speech_prob == 0.0


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_a_threshold_that_is_no_probability(trained_run, threshold):
    """Checks the error of the library."""
    with pytest.raises(ValueError, match="a probability above 0 and up to 1 is needed, or None"):
        transcribe(tiny.experiment(), trained_run.workdir, ["some.wav"], no_speech_threshold=threshold).__next__()


def test_the_command_counts_what_it_withholds(trained_run, run, tmp_path, capsys):
    """Checks standard output and the remark on stderr, with the decision, without it, and with impossible thresholds."""
    store(run, ALWAYS)
    path = trained_run.wavs / "train-5.wav"
    assert main(trained_run.arguments("transcribe", path, workdir=run)) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{path}\t\n"
    assert f"{path}: no speech in 1 of 1 windows (0.8 of 0.8 s), where 2 recognised words are withheld" in printed.err
    assert main([*trained_run.arguments("transcribe", path, workdir=run), "--no-speech-threshold", "off"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{path}\t{TRAIN[5]}\n"
    assert "withheld" not in printed.err
    for wrong in ("0", "1.01", "nan", "inf", "none"):
        with pytest.raises(SystemExit):
            main([*trained_run.arguments("transcribe", path, workdir=run), "--no-speech-threshold", wrong])
        assert f"{wrong!r} is given; a finite number above 0 to 1 is needed" in capsys.readouterr().err


def test_models_without_ctc_and_every_source_of_times_have_the_evidence(trained_run, run):
    """Checks that the probability does not depend on where word times come from."""
    path = trained_run.wavs / "train-7.wav"
    probabilities = set()
    for times in ("ctc", "attention"):
        (transcript,) = transcribe(tiny.experiment(), run, [path], times=times)
        probabilities.add(transcript.windows[0].no_speech_prob)
    assert len(probabilities) == 1


def test_padding_does_not_change_the_probability(trained_run, run, tmp_path):
    """Compares a recording alone with the same one in a batch of longer ones."""
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(0.0, 0.1, RATE_HZ), RATE_HZ)
    paths = [tmp_path / "noise.wav", trained_run.wavs / "train-6.wav", tmp_path / "noise.wav"]
    (alone,) = transcribe(tiny.experiment(), run, paths[1:2], batch_size=1)
    _, together, _ = transcribe(tiny.experiment(), run, paths, batch_size=4)
    assert alone.windows[0].no_speech_prob == pytest.approx(together.windows[0].no_speech_prob, abs=2e-4)
