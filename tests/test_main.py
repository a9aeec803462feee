"""Tests of the command line: every subcommand on a tiny run, and the error messages after mistakes of a user."""

import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxasr.__main__ import main
from jaxasr.cli.main import COMMANDS, RENAMED_COMMANDS, RENAMED_OPTIONS, build_parser
from jaxasr.experiment import Workdir
from jaxasr.run.metric_accumulator import MetricAccumulator
from tests.processes import PROCESS_S
from tests.trained_run import TINY, TRAIN, compile_cache, shared_folder, trained_run, wav


@pytest.fixture(scope="session", name="trained_run")
def trained_run_fixture(tmp_path_factory):
    """Returns a corpus of tones and a run that is trained on it."""
    return trained_run(tmp_path_factory)


@pytest.fixture(autouse=True)
def _compile_cache(tmp_path_factory):
    with compile_cache(shared_folder(tmp_path_factory)):
        yield


@pytest.fixture
def run(trained_run, tmp_path):
    """Copies the folder of the run, so that a test can write in it."""
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


@pytest.fixture
def data_dir(trained_run, tmp_path):
    """Copies the prepared corpus, so that a test can damage it."""
    return shutil.copytree(trained_run.data_dir, tmp_path / "data")


@pytest.fixture
def refused(capsys):
    """Returns a function that runs a command which fails, and returns its error message."""

    def refused(arguments) -> str:
        capsys.readouterr()
        assert main(list(map(str, arguments))) == 1
        before, name, message = capsys.readouterr().err.rpartition(f"jaxasr {arguments[0]}: ")
        assert name
        assert not before or before.endswith("\n")  # lines of progress
        assert "Traceback" not in before + message
        return message

    return refused


# Successful commands


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
        _, *arguments = shlex.split(example.partition("| ")[2] or example)
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
    assert "resumes after step 160" in capsys.readouterr().out
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


# Mistakes in the command


