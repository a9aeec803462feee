"""`jaxasr train` at the end of a run: the workdir is held until everything is written, and a finished run stays as it is."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from jaxasr import evaluation, report
from jaxasr.__main__ import main
from jaxasr.experiment import Workdir


@pytest.fixture
def finished(trained_run, tmp_path) -> Path:
    """A copy of the trained run, under the name that its rows have."""
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but the lock, which names the process that holds it."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_finished_run_is_left_as_it_is(trained_run, finished, capsys):
    before = contents(finished)
    shared = finished.parent / "shared.jsonl"
    arguments = trained_run.arguments("train", "--results", shared, workdir=finished)
    for _ in range(2):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "finished after 160 steps\ntrain: its row is there\ntest: its row is there\n" in printed
        assert contents(finished) == before
        assert report.read(shared) == report.read(finished / "results.jsonl")


def test_the_workdir_is_held_while_the_run_is_evaluated(trained_run, finished, monkeypatch):
    free = []
    monkeypatch.setattr(evaluation, "evaluate_run", lambda *_, **__: free.append(Workdir(finished).is_free()))
    assert main(trained_run.arguments("train", workdir=finished)) == 0
    assert (free, Workdir(finished).is_free()) == ([False], True)


@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_signal_ends_the_evaluation_between_two_batches(trained_run, finished, monkeypatch, capsys, command):
    """The row of the first split stays, and the next attempt adds that of the second."""
    (finished / "results.jsonl").unlink()
    batches = []
    evaluate_run = evaluation.evaluate_run

    def watched(*arguments, before_batch, **options):
        def before() -> None:
            batches.append(None)
            if len(batches) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            before_batch()

        return evaluate_run(*arguments, before_batch=before, **options)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate_run", watched)
        assert main(trained_run.arguments(command, workdir=finished)) == 128 + signal.SIGTERM
    assert f"jaxasr {command}: SIGTERM: the rows of finished splits are written" in capsys.readouterr().err
    assert [row["split"] for row in report.read(finished / "results.jsonl")] == ["train"]
    assert main(trained_run.arguments(command, workdir=finished)) == 0
    assert [row["split"] for row in report.read(finished / "results.jsonl")] == ["train", "test"]
