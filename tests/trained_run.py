"""A corpus of tones and a run trained on it, made once for all processes of a test session."""

import contextlib
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import soundfile
from jax.experimental.compilation_cache import compilation_cache

from jaxasr.__main__ import main
from jaxasr.scale.cache import VARIABLE
from tests.data.conftest import write_manifest

TINY = Path(__file__).with_name("tiny_experiments.py")
RATE_HZ = 16_000
SYMBOL_S = 0.12
PITCHES_HZ = {"A": 300.0, "B": 600.0, "C": 1_200.0, "D": 2_400.0}
TRAIN = ("AB", "CAD", "BA DC", "DAB", "ACDC", "BAD CAB", "D", "CC BB")
TEST = ("CAB", "DC AB", "BB")


@dataclass(frozen=True)
class TrainedRun:
    """A trained run that many tests share. No test changes it."""

    wavs: Path  # the recordings: WAV files, and the manifest beside them
    data_dir: Path
    workdir: Path  # of `tiny.experiment`, trained and evaluated by the command line
    printed: Path  # the output of the commands

    def arguments(self, command: str, *more: str | Path, workdir: Path | None = None) -> list[str]:
        """A command line for `tiny.experiment` on this data."""
        options = [] if command == "transcribe" else ["--data-dir", str(self.data_dir)]
        options += [] if command == "show" else ["--workdir", str(workdir or self.workdir)]
        return [command, str(TINY), *map(str, more), *options]


def spoken(text: str, rate_hz: int = RATE_HZ) -> np.ndarray:
    """The text as tones in faint noise: float samples, each letter 120 ms of its pitch, a space as long a silence."""
    t = np.arange(round(SYMBOL_S * rate_hz)) / rate_hz
    swell = np.sin(np.pi * t / SYMBOL_S)
    tones = [0.3 * swell * np.sin(2 * np.pi * PITCHES_HZ.get(char, 0.0) * t) for char in text]
    return np.concatenate(tones) + np.random.default_rng(5).normal(0.0, 0.003, len(t) * len(text))


def wav(samples: np.ndarray, *, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> bytes:
    """A WAV file of float samples."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def write_tones(folder: Path) -> Path:
    """The recordings of both splits and their manifest."""
    rows = []
    audio = {}
    for split, texts in {"train": TRAIN, "test": TEST}.items():
        for number, text in enumerate(texts):
            id = f"{split}-{number}"
            audio[f"{id}.wav"] = wav(spoken(text))
            rows.append({"id": id, "audio": f"{id}.wav", "text": text, "speaker": "piano", "split": split})
    return write_manifest(folder, rows, audio)


def saved_state(workdir: Path, step: int) -> dict[str, Any]:
    """Returns the arrays of a checkpoint by path, as they are on the disk."""
    return ocp.PyTreeCheckpointer().restore((workdir / "checkpoints" / str(step) / "state").absolute())


def trained_run(factory: pytest.TempPathFactory) -> TrainedRun:
    """The corpus prepared and the run trained, by the commands that a user would give; by the first test that needs it."""
    shared = shared_folder(factory)
    base = shared / "trained_run"
    made = TrainedRun(base / "wavs", base / "data", base / "run", base / "printed.txt")

    def make() -> None:
        write_tones(made.wavs)
        prepare = ["prepare", "manifest", "--from", str(made.wavs), "--data-dir", str(made.data_dir), "name=tones"]
        with made.printed.open("w") as file, contextlib.redirect_stdout(file):
            assert main(prepare) == 0
            assert main(made.arguments("train")) == 0

    once(base, make)
    return made


@contextlib.contextmanager
def compile_cache(shared: Path) -> Iterator[Path]:
    """Shares compiled programs between the tests and processes of a session; the user's cache is not touched."""
    folder = shared / "xla"
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        _configure(settings)
        try:
            yield folder
        finally:
            _configure(before)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session, the same for all its worker processes."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(folder: Path, make: Callable[[], None]) -> None:
    """Calls `make` unless another process of the session has done so; waits for one that is about it."""
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".made").exists():
            make()
            (folder / ".made").touch()


def _configure(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
