"""Trackers of metrics: offline, one run for all attempts, and left out after an error."""

import importlib
import json
import sqlite3
import types
from pathlib import Path

import pytest

from jaxasr.report import Measurements
from jaxasr.training.tracking.trackers import EXTRAS, Tracker, check_trackers
from jaxasr.training.writer import Writer, read_metrics


class Fake(types.ModuleType):
    """A stand-in for the module of a tracker, which keeps what it is given."""

    def __init__(self, name: str):
        super().__init__(name)
        self.given: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.ended = 0

    def init(self, **given):
        self.given.append(given)
        return self

    def log(self, row, *, step):
        self.logged.append((step, row))

    def finish(self):
        self.ended += 1


@pytest.fixture(params=sorted(EXTRAS))
def fake(request, monkeypatch) -> Fake:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", "elsewhere")
    module = Fake(request.param)
    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: module if name == request.param else load(name))
    return module


def test_metrics_and_the_experiment_go_to_the_tracker(fake, tmp_path: Path):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "experiment.txt").write_text("model = Seq2Seq\nmodel.depth = 6")
    for resume_step in (0, 2):
        with Writer(folder, resume_step=resume_step, trackers=(fake.__name__,)) as writer:
            for step in (resume_step + 1, resume_step + 2):
                writer.write(step, {"train/loss": 1.0 / step})
    assert fake.logged == [(step, {"train/loss": 1.0 / step}) for step in (1, 2, 3, 4)]
    assert fake.ended == 2
    first, second = fake.given
    assert first == second  # one run, though there are two attempts
    assert (first["project"], first["name"], first["resume"]) == ("runs", "a", "allow")
    assert first["config"] == {"model": "Seq2Seq", "model.depth": "6"}
    assert first.get("mode", "offline") == "offline"


@pytest.mark.usefixtures("errors_are_left_out")
def test_an_error_of_a_tracker_leaves_it_out(fake, tmp_path: Path, monkeypatch):
    printed: list[str] = []

    def fail(*_, **__):
        raise RuntimeError("no room")

    monkeypatch.setattr(fake, "log", fail)
    with Writer(tmp_path, trackers=(fake.__name__,), measurements=Measurements(printed.append)) as writer:
        for step in (1, 2):
            writer.write(step, {"train/loss": 1.0})
    (line,) = printed
    assert line.startswith(f"WARNING: the tracker {fake.__name__} is left out: RuntimeError: no room")
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2


def test_unknown_and_missing_trackers_are_named(monkeypatch):
    with pytest.raises(
        ValueError, match="no tracker 'comet'; there are wandb, trackio, and TensorBoard, which is always"
    ):
        check_trackers(("comet",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxasr\[wandb\]'"):
        check_trackers(("wandb",))
    check_trackers(())


def test_wandb_writes_offline_files(tmp_path: Path, monkeypatch):
    pytest.importorskip("wandb", reason="a tracker is no dependency")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker: Tracker = EXTRAS["wandb"](tmp_path, 0)
    tracker.numbers(1, {"train/loss": 0.5})
    tracker.close()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert b"train/loss" in next(run.glob("run-*.wandb")).read_bytes()


def test_trackio_writes_a_database(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # which trackio reads when it is imported
    pytest.importorskip("trackio", reason="a tracker is no dependency")
    tracker: Tracker = EXTRAS["trackio"](tmp_path / "run", 0)
    tracker.numbers(1, {"train/loss": 0.5})
    tracker.close()
    (database,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        ((step, metrics),) = connection.execute("SELECT step, metrics FROM metrics").fetchall()
    assert (step, json.loads(metrics)) == (1, {"train/loss": 0.5})
