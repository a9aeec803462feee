"""Tests of the command line: every subcommand on a tiny run, help texts, and mistakes in the command."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from jaxasr.__main__ import main
from jaxasr.cli.main import COMMANDS, RENAMED_COMMANDS, RENAMED_OPTIONS, build_parser
from jaxasr.run.metric_accumulator import MetricAccumulator
from tests.processes import PROCESS_S
from tests.trained_run import TINY, TRAIN


def test_nothing_is_imported_before_it_is_needed():
    """The help appears at once, because slow imports are inside the subcommands."""
    code = "import sys, jaxasr.__main__; print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PROCESS_S, check=True)
    assert found.stdout == "set()\n"


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    for command in ("prepare", "show", "train", "eval", "transcribe", "bench"):
        assert f"    {command}" in printed


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_help_of_a_command_has_examples_that_can_be_parsed(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command.name, "--help"])
    printed = capsys.readouterr().out
    assert command.summary in printed
    assert command.examples
    for example in command.examples:
        assert example in printed
        call = example[example.index("jaxasr ") :].removesuffix(')"')  # behind a pipe, or within eval "$(...)"
        _, *arguments = shlex.split(call)
        assert build_parser().parse_known_args(arguments)[0].name == command.name


def test_show_prints_the_experiment_and_its_shapes(trained_run, capsys):
    assert main(trained_run.arguments("show", "seed=7", "model.encoder.width=4")) == 0
    printed = capsys.readouterr().out
    assert "seed = 7\n" in printed
    assert "model.encoder.width = 4\n" in printed
    assert "epoch 0: 1 batches, 0.00 h, 55.00% padding" in printed


def test_show_without_data_says_what_to_prepare(trained_run, tmp_path, capsys):
    assert main(["show", str(TINY), "--data-dir", str(tmp_path)]) == 0
    assert "(no shapes: corpus 'tones' is not prepared in" in capsys.readouterr().out


def test_options_and_overrides_may_stand_in_any_order(trained_run, capsys):
    arguments = ["show", "--data-dir", str(trained_run.data_dir), str(TINY), "seed=7"]
    for order in (arguments, [arguments[0], *arguments[3:], *arguments[1:3]]):
        assert main(order) == 0
        assert "seed = 7\n" in capsys.readouterr().out


def test_transcribe_prints_a_line_a_file(trained_run, capsys):
    paths = [trained_run.wavs / f"train-{number}.wav" for number in (1, 4)]
    assert main(trained_run.arguments("transcribe", *paths)) == 0
    assert capsys.readouterr().out.splitlines() == [f"{paths[0]}\t{TRAIN[1]}", f"{paths[1]}\t{TRAIN[4]}"]


def test_transcribe_writes_json_and_subtitles(trained_run, capsys, tmp_path):
    path = trained_run.wavs / "train-1.wav"
    assert main([*trained_run.arguments("transcribe", path), "--format", "json"]) == 0
    heard = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert heard["text"] == " ".join(word["text"] for word in heard["words"]) == TRAIN[1]
    assert 0.0 <= heard["words"][0]["start_s"] < heard["words"][-1]["end_s"] <= heard["seconds"] + 0.1
    assert main([*trained_run.arguments("transcribe", path), "--format", "srt", "--out", str(tmp_path / "titles")]) == 0
    assert (tmp_path / "titles" / "train-1.srt").read_text().splitlines()[2] == TRAIN[1]


def test_transcribe_takes_another_search_and_files_on_both_sides_of_options(trained_run, capsys):
    one, two = (trained_run.wavs / f"train-{number}.wav" for number in (1, 4))
    order = [
        "transcribe",
        str(TINY),
        str(one),
        "--workdir",
        str(trained_run.workdir),
        "--search",
        "beam",
        "search.width=3",
        str(two),
    ]
    assert main(order) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one}\t{TRAIN[1]}", f"{two}\t{TRAIN[4]}"]


def test_eval_adds_a_row(trained_run, run, capsys, tmp_path):
    results = tmp_path / "all.jsonl"
    arguments = ["--splits", "test", "--checkpoint", "80", "--results", str(results)]
    assert main([*trained_run.arguments("eval", workdir=run), *arguments]) == 0
    assert "test: WER " in capsys.readouterr().out
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert [(row["split"], row["step"]) for row in rows] == [("train", 160), ("test", 160), ("test", 80)]
    assert json.loads(results.read_text()) == rows[-1]


def test_train_on_a_finished_run_only_evaluates(trained_run, run, capsys):
    before = (run / "metrics.jsonl").read_bytes()
    assert main([*trained_run.arguments("train", workdir=run), "--splits", "train"]) == 0
    assert "finished after 160 steps" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_bytes() == before


def test_train_that_is_stopped_by_a_signal_has_its_status(trained_run, tmp_path, capsys, monkeypatch):
    add = MetricAccumulator.add

    def interrupted(self, step, *rest):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, step, *rest)

    monkeypatch.setattr(MetricAccumulator, "add", interrupted)
    assert main(trained_run.arguments("train", workdir=tmp_path / "run")) == 128 + signal.SIGTERM
    assert "jaxasr train: SIGTERM: saved after 3 steps; the same command resumes from there" in capsys.readouterr().err


def test_pieces_trains_a_vocabulary(trained_run, tmp_path, capsys):
    arguments = [
        "train-tokenizer",
        "tones",
        str(tmp_path / "p.model"),
        "--pieces",
        "6",
        "--data-dir",
        str(trained_run.data_dir),
    ]
    assert main(arguments) == 0
    assert 'p.model: 7 tokens, the end included; text.SentencePiece("p.model", "' in capsys.readouterr().out


def test_calibrate_leaves_a_map_that_transcribe_finds(trained_run, run, capsys):
    assert main([*trained_run.arguments("calibrate", workdir=run), "--splits", "test"]) == 0
    assert "validation: 11 words, 100.0% right; calibration error" in capsys.readouterr().out
    path = trained_run.wavs / "train-5.wav"
    assert main([*trained_run.arguments("transcribe", path, workdir=run), "--format", "json"]) == 0
    heard = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(word["confidence"] > 0.5 for word in heard["words"])


# Mistakes in the command


def test_a_run_without_a_folder_is_refused(capsys):
    assert main(["train", str(TINY)]) == 1
    assert capsys.readouterr().err == (
        "jaxasr train: a run needs a folder: give --workdir, or --dry-run to see what it will take\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["learn"],
        ["show", str(TINY), "--wokrdir", "x"],
        ["train", str(TINY), "--workdir", "x", "--parallelism", "magic"],
        ["eval", str(TINY), "--workdir", "x", "--checkpoint", "worst"],
        ["bench", "nothing", "seed=1"],
    ],
)
def test_a_command_that_is_none_is_refused_with_its_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: jaxasr" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "new_name"),
    [
        (["pieces", "tones", "p.model"], "the command pieces is now called train-tokenizer"),
        (["tune", "a.py"], "the command tune is now called tune-decoding"),
        (["train", "a.py", "--workdir", "x", "--how", "mesh"], "the option --how is now called --parallelism"),
        (["transcribe", "a.py", "a.wav", "--rows=4"], "the option --rows is now called --batch-size"),
    ],
)
def test_an_old_name_is_answered_by_the_new_one(arguments, new_name, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert new_name in capsys.readouterr().err


def test_new_names_exist_and_old_names_do_not(capsys):
    assert set(RENAMED_COMMANDS.values()) <= set(COMMANDS)
    assert not set(RENAMED_COMMANDS) & set(COMMANDS)
    options = set()
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        options |= set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert set(RENAMED_OPTIONS.values()) <= options
    assert not set(RENAMED_OPTIONS) & options


@pytest.mark.parametrize("command", ["prepare", "ngram", "show", "train", "sweep", "bench"])
def test_only_what_is_needed_is_asked_for(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([command])
    asked = capsys.readouterr().err.rpartition("arguments are required: ")[2]
    assert asked
    assert "=VALUE" not in asked


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.encoder.widht=4",
            "Listener has no field 'widht'; it has width, time_reduction, subsampling, dropout, bidirectional, cell",
        ),
        ("model.encoder.width=wide", "model.encoder.width=wide: Listener.width takes int"),
        ("steps=1.5", "steps=1.5: Experiment.steps takes int"),
        ("evals.best.search=3", "evals has no field 'best'; it has train, test"),
        ("model.encoder.time_reduction=(0,)", "model.encoder: Listener has width 16 and time_reduction (0,); it needs"),
        ("model.decoder.vocab=9", "model.decoder.vocab=9 but the tokenizer of train_data has 6 tokens"),
        ("seed", "'seed' is no override: write path=value"),
    ],
)
def test_an_override_that_does_not_fit_names_what_does(trained_run, refused, override, message):
    assert message in refused(trained_run.arguments("show", override))


def test_an_experiment_that_is_not_there(refused):
    assert "there is no file nowhere.py; the repository's experiments are under experiments/" in refused(
        ["show", "nowhere.py"]
    )
    assert "has no function 'best'; it has experiment, " in refused(["show", f"{TINY}:best"])


def test_where_an_error_came_from_is_shown_to_who_asks(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["show", "nowhere.py", "--traceback"])


@pytest.mark.parametrize(
    "words",
    [
        ("train", str(TINY), "--workdir", "gs://bucket/run"),
        ("train", str(TINY), "--workdir", "here", "--data-dir", "s3://bucket/data"),
        ("train", str(TINY), "--workdir", "here", "--results", "hdfs://host/rows.jsonl"),
        ("eval", str(TINY), "--workdir", "abfss://container@account/run"),
        ("transcribe", str(TINY), "--workdir", "here", "https://host/speech.wav"),
        ("prepare", "manifest", "--from", "file:///data/manifest.jsonl"),
        ("sweep", f"{TINY}:variants", "--workdir", "gs://bucket/runs"),
        ("table", "gs://bucket/table.py"),
    ],
)
def test_an_address_of_a_store_is_refused_and_makes_no_folder(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    said = capsys.readouterr().err
    address = next(word for word in words if "://" in word)
    assert f"{address.replace(':///', '://')}: {address.partition(':')[0]}:// is not supported" in said
    assert list(tmp_path.iterdir()) == []
