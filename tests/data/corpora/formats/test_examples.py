"""Channels of recordings: mixed, one of them, or an utterance of each, also of segments and of audio in the row itself."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from jaxasr.data.audio import decode_whole
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]


@pytest.fixture
def wave_nc() -> np.ndarray:
    """Returns 0.5 s of noise in three channels."""
    return np.random.default_rng(3).integers(-9_000, 9_000, (8_000, 3)).astype(np.int16)


def write(folder: Path, wave_nc: np.ndarray, rows: list[dict[str, object]]) -> Path:
    """Writes a recording and a manifest."""
    soundfile.write(folder / "a.wav", wave_nc, 16_000)
    (folder / "train.jsonl").write_text(
        "".join(json.dumps({"audio": "a.wav", "text": "A", **row}) + "\n" for row in rows)
    )
    return folder


def waves(rows: list[RawExample | Reject]) -> dict[str, np.ndarray]:
    """Returns the decoded samples by id."""
    examples = [row for row in rows if isinstance(row, RawExample) and row.audio]
    return {row.id: decode_whole(row.audio(), id=row.id)[0] for row in examples if row.audio}


@pytest.mark.parametrize(
    ("channel", "columns"),
    [("left", {"a": 0}), ("right", {"a": 1}), ("3", {"a": 2}), ("each", {"a-1": 0, "a-2": 1, "a-3": 2})],
)
def test_channels_are_taken_apart(
    tmp_path: Path, wave_nc: np.ndarray, channel: str, columns: dict[str, int], read: Read
):
    found = waves(read(Manifest(write(tmp_path, wave_nc, [{}]), channel=channel))["train"])
    assert list(found) == list(columns)
    for id, column in columns.items():
        np.testing.assert_array_equal(found[id], wave_nc[:, column])


def test_as_many_examples_are_expected_as_come(tmp_path: Path, wave_nc: np.ndarray, downloads):
    """With `each` their number is that of the channels, which is not known before the files are read."""
    folder = write(tmp_path, wave_nc, [{}])
    expected = {
        channel: Manifest(folder, channel=channel).splits(downloads)["train"].expected for channel in ("mix", "each")
    }
    assert expected == {"mix": 1, "each": None}


def test_channels_of_segments_and_of_rows_that_name_theirs(tmp_path: Path, wave_nc: np.ndarray, read: Read):
    rows = [{"start": 0.25}, {"channel_selector": 2}, {"channel_selector": "average", "end": 0.125}]
    found = waves(read(Manifest(write(tmp_path, wave_nc, rows), channel="right"))["train"])
    np.testing.assert_array_equal(found["a-0.25"], wave_nc[4_000:, 1])
    np.testing.assert_array_equal(found["a"], wave_nc[:, 2])
    np.testing.assert_array_equal(found["a-0.125"], wave_nc[:2_000, 1])


def test_mono_files_are_kept_as_they_are(tmp_path: Path, wave_nc: np.ndarray, read: Read):
    folder = write(tmp_path, wave_nc[:, :1], [{}])
    for channel in ("mix", "left", "each"):
        (row,) = read(Manifest(folder, channel=channel))["train"]
        assert isinstance(row, RawExample)
        assert row.audio is not None
        assert row.audio() == (folder / "a.wav").read_bytes()
    (row,) = read(Manifest(folder, channel="right"))["train"]
    assert isinstance(row, RawExample)
    assert row.audio is not None
    with pytest.raises(ValueError, match="channel 2 is needed, the file has 1"):
        row.audio()


def test_channels_of_audio_in_the_row(tmp_path: Path, wave_nc: np.ndarray, read: Read):
    sound = (write(tmp_path, wave_nc, []) / "a.wav").read_bytes()
    (tmp_path / "train.jsonl").unlink()
    parquet.write_table(pyarrow.table({"audio": [sound], "text": ["A"]}), tmp_path / "train.parquet")
    found = waves(read(Manifest(tmp_path, channel="each"))["train"])
    assert list(found) == ["train-1-1", "train-1-2", "train-1-3"]
    np.testing.assert_array_equal(found["train-1-3"], wave_nc[:, 2])


@pytest.mark.parametrize("channel", ["", "middle", "0", "-1", "257", "1.5"])
def test_a_channel_that_is_none_is_an_error(tmp_path: Path, channel: str):
    with pytest.raises(ValueError, match="mix, left, right, each or a number from 1 to 256"):
        Manifest(tmp_path, "x", channel=channel)
