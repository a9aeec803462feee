"""Speech files to text: whatever libsndfile reads, and a refusal with a reason for what can't be used."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr import data
from jaxasr.decode import Beam, Greedy, Hotwords, MaxTokens, NoRepeatNgram
from jaxasr.training import Metadata
from jaxasr.transcription import Transcript, TranscriptionError, transcribe
from jaxasr.transcription.decode import compile_decode_fn
from jaxasr.transcription.loading import WINDOW_S, longest_window_s, windows_of, with_hotwords
from jaxasr.transcription.segments import Windows, segments
from tests import tiny_experiments as tiny
from tests.trained_run import TRAIN, spoken


@pytest.fixture
def experiment():
    return tiny.experiment()


def hear(trained_run, *paths, rows=1, **options):
    """Files of half a second and more are heard in one shape, which one test compiles for all."""
    return list(transcribe(tiny.experiment(), trained_run.workdir, paths, batch_size=rows, **options))


def test_files_are_heard_together_in_their_order(trained_run):
    paths = [trained_run.wavs / f"train-{number}.wav" for number in (7, 0, 5)]
    found = hear(trained_run, *paths, rows=4)
    assert [(each.path, each.text) for each in found] == [
        (path, TRAIN[number]) for path, number in zip(paths, (7, 0, 5), strict=True)
    ]
    for each in found:
        assert isinstance(each, Transcript)
        assert each.complete
        assert each.seconds == pytest.approx(0.12 * len(each.text))
        assert -2.0 < each.log_prob < 0.0


def test_words_of_a_file_stand_in_their_order_inside_it(trained_run):
    (heard,) = hear(trained_run, trained_run.wavs / "train-7.wav")
    assert [word.text for word in heard.words] == TRAIN[7].split()
    bounds = [bound for word in heard.words for bound in (word.start_s, word.end_s)]
    assert min(bounds) >= 0.0
    assert max(bounds) <= heard.seconds + 0.1


def test_another_rate_another_format_and_more_channels(trained_run, tmp_path):
    soundfile.write(tmp_path / "stereo.flac", np.stack([spoken("CAD", 48_000)] * 2, axis=1), 48_000)
    soundfile.write(tmp_path / "float.wav", spoken("CAD", 22_050), 22_050, subtype="FLOAT")
    heard = hear(trained_run, tmp_path / "stereo.flac", tmp_path / "float.wav")
    assert [each.text for each in heard] == ["CAD"] * 2


def test_another_search_and_another_checkpoint(trained_run):
    path = trained_run.wavs / "train-2.wav"
    (greedy,), (beam,), (mean,) = (
        hear(trained_run, path, search=search, checkpoint=checkpoint)
        for search, checkpoint in ((None, "best"), (Beam(3), 160), (None, "mean"))
    )
    assert greedy.text == beam.text == mean.text == TRAIN[2]
    assert beam.log_prob == pytest.approx(greedy.log_prob, abs=1e-4)  # "best" is the newest of equals: step 160


def test_a_file_that_cannot_be_used_does_not_keep_the_others_from_being_heard(trained_run, tmp_path):
    good, bad = trained_run.wavs / "train-5.wav", tmp_path / "noise.mp3"
    bad.write_bytes(b"not audio at all")
    paths = (good, tmp_path / "lost.wav", bad, tmp_path, Path("-"), good)
    first, missing, refused, folder, piped, last = hear(trained_run, *paths)
    assert first.text == last.text == TRAIN[5]
    assert missing == TranscriptionError(tmp_path / "lost.wav", f"there is no audio file {tmp_path / 'lost.wav'}")
    assert isinstance(refused, TranscriptionError)
    assert refused.reason.startswith(f"{bad}: 16 bytes that libsndfile cannot decode")
    assert folder == TranscriptionError(
        tmp_path, f"{tmp_path} is a folder; give the files in it, such as {tmp_path}/*.flac"
    )
    assert piped == TranscriptionError(
        Path("-"), "- is standard input, which is heard with --stream alone; give a file"
    )


def test_times_are_those_of_ctc_or_of_the_attention(trained_run):
    """CTC: the middle of every word within a letter (120 ms; positions are 40 ms). The attention of this run has learnt the
    sentences by heart and looks anywhere, but inside the file."""
    path = trained_run.wavs / "train-5.wav"
    assert TRAIN[5] == "BAD CAB"
    (auto,), (ctc,), (attention,) = (hear(trained_run, path, times=times) for times in ("auto", "ctc", "attention"))
    assert auto == ctc
    np.testing.assert_allclose([(word.start_s + word.end_s) / 2 for word in ctc.words], [0.18, 0.66], atol=0.12)
    assert [word.text for word in attention.words] == ["BAD", "CAB"]
    for word in (*ctc.words, *attention.words):
        assert 0.0 <= word.start_s < word.end_s <= ctc.seconds
        assert 0.0 < word.confidence <= 1.0


def test_a_long_file_is_heard_as_its_windows_are_alone(trained_run, tmp_path):
    """What the model hears in them is another matter: it has learnt eight recordings by heart, silence at no end."""
    pause = np.zeros(4_000)
    wave = np.concatenate([x for text in ("BAD CAB", "BA DC", "CC BB") for x in (spoken(text), pause)])
    soundfile.write(tmp_path / "long.wav", wave, 16_000)
    blocks = soundfile.blocks(tmp_path / "long.wav", 1_000, dtype="int16")
    paths, starts = [], []
    for number, each in enumerate(segments(blocks, Windows(1.0), rate_hz=16_000)):
        assert each.overlap == 0
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], each.wave_n[each.begin : each.end], 16_000)
        starts.append((each.start + each.begin) / 16_000)
    assert len(paths) == 3
    (long,), pieces = hear(trained_run, tmp_path / "long.wav"), hear(trained_run, *paths)
    assert long.text == " ".join(piece.text for piece in pieces)
    assert long.log_prob == pytest.approx(sum(piece.log_prob for piece in pieces))
    assert long.seconds == len(wave) / 16_000
    placed = [word.start_s + start for piece, start in zip(pieces, starts, strict=True) for word in piece.words]
    np.testing.assert_allclose([word.start_s for word in long.words], placed, atol=2e-3)


def test_windows_are_as_long_as_the_longest_utterance_of_training(experiment):
    metadata = Metadata("", "", "", "", {})
    assert longest_window_s(experiment, replace(metadata, longest_s=3.0)) == 3.0
    assert longest_window_s(experiment, metadata) == 1.0  # of its Buckets
    chosen = replace(experiment.train_data, shapes=data.ChooseBuckets(count=2, seconds_per_batch=8.0))
    assert longest_window_s(replace(experiment, train_data=chosen), metadata) == WINDOW_S
    kept = replace(chosen, transforms=(*chosen.transforms, data.KeepSeconds(0.1, 7.0)))
    assert longest_window_s(replace(experiment, train_data=kept), metadata) == 7.0


def test_windows_of_long_files_are_as_long_as_usual_utterances_and_short_files_are_whole(experiment):
    metadata = Metadata("", "", "", "", {}, longest_s=9.0, usual_s=(2.0, 6.0))
    assert windows_of(experiment, metadata) == Windows(6.0, whole_s=9.0)
    assert windows_of(experiment, replace(metadata, usual_s=(0.0, 0.0))) == Windows(
        9.0, whole_s=9.0
    )  # an older checkpoint
    assert windows_of(experiment, replace(metadata, usual_s=(0.2, 0.5), longest_s=1.5)) == Windows(1.0, whole_s=1.5)
    assert windows_of(experiment, metadata, 4.0) == Windows(4.0)


@pytest.mark.parametrize(("window_s", "is_unusual"), [(1.9, True), (2.0, False), (9.0, False), (9.1, True)])
def test_windows_unlike_training_are_warned_of(experiment, window_s, is_unusual, capsys):
    metadata = Metadata("", "", "", "", {}, longest_s=9.0, usual_s=(2.0, 6.0))
    windows_of(experiment, metadata, window_s)
    warning = capsys.readouterr().err
    assert bool(warning) == is_unusual
    if is_unusual:
        assert "90 % of the utterances of training have 2 to 6 s, the longest 9 s" in warning
        assert warning.endswith("or give --window-s 6\n")
    windows_of(experiment, Metadata("", "", "", "", {}), window_s)  # an older checkpoint: nothing is known
    assert capsys.readouterr().err == ""


def test_a_run_knows_its_usual_durations(trained_run, tmp_path, capsys):
    """The eight utterances have 0.12 to 0.84 s."""
    soundfile.write(tmp_path / "one.wav", spoken("AB"), 16_000)
    for window_s in (None, 5.0):
        list(transcribe(tiny.experiment(), trained_run.workdir, [tmp_path / "one.wav"], window_s=window_s))
    assert capsys.readouterr().err == (
        "jaxasr transcribe: windows of up to 5 s, and 90 % of the utterances of training have 0.12 to 0.84 s, the longest "
        "1 s: expect more errors, or give --window-s 1\n"
    )


def test_confidences_are_those_of_the_calibration_that_lies_in_the_run(trained_run, tmp_path):
    run = shutil.copytree(trained_run.workdir, tmp_path / "run")
    path = trained_run.wavs / "train-5.wav"
    (raw,) = transcribe(tiny.experiment(), run, [path])
    (run / "confidence.json").write_text('{"slope": 0.0, "offset": 0.0}')
    (levelled,) = transcribe(tiny.experiment(), run, [path])
    assert [word.confidence for word in levelled.words] == [0.5, 0.5]
    assert [word._replace(confidence=0.5) for word in raw.words] == list(levelled.words)
    (run / "confidence.json").write_text("{}")
    with pytest.raises(ValueError, match=r"confidence.json is damaged .* make it again with jaxasr calibrate"):
        list(transcribe(tiny.experiment(), run, [path]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 0.1}, "a window at least four pauses"),
        ({"rows": 0}, "0 windows at once; at least 1 is needed"),
    ],
)
def test_options_that_are_not_possible(trained_run, options, message):
    with pytest.raises(ValueError, match=message):
        hear(trained_run, trained_run.wavs / "train-0.wav", **options)


def test_times_of_ctc_need_a_ctc_head():
    model = replace(tiny.experiment().model, ctc=None)
    with pytest.raises(ValueError, match="the model has no CTC head: take them from the attention"):
        compile_decode_fn(model, Greedy(), times="ctc")


def test_hotwords_are_paid_for_in_a_beam_and_refused_elsewhere():
    experiment = tiny.experiment()
    beam = with_hotwords(Beam(3), experiment, ("dab cab",), 0.7)
    assert beam == Beam(3, scorers=(Hotwords(tiny.TOKENS, ("DAB CAB",), 0.7),))
    assert with_hotwords(Greedy(), experiment, (), 0.7) == Greedy()
    with pytest.raises(
        ValueError, match="hotwords need a beam, and the search is Greedy: take another, such as --search beam"
    ):
        with_hotwords(Greedy(), experiment, ("AB",), 0.7)
    with pytest.raises(ValueError, match="'E' in 'EA' is not in the alphabet"):
        with_hotwords(Beam(3), experiment, ("ea",), 0.7)
    with pytest.raises(ValueError, match=r"hotwords \['--', '\?'\] have no letter left in the form 'upper'"):
        with_hotwords(Beam(3), experiment, ("--", "ab", "?"), 0.7)


@pytest.mark.parametrize("kind", ["silence", "noise", "tones", "one tone"])
def test_ten_minutes_of_no_speech_yield_no_more_than_stated(trained_run, tmp_path, kind):
    """No input makes the model run away: ten tokens a second at most, and no phrase of a window five times in a row."""
    t = np.arange(600 * 16_000) / 16_000
    samples = {
        "silence": np.zeros(len(t)),
        "noise": np.random.default_rng(1).normal(0.0, 0.1, len(t)),
        "tones": 0.3 * np.sin(2 * np.pi * (500 + 400 * np.sin(3 * t)) * t),
        "one tone": 0.3 * np.sin(2 * np.pi * 600.0 * t),
    }[kind]
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    guarded = Beam(2, max_tokens=MaxTokens(0.4, 0), scorers=(NoRepeatNgram(4, 5),))  # 25 encoder positions a second
    (heard,) = transcribe(
        tiny.experiment(), trained_run.workdir, [tmp_path / "long.flac"], search=guarded, window_s=8.0
    )
    assert isinstance(heard, Transcript)
    assert len(heard.text) <= 600 * 10
    assert kind != "silence" or not heard.text
