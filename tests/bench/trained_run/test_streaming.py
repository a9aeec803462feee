"""Tests of the benchmark of streaming, on models with random parameters and on results that are given."""

import pytest

from jaxasr.__main__ import main
from jaxasr.bench import benchmark
from jaxasr.bench.trained_run.streaming import StreamingResult, measure
from jaxasr.transcription.live import latency_stats
from tests.trained_run import TINY
from tests.transcription.test_streaming import LIVELY, heard, streamer_of, variables_of, wave


def test_every_wave_is_a_stream_of_its_own():
    """Words and delays are those of a session that hears one wave alone, in any order."""
    name = "MoChA, windows"
    streamer = streamer_of(name, variables_of(name, LIVELY[name]))
    waves = [wave(16, 1_300), wave(3, 900), wave(16, 1_300)]
    result = measure(streamer, waves, ["A", "B", "C"])
    alone = [heard(streamer, wave_n, 400)[0] for wave_n in waves]
    assert result.hypotheses == tuple(" ".join(word.text for word in words) for words in alone)
    assert result.hypotheses[0] == result.hypotheses[2] != result.hypotheses[1]
    first = tuple(" ".join(word.text for word in words if word.segment == 0) for words in alone)
    assert result.first_segments == first
    every = [word for words in alone for word in words]
    assert result.latency.words == len(every) > 6
    expected = latency_stats(every, audio_s=3.5, compute_s=1.0, algorithmic_s=streamer.algorithmic_latency_s)
    assert (result.latency.mean_s, result.latency.p90_s) == (expected.mean_s, expected.p90_s)
    assert result.latency.segments == sum(len({word.segment for word in words}) for words in alone)
    assert result.latency.audio_s == pytest.approx(3.5)
    assert result.latency.algorithmic_s == streamer.algorithmic_latency_s


def test_lines_tell_errors_with_and_without_what_follows_an_endpoint():
    """One stream has a word after its end; another one has a wrong word."""
    latency = latency_stats([], audio_s=2.0, compute_s=1.0, algorithmic_s=0.3)
    result = StreamingResult(("A B", "C D"), ("A B E", "C F"), ("A B", "C F"), latency)
    assert list(result.lines()) == [
        "streams: WER 50.00%, 0 of 2 without error",
        "their first segments: WER 25.00%, 1 of 2 without error",
        "0 words in 0 segments of 2.0 s of speech, algorithmic latency 0.30 s",
        "computed in 1.00 s, real-time factor 0.500",
    ]


def test_a_run_is_needed_and_other_options_are_refused():
    """Checks what is missing, and an option of the other benchmark of a run."""
    with pytest.raises(ValueError, match=r"give --experiment FILE\.py and --workdir RUN"):
        list(benchmark("streaming"))
    with pytest.raises(ValueError, match="bench streaming has no option --seconds"):
        list(benchmark("streaming", experiment=str(TINY), workdir=TINY.parent, seconds=1.0))


def test_a_model_that_needs_whole_utterances_says_so(trained_run, capsys):
    """The error is that of `jaxasr transcribe --stream`."""
    command = ["bench", "streaming", "--experiment", str(TINY), "--workdir", str(trained_run.workdir)]
    assert main([*command, "--data-dir", str(trained_run.data_dir)]) == 1
    assert "this model can't hear a stream: model.frontend.normalize is 'utterance'" in capsys.readouterr().err
