"""Small corpora of tones. No test needs other data."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare

WORDS = ("YES", "NO", "GO", "STOP", "ERASE", "HELP")
SIZES = {"train": 24, "dev": 4, "test": 6}


def tone(
    seconds: float, *, pitch_hz: float = 440.0, rate_hz: int = 16_000, format: str = "FLAC", subtype: str = "PCM_16"
) -> bytes:
    """Returns an audio file with a tone."""
    wave_n = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    file = io.BytesIO()
    soundfile.write(file, wave_n, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def write_manifest(folder: Path, rows: Sequence[Mapping[str, object]], audio: Mapping[str, bytes]) -> Path:
    """Writes FOLDER/manifest.jsonl with these rows, and the audio files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in audio.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tones(sizes: Mapping[str, int]) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """Returns rows of a manifest and their audio: 0.3 to 2.6 s, one to four words, four speakers."""
    rng = np.random.default_rng(7)
    rows = []
    audio = {}
    for split, size in sizes.items():
        for number in range(size):
            id = f"{split}-{number:03d}"
            text = " ".join(rng.choice(WORDS, size=rng.integers(1, 5)))
            audio[f"{id}.flac"] = tone(rng.uniform(0.3, 2.6), pitch_hz=rng.uniform(200, 800))
            rows.append(
                {"id": id, "audio": f"{id}.flac", "text": text, "speaker": f"{split}{number % 4}", "split": split}
            )
    return rows, audio


@pytest.fixture(scope="session", name="tone")
def tone_fixture() -> Callable[..., bytes]:
    """Returns `tone(seconds, pitch_hz=, rate_hz=, format=, subtype=)`, which returns the bytes of an audio file."""
    return tone


@pytest.fixture(scope="session", name="write_manifest")
def write_manifest_fixture() -> Callable[..., Path]:
    """Returns `write_manifest(folder, rows, audio)`, which writes a corpus for `Manifest`."""
    return write_manifest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of `tiny_corpus` before it is prepared."""
    return write_manifest(tmp_path_factory.mktemp("from") / "tiny", *tones(SIZES))


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """Returns a data dir with the prepared corpus "tiny": train (24 utterances), dev (4), test (6); read only."""
    data_dir = tmp_path_factory.mktemp("data")
    prepare(Manifest(tiny_folder), data_dir)
    return data_dir
