"""jaxasr transcribe --stream: pipes and files to lines of words, and how late they came."""

import dataclasses
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxasr.__main__ import main
from jaxasr.transcription import live
from jaxasr.transcription.live import LatencyStats, as_json, as_text, latency_stats, pcm_pieces, playback
from jaxasr.transcription.streaming import FinalWord
from tests import tiny_experiments as tiny
from tests.nn.tiny import RATE_HZ
from tests.trained_run import TINY, wav, write_tones
from tests.transcription.test_streaming import LIVELY, MODELS, variables_of, wave

WORDS = [FinalWord("AB", 0.1, 0.5, 0.75), FinalWord("C", 0.6, 1.0, 1.5), FinalWord("D", 1.5, 1.5, 1.75, 1)]


class Pipe(io.BytesIO):
    """Gives no more than seven bytes at once."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(size or 7, 7))


def test_samples_of_a_pipe_come_as_they_arrive():
    wave_n = np.array([1, -2, 300, -32_768, 32_767, 6, 7, 8], np.int16)
    pieces = list(pcm_pieces(Pipe(wave_n.astype("<i2").tobytes() + b"\x05"), 4))
    assert [len(piece) for piece in pieces] == [3, 4, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), wave_n)
    assert all(piece.dtype == np.int16 for piece in pieces)


def test_a_file_in_the_pipe_is_no_noise():
    with pytest.raises(ValueError, match="standard input begins with RIFF, as a file of audio does"):
        list(pcm_pieces(io.BytesIO(wav(np.zeros(10))), 100))


def test_an_interrupt_ends_what_is_heard():
    class Interrupted(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            if self.tell() == 8:
                raise KeyboardInterrupt
            return super().read1(size)

    assert [len(piece) for piece in pcm_pieces(Interrupted(bytes(20)), 2)] == [2, 2]


def test_a_file_is_played_as_fast_as_it_was_spoken_or_can_be_heard():
    wave_n, begun = np.arange(2_000, dtype=np.int16), time.monotonic()
    for real_time, least in ((False, 0.0), (True, 0.2)):
        np.testing.assert_array_equal(np.concatenate(list(playback(wave_n, 10_000, real_time=real_time))), wave_n)
        assert time.monotonic() - begun >= least


def test_delays_are_over_the_words():
    delays = latency_stats(WORDS, audio_s=4.0, compute_s=1.0, algorithmic_s=0.3)
    assert (delays.words, delays.segments, delays.real_time_factor) == (3, 2, 0.25)
    assert delays.mean_s == pytest.approx(1 / 3)
    assert (delays.median_s, delays.p90_s) == (0.25, 0.45)
    silent = latency_stats([], audio_s=0.0, compute_s=0.0, algorithmic_s=0.3)
    assert (silent.mean_s, silent.real_time_factor) == (None, None)
    assert "0 words" in as_text(silent)


def test_lines_for_people_and_for_programs():
    assert as_text(WORDS[0]) == "    0.10     0.50  AB  (+0.25 s)"
    assert json.loads(as_json(WORDS[1])) == {
        "text": "C",
        "start_s": 0.6,
        "end_s": 1.0,
        "emitted_at_s": 1.5,
        "segment": 0,
        "latency_s": 0.5,
    }
    delays = latency_stats(WORDS, audio_s=4.0, compute_s=1.0, algorithmic_s=0.3)
    assert as_text(delays).splitlines() == [
        "3 words in 2 segments of 4.0 s of speech, algorithmic latency 0.30 s",
        "words came after their ends: mean 0.33 s, median 0.25 s, nine of ten within 0.45 s",
        "computed in 1.00 s, real-time factor 0.250",
    ]
    assert json.loads(as_json(delays))["real_time_factor"] == 0.25


@pytest.fixture
def hearing(monkeypatch):
    """An experiment whose run has random parameters, which say much."""
    name = "MoChA, windows"
    monkeypatch.setattr(live, "trained_variables", lambda *_: (variables_of(name, LIVELY[name]), None))
    monkeypatch.setattr(live, "tokenizer_of", lambda _: tiny.TOKENS)
    calm = tiny.experiment()
    return dataclasses.replace(
        calm,
        model=MODELS[name],
        train_data=dataclasses.replace(calm.train_data, rate_hz=RATE_HZ),
        validation=dataclasses.replace(
            calm.validation, data=dataclasses.replace(calm.validation.data, rate_hz=RATE_HZ)
        ),
        evals={},
    )


def test_a_pipe_and_a_file_give_the_same_words(hearing, monkeypatch, tmp_path):
    wave_n = wave(16, 1_300)
    (tmp_path / "a.wav").write_bytes(wav(wave_n / 32_768, rate_hz=RATE_HZ))
    from_file = list(live.stream(hearing, tmp_path, tmp_path / "a.wav"))
    pipe = io.TextIOWrapper(io.BytesIO(wave_n.tobytes()))
    monkeypatch.setattr(sys, "stdin", pipe)
    from_pipe = list(live.stream(hearing, tmp_path))
    assert from_file[:-1] == from_pipe[:-1]
    assert len(from_file) > 3
    assert isinstance(from_file[-1], LatencyStats)
    assert from_file[-1].audio_s == 1.3
    assert from_file[-1].words == len(from_file) - 1


def test_a_file_that_is_not_there(hearing, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no audio file lost\.wav"):
        next(live.stream(hearing, tmp_path, Path("lost.wav")))


def test_the_command_prints_lines(hearing, monkeypatch, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(wav(wave(16, 1_300) / 32_768, rate_hz=RATE_HZ))
    monkeypatch.setattr("jaxasr.experiment.load", lambda *_: hearing)
    command = ["transcribe", str(TINY), "--workdir", str(tmp_path), "--stream", str(tmp_path / "a.wav")]
    assert main([*command, "--format", "json"]) == 0
    *words, delays = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert delays["words"] == len(words) > 3
    assert main([*command, "another.wav"]) == 1
    assert "--stream hears one FILE or -" in capsys.readouterr().err
    assert (
        main(
            [
                "transcribe",
                str(TINY),
                "--workdir",
                str(tmp_path),
                "--stream",
                "--chunk-ms",
                "90",
                str(tmp_path / "a.wav"),
            ]
        )
        == 1
    )
    assert "chunks of 90 ms" in capsys.readouterr().err


def test_a_model_that_can_not_hear_a_stream_says_so_before_anything_is_read(tmp_path, capsys):
    assert main(["transcribe", str(TINY), "--workdir", str(tmp_path), "--stream", "-"]) == 1
    told = capsys.readouterr().err
    assert "this model can't hear a stream: model.frontend.normalize is 'utterance'" in told


@pytest.mark.slow
def test_a_trained_run_hears_the_same_words_piece_by_piece(tmp_path, capsys):
    """`tiny.listening`, trained by the command line: each recording as a stream against the search for whole utterances.

    `jaxasr bench streaming` finds the error rate of the eval in the first segments.
    """
    write_tones(tmp_path / "wavs")
    data_dir, workdir = tmp_path / "data", tmp_path / "run"
    prepare = ["prepare", "manifest", "--from", str(tmp_path / "wavs"), "--data-dir", str(data_dir), "name=tones"]
    assert main(prepare) == 0
    assert main(["train", f"{TINY}:listening", "--workdir", str(workdir), "--data-dir", str(data_dir)]) == 0
    (hypotheses,) = workdir.glob("hypotheses.train.jsonl")
    whole = {row["id"]: row["hypothesis"] for row in map(json.loads, hypotheses.read_text().splitlines())}
    assert any(whole.values())
    for id, text in whole.items():
        heard = list(live.stream(tiny.listening(), workdir, tmp_path / "wavs" / f"{id}.wav"))
        words = [each.text for each in heard if isinstance(each, FinalWord) and each.segment == 0]
        assert words == text.split(), id
    [row] = [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]
    capsys.readouterr()
    bench = ["bench", "streaming", "--experiment", f"{TINY}:listening", "--workdir", str(workdir)]
    assert main([*bench, "--data-dir", str(data_dir)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{len(whole)} utterances of train"
    assert printed[2].startswith(f"their first segments: WER {row['wer']:.2%}, ")