@pytest.mark.parametrize(
    "arguments",
    [
        ["learn"],
        ["train", str(TINY)],  # no --workdir
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


# Mistakes in the data


def test_a_corpus_that_is_not_prepared(refused, tmp_path):
    message = refused(["train", TINY, "--workdir", tmp_path / "run", "--data-dir", tmp_path])
    assert f"corpus 'tones' is not prepared in {tmp_path} (there: nothing): run `jaxasr prepare tones" in message


def test_a_corpus_that_is_unknown_or_has_no_source(refused, tmp_path):
    assert "an4" in refused(["prepare", "swichtboard", "--data-dir", tmp_path])
    assert "--from" in refused(["prepare", "manifest", "--data-dir", tmp_path])


def test_a_manifest_with_a_bad_row_names_its_line(refused, trained_run, tmp_path):
    folder = shutil.copytree(trained_run.wavs, tmp_path / "wavs")
    (folder / "train-3.wav").unlink()
    message = refused(["prepare", "manifest", "--from", folder, "--data-dir", tmp_path / "data", "name=holed"])
    assert "corpus 'holed' is not prepared: 1 of 11 rows are bad (9.1%); at most 1.0% may be" in message
    assert "or allow more with --max-bad-share" in message
    (row,) = (tmp_path / "data" / "holed" / "rejects.jsonl").read_text().splitlines()
    assert "manifest.jsonl line 4" in row
    assert "train-3" in row


def test_prepared_data_that_was_truncated(refused, tmp_path, data_dir):
    (shard,) = data_dir.glob("tones/*/*train.array_record*")
    shard.write_bytes(shard.read_bytes()[:-1_000])
    message = refused(["train", TINY, "--workdir", tmp_path / "run", "--data-dir", data_dir])
    assert "prepared corpus is damaged" in message
    assert "prepare tones again" in message


def test_prepared_data_that_was_altered(refused, tmp_path, data_dir, trained_run):
    """One bit in the middle of one recording is flipped."""
    (shard,) = data_dir.glob("tones/*/*train.array_record*")
    content, recording = bytearray(shard.read_bytes()), (trained_run.wavs / "train-0.wav").read_bytes()
    content[content.index(recording[3_000:3_100]) + 50] ^= 4
    shard.write_bytes(content)
    message = refused(["train", TINY, "--workdir", tmp_path / "run", "--data-dir", data_dir])
    assert "prepared corpus is damaged: example 'train-0' of tones train" in message
    assert "prepare tones again" in message
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_transcript_longer_than_the_shapes_allow_is_left_out_and_counted(trained_run, capsys):
    assert main(trained_run.arguments("show", "train_data.shapes.tokens=6")) == 0
    assert "left out: 1 (fits no shape at any speed)" in capsys.readouterr().out


def test_shapes_that_nothing_fits(trained_run, refused, tmp_path):
    arguments = trained_run.arguments("train", "train_data.shapes.seconds=(0.05,)", workdir=tmp_path)
    assert "fits" in refused(arguments)


def test_rules_that_are_none_and_a_mesh_without_devices(refused, tmp_path):
    (tmp_path / "rules.py").write_text("def rules():\n    return ('kernel', ('tensor',))\n")
    train = ["train", TINY, "--workdir", tmp_path / "run"]
    assert "rules.py: rules() gives a tuple; scale.Rules is needed" in refused(
        [*train, "--sharding-rules", tmp_path / "rules.py"]
    )
    plan = ["plan", TINY, "--topology", "cpu:2", "--sharding-rules", tmp_path / "rules.py"]
    assert "rules() gives a tuple" in refused(plan)
    for given in (["--mesh", "data=4"], ["--sharding-rules", tmp_path / "some.py"]):
        (tmp_path / "some.py").write_text(
            "from jaxasr.scale import Rules\n\ndef rules():\n    return Rules((('x', (None,)),))\n"
        )
        assert "--parallelism jit is for one device, without mesh and rules" in refused(
            [*train, "--parallelism", "jit", *given]
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["show", "a.py"], ["sweep", "a.py:b"], ["bench", "lstm"]])
def test_what_is_one_processs_work_is_refused_to_several(command, refused, monkeypatch):
    monkeypatch.setenv("JAXASR_PROCESSES", "2")
    assert refused(command).startswith("it is one process's work, and JAXASR_PROCESSES=2: start it without")


# Mistakes in the run


def test_the_workdir_of_another_experiment(trained_run, run, refused):
    message = refused(trained_run.arguments("train", "seed=5", "optimizer.clip_norm=1.0", workdir=run))
    assert f"the workdir {run} belongs to another experiment" in message
    assert "\n  optimizer.clip_norm: 5.0 -> 1.0\n  seed: 0 -> 5\n" in message
    assert "or give another --workdir" in message


def test_a_checkpoint_of_another_experiment_in_the_right_place(trained_run, run, refused):
    """Checkpoints were copied into a new folder."""
    (run / "experiment.txt").unlink()
    message = refused(trained_run.arguments("train", "seed=5", workdir=run))
    assert "checkpoint 160 in" in message
    assert "\n  seed: 0 -> 5" in message


def test_a_checkpoint_of_another_model(trained_run, refused):
    for command in ("eval", "transcribe"):
        extra = [trained_run.wavs / "train-0.wav"] if command == "transcribe" else ["model.encoder.width=8"]
        file = [] if command == "eval" else [f"{TINY}:restless"]
        arguments = trained_run.arguments(command, *extra)
        message = refused([command, *file, *arguments[len(file) + 1 :]])
        assert "holds another model. From there -> to this experiment:" in message
        assert "\n  model.encoder.width: 16 -> 8\n" in message


def test_a_vocabulary_that_is_not_that_of_the_checkpoint(trained_run, refused):
    arguments = trained_run.arguments("eval")
    arguments[1] = f"{TINY}:other_vocabulary"
    message = refused(arguments)
    assert "was trained with the vocabulary dab9ff92, the experiment has" in message
    assert "Bring back the tokenizer it was trained with" in message


def test_a_folder_without_checkpoints(trained_run, refused, tmp_path):
    for command in ("eval", "transcribe"):
        extra = [trained_run.wavs / "train-0.wav"] if command == "transcribe" else []
        message = refused(trained_run.arguments(command, *extra, workdir=tmp_path))
        assert (
            f"there is no folder {tmp_path}/checkpoints to read checkpoints from; is this a run's workdir?" in message
        )


def test_a_checkpoint_and_a_split_that_are_not_there(trained_run, run, refused):
    message = refused([*trained_run.arguments("eval", workdir=run), "--checkpoint", "7"])
    assert "there is no checkpoint 7 in" in message
    assert "there are: 80, 160" in message
    message = refused([*trained_run.arguments("eval", workdir=run), "--splits", "dev,test"])
    assert message == "no split dev in this experiment; it has train, test\n"


def test_a_workdir_in_use(trained_run, run, refused):
    with Workdir(run).held():
        assert f"the workdir {run} is in use by another run" in refused(trained_run.arguments("train", workdir=run))


def test_a_disk_that_is_full(trained_run, refused, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    message = refused(trained_run.arguments("train", "save_every=20", workdir=tmp_path / "run"))
    assert "the disk is full: a checkpoint in" in message
    assert "1,000 are free; make room and resume" in message
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


# Mistakes in a recording


def test_recordings_that_cannot_be_used_are_named_and_the_others_are_heard(trained_run, tmp_path, capsys):
    bad = {
        "silent.wav": (wav(np.zeros(0)), "an audio file of zero samples"),
        "nan.wav": (wav(np.full(800, np.nan), subtype="FLOAT"), "800 samples are NaN or infinite"),
        "click.wav": (wav(np.zeros(160)), "has 160 samples (10.0 ms at 16000 Hz); at least one window of 40 ms"),
        "notes.txt": (b"not audio", "9 bytes that libsndfile cannot decode"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
    good = trained_run.wavs / "train-6.wav"
    paths = [good, *(tmp_path / name for name in bad), tmp_path / "lost.wav", good]
    assert main(trained_run.arguments("transcribe", *paths)) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{good}\t{TRAIN[6]}"] * 2
    lines = [line for line in printed.err.splitlines() if not line.startswith("compiled programs")]
    for line, (name, (_, reason)) in zip(lines, bad.items(), strict=False):
        assert line.startswith(f"jaxasr transcribe: {tmp_path / name}")
        assert reason in line
    assert lines[len(bad) :] == [f"jaxasr transcribe: there is no audio file {tmp_path / 'lost.wav'}"]


def test_options_that_would_do_nothing_and_words_that_nobody_gave(trained_run, refused, tmp_path):
    file, empty = trained_run.wavs / "train-0.wav", tmp_path / "hot.txt"
    empty.write_text("\n")
    for given, message in {
        ("--real-time",): "--real-time can't be used without --stream",
        ("--stream", "--lm", "a=b.arpa", "--search", "beam"): "--search, --lm can't be used with --stream",
        (
            "--stream",
            "--hotword-bonus",
            "1",
            "--batch-size",
            "2",
        ): "--hotword-bonus, --batch-size can't be used with --stream",
        ("--hotword-bonus", "1"): "--hotword-bonus is what --hotwords are paid, and none were given",
        ("--search", "bean"): "there is no search 'bean'; there are validation, train, test, greedy, beam, ctc",
        ("--search", "beam", "search.widht=3"): "Did you mean 'width'?",
        (
            "--lm",
            "a=b.arpa",
        ): "--lm a=b.arpa: no search that is used fuses a language model of this name (none fuses any)",
        ("--hotwords", str(tmp_path / "none.txt")): f"there is no file of hotwords {tmp_path / 'none.txt'}",
        ("--hotwords", str(empty)): "has no hotwords; a phrase a line is needed",
        (str(file), "--out", str(tmp_path)): f"would both be written to {tmp_path / 'train-0.txt'}",
    }.items():
        assert message in refused([*trained_run.arguments("transcribe", file), *given])
    arguments = trained_run.arguments("transcribe")
    assert "there is nothing to hear: give at least one FILE" in refused([*arguments, "seed=1"])
    assert "--lm a=b.arpa: no search" in refused([*trained_run.arguments("eval"), "--lm", "a=b.arpa"])


def test_two_minutes_in_which_nothing_is_said(trained_run, tmp_path, capsys):
    write_silence(tmp_path / "still.wav", seconds=120)
    assert main(trained_run.arguments("transcribe", tmp_path / "still.wav")) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"{tmp_path / 'still.wav'}\t"]
    assert "transcribe: 120 of 120 seconds" in printed.err


def test_calibrate_leaves_a_map_that_transcribe_finds(trained_run, run, capsys):
    assert main([*trained_run.arguments("calibrate", workdir=run), "--splits", "test"]) == 0
    assert "validation: 11 words, 100.0% right; calibration error" in capsys.readouterr().out
    path = trained_run.wavs / "train-5.wav"
    assert main([*trained_run.arguments("transcribe", path, workdir=run), "--format", "json"]) == 0
    heard = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(word["confidence"] > 0.5 for word in heard["words"])


def write_silence(path: Path, *, seconds: int) -> None:
    """Writes a WAV file of zeros that takes no space on the disk."""
    header, size = bytearray(wav(np.zeros(0))[:44]), 2 * 16_000 * seconds
    struct.pack_into("<I", header, 4, 36 + size)
    struct.pack_into("<I", header, 40, size)
    path.write_bytes(header)
    os.truncate(path, 44 + size)
