"""Speech files to text: whatever libsndfile reads, and a refusal with a reason for what can't be used."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.decode import Beam
from jaxasr.report.subtitles import Word
from jaxasr.run import Refusal, Transcript, Workdir, transcribe
from jaxasr.run.transcribe import read_wave, words_heard
from jaxasr.text import Characters
from tests.run import tiny
from tests.run.river import TRAIN, spoken, wav

NOISE = np.random.default_rng(3).normal(size=160)


@pytest.fixture
def experiment():
    return tiny.experiment()


def hear(river, *paths, **options):
    return list(transcribe(tiny.experiment(), Workdir(river.workdir), paths, **options))


def test_files_are_heard_in_their_order(river):
    paths = [river.wavs / f"train-{number}.wav" for number in (7, 0, 5)]
    found = hear(river, *paths)
    assert [(each.path, each.text) for each in found] == [
        (path, TRAIN[number]) for path, number in zip(paths, (7, 0, 5), strict=True)
    ]
    for each in found:
        assert isinstance(each, Transcript)
        assert each.complete
        assert each.seconds == pytest.approx(0.12 * len(each.text))
        assert -2.0 < each.log_prob < 0.0


def test_words_have_the_times_at_which_the_attention_was_on_them():
    """Tokens 1 to 3 stand for A, a space and B; two heads look at positions 2, 3 and 5 to 6."""
    tokenizer = Characters("A B")
    weights_uhs = np.zeros((3, 2, 8))
    weights_uhs[0, :, 2] = weights_uhs[1, :, 3] = 1.0
    weights_uhs[2, :, 5:7] = 0.5
    tokens = np.array(tokenizer.encode("A B"))
    assert list(words_heard(tokens, weights_uhs, tokenizer, 0.04)) == [Word("A", 0.08, 0.12), Word("B", 0.2, 0.28)]
    assert list(words_heard(tokens[:0], weights_uhs, tokenizer, 0.04)) == []


def test_words_of_a_file_stand_in_their_order_inside_it(river):
    (heard,) = hear(river, river.wavs / "train-7.wav")
    assert [word.text for word in heard.words] == TRAIN[7].split()
    bounds = [bound for word in heard.words for bound in (word.start_s, word.end_s)]
    assert min(bounds) >= 0.0
    assert max(bounds) <= heard.seconds + 0.1


def test_another_rate_another_format_and_more_channels(river, tmp_path):
    soundfile.write(tmp_path / "stereo.flac", np.stack([spoken("CAD", 48_000)] * 2, axis=1), 48_000)
    soundfile.write(tmp_path / "float.wav", spoken("CAD", 22_050), 22_050, subtype="FLOAT")
    heard = hear(river, tmp_path / "stereo.flac", tmp_path / "float.wav")
    assert [each.text for each in heard] == ["CAD"] * 2


def test_what_is_read_is_mono_at_the_rate_of_the_experiment(experiment, tmp_path):
    soundfile.write(tmp_path / "lossy.ogg", np.stack([spoken("CAD"), 0 * spoken("CAD")], axis=1), 16_000)
    wave_n = read_wave(tmp_path / "lossy.ogg", experiment)
    assert wave_n.dtype == np.int16
    assert np.corrcoef(wave_n, spoken("CAD"))[0, 1] > 0.99
    assert np.abs(wave_n).max() == pytest.approx(0.5 * 0.3 * 32_768, rel=0.1)


def test_another_search_and_another_checkpoint(river):
    path = river.wavs / "train-2.wav"
    (greedy,), (beam,), (mean,) = (
        hear(river, path, search=search, checkpoint=checkpoint)
        for search, checkpoint in ((None, "best"), (Beam(3), 160), (None, "mean"))
    )
    assert greedy.text == beam.text == mean.text == TRAIN[2]
    assert beam.log_prob == pytest.approx(greedy.log_prob, abs=1e-4)  # "best" is the newest of equals: step 160


def test_a_file_that_cannot_be_used_does_not_keep_the_others_from_being_heard(river, tmp_path):
    good, bad = river.wavs / "train-0.wav", tmp_path / "noise.mp3"
    bad.write_bytes(b"not audio at all")
    first, missing, refused, last = hear(river, good, tmp_path / "lost.wav", bad, good)
    assert first.text == last.text == TRAIN[0]
    assert missing == Refusal(tmp_path / "lost.wav", f"there is no audio file {tmp_path / 'lost.wav'}")
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(f"{bad}: 16 bytes that libsndfile cannot decode")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (wav(np.zeros(0)), "zero samples"),
        (b"RIFF" + bytes(40), "44 bytes that libsndfile cannot decode"),
        (wav(np.where(np.arange(800) % 200 == 7, math.nan, 0.0), subtype="FLOAT"), "4 samples are NaN or infinite"),
        (wav(np.full(800, math.inf), subtype="DOUBLE"), "800 samples are NaN or infinite"),
        (wav(NOISE), r"has 160 samples \(10.0 ms at 16000 Hz\); at least one window of 40 ms is needed"),
        (wav(np.zeros(480_001), rate_hz=8_000), "is 60.0 s long; at most 60 s are transcribed in one piece: cut it"),
    ],
    ids=["empty", "no samples", "no audio", "nan", "inf", "short", "long"],
)
def test_what_cannot_be_used_is_refused_by_name(experiment, tmp_path, content, message):
    path = tmp_path / "some.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_wave(path, experiment)
    assert str(path) in str(caught.value)


def test_what_is_no_file_is_not_there(experiment, tmp_path):
    for path in (tmp_path, Path("lost.wav")):
        with pytest.raises(FileNotFoundError, match="there is no audio file"):
            read_wave(path, experiment)
