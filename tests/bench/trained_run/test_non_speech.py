"""Tests of the benchmark of the no-speech decision, on a tiny run and on results that are given."""

import shutil

import pytest

from jaxasr.__main__ import main
from jaxasr.bench import benchmark
from jaxasr.bench.trained_run.non_speech import GroupResult
from jaxasr.data.non_speech import SOUNDS
from tests.trained_run import TINY


def test_words_and_errors_are_counted_before_and_after():
    """Counts words per minute over all files of a group, and errors against the references."""
    result = GroupResult("hum", 30.0, ("A B", "C"), ("A B", "C D E"), ("A", ""))
    assert result.words_per_minute == (10.0, 2.0)
    assert result.word_error_rate == pytest.approx((2 / 3, 2 / 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give --experiment FILE.py and --workdir RUN"),
        ({"experiment": str(TINY), "workdir": TINY.parent, "seconds": float("nan")}, "positive numbers are needed"),
        ({"experiment": str(TINY), "workdir": TINY.parent, "utterances": 0}, "positive numbers are needed"),
        ({"rounds": 3}, "bench non-speech has no option --rounds"),
    ],
)
def test_options_that_are_not_possible(options, message):
    """Checks what is missing, and options of other benchmarks."""
    with pytest.raises(ValueError, match=message):
        list(benchmark("non-speech", **options))


def test_the_command_measures_a_run(trained_run, tmp_path, capsys):
    """Checks that there is a line for every kind of sound and condition of speech."""
    run = shutil.copytree(trained_run.workdir, tmp_path / "run")
    command = ["bench", "non-speech", "--experiment", str(TINY), "--workdir", str(run)]
    assert main([*command, "--data-dir", str(trained_run.data_dir), "--seconds", "0.5", "--utterances", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "words per minute without speech, 0.5 s at each of -55, -40, -25, -12 dBFS"
    names = [line[:36].strip().removesuffix(" (not in calibration)") for line in lines]
    speech = ["as it is", "with noise at 20 dB", "with noise at 10 dB", "30 dB quieter"]
    assert names[1 : len(SOUNDS) + 3] == ["silence", *SOUNDS, "mean"]
    assert names[len(SOUNDS) + 4 :] == speech
    assert "0.0 ->    0.0" in lines[1]  # silence
    assert all("->" in line for line in lines[1:] if not line.startswith("word"))


def test_options_of_the_run_belong_to_this_benchmark_alone(trained_run, capsys):
    """Checks the error for the benchmark of an experiment."""
    assert main(["bench", str(TINY), "--workdir", str(trained_run.workdir), "--seconds", "1"]) == 1
    assert "--workdir, --seconds are options of bench non-speech and streaming" in capsys.readouterr().err
