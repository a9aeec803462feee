"""Tests of numbers on the command line: what is not finite or out of range is an error of usage, before any work is done."""

import pytest

from jaxasr.__main__ import main
from jaxasr.cli.main import COMMANDS, build_parser
from tests.trained_run import TINY

HUGE = "9" * 400
EVERY = ("nan", "inf", "-inf", "1e999", "many", "", "0x10", "²", "-1", HUGE, "9" * 5_000)
TRANSCRIBE = ("transcribe", str(TINY), "a.wav", "--workdir", "run")
OPTIONS = {
    "--step-timeout-s": ("train", str(TINY), "--workdir", "run"),
    "--profile": ("train", str(TINY), "--workdir", "run"),
    "--workers": ("train", str(TINY), "--workdir", "run"),
    "--checkpoint": ("eval", str(TINY), "--workdir", "run"),
    "--jobs": ("sweep", f"{TINY}:some"),
    "--max-bad-share": ("prepare", "manifest"),
    "--max-clipped-share": ("prepare", "manifest"),
    "--pieces": ("train-tokenizer", "tones", "p.model"),
    "--order": ("ngram", str(TINY), "a.arpa"),
    "--prune": ("ngram", str(TINY), "a.arpa", "--order", "2"),
    "--window-s": TRANSCRIBE,
    "--batch-size": TRANSCRIBE,
    "--chunk-ms": TRANSCRIBE,
    "--no-speech-threshold": TRANSCRIBE,
    "--rounds": ("bench", "lstm"),
    "--seconds": ("bench", "non-speech"),
    "--utterances": ("bench", "non-speech"),
    "--threads": ("bench", "lstm"),
    "--devices": ("bench", str(TINY)),
    "--batch-scale": ("plan", str(TINY), "--topology", "cpu:1"),
    "--chip-hour-price": ("plan", str(TINY), "--topology", "cpu:1"),
    "--efficiency": ("plan", str(TINY), "--topology", "cpu:1"),
    "--hosts": ("verify-resume", str(TINY)),
    "--steps": ("verify-resume", str(TINY), "--hosts", "1"),
    "--limit-s": ("verify-resume", str(TINY), "--hosts", "1"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_number_out_of_range_is_an_error_of_usage(option, capsys):
    for text in EVERY:
        with pytest.raises(SystemExit, match="2"):
            main([*OPTIONS[option], f"{option}={text}"])
        message = capsys.readouterr().err.rpartition(f"argument {option}: ")[2]
        assert "is needed" in message or "are needed" in message or "is no checkpoint" in message, text
        assert len(message) < 200


def test_a_bonus_may_be_negative_but_is_finite(capsys):
    assert build_parser().parse_args([*TRANSCRIBE, "--hotword-bonus=-0.5"]).hotword_bonus == -0.5
    for text in ("nan", "inf", HUGE):
        with pytest.raises(SystemExit, match="2"):
            main([*TRANSCRIBE, f"--hotword-bonus={text}"])
        assert "a finite number is needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("--step-timeout-s", "0.5", 0.5),
        ("--workers", "2", 2),
        ("--profile", "100:110", (100, 110)),
        ("--checkpoint", "160", 160),
        ("--max-bad-share", "1", 1.0),
        ("--prune", "0,0,1", (0, 0, 1)),
        ("--window-s", "20", 20.0),
        ("--batch-scale", "0.5,2", (0.5, 2.0)),
        ("--efficiency", "0", 0.0),
        ("--hosts", "2,1,4", (2, 1, 4)),
    ],
)
def test_numbers_in_range_are_taken(option, text, value):
    words = [*OPTIONS[option], f"{option}={text}"]
    options = build_parser().parse_args([*words, *(["--hosts", "1"] if option == "--limit-s" else [])])
    assert getattr(options, option.removeprefix("--").replace("-", "_")) == value


def test_no_option_is_a_bare_int_or_float():
    """An option of a plain type would take NaN, infinity and numbers of any size."""
    (subparsers,) = (action for action in build_parser()._actions if action.dest == "name")
    parsers = dict(subparsers.choices or {})  # pyright: ignore[reportArgumentType]
    assert parsers.keys() == COMMANDS.keys()
    bare = [
        f"{name} {action.dest}"
        for name, sub in parsers.items()
        for action in sub._actions
        if action.type in (int, float)
    ]
    assert bare == []
