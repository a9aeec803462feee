"""Tests of the error messages after mistakes in the data, the run or a recording."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxasr.__main__ import main
from jaxasr.experiment import Workdir
from jaxasr.training.checkpoints.store import Checkpoints
from tests.trained_run import TINY, TRAIN, wav

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
    content = bytearray(shard.read_bytes())
    recording = (trained_run.wavs / "train-0.wav").read_bytes()
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


def test_a_fault_after_steps_has_a_status_of_its_own(trained_run, tmp_path, monkeypatch, capsys):
    """The connection is lost when the first checkpoint after some steps is saved."""

    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(Checkpoints, "save", lost)
    assert main(list(map(str, trained_run.arguments("train", "save_every=20", workdir=tmp_path / "run")))) == 75
    assert (
        "jaxasr train: Connection reset by peer\nthis start had finished steps, the last was" in capsys.readouterr().err
    )


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
    file = trained_run.wavs / "train-0.wav"
    empty = tmp_path / "hot.txt"
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


def write_silence(path: Path, *, seconds: int) -> None:
    """Writes a WAV file of zeros that takes no space on the disk."""
    header = bytearray(wav(np.zeros(0))[:44])
    size = 2 * 16_000 * seconds
    struct.pack_into("<I", header, 4, 36 + size)
    struct.pack_into("<I", header, 40, size)
    path.write_bytes(header)
    os.truncate(path, 44 + size)
