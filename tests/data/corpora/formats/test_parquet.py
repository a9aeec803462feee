"""Parquet files in the layouts of Hugging Face's `datasets`."""

from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample

AUDIO = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


@pytest.mark.parametrize("kind", ["struct", "binary", "path"])
def test_parquet_has_the_same_audio_and_texts(tmp_path: Path, utterances, write_audio, assert_same, kind: str):
    (tmp_path / "data").mkdir()
    write_audio(lambda row: tmp_path / "data" / f"{row.id}.flac")
    for split in ("train", "dev"):
        rows = [row for row in utterances if row.split == split]
        held = [{"bytes": None if kind == "path" else row.audio, "path": f"{row.id}.flac"} for row in rows]
        audio = pyarrow.array([row.audio for row in rows]) if kind == "binary" else pyarrow.array(held, AUDIO)
        columns = {
            "audio": audio,
            "sentence": [row.text for row in rows],
            "begin_time": [3.0] * len(rows),  # of a recording that was cut already
            "end_time": [3.25] * len(rows),
            "tags": [["a"]] * len(rows),
        }
        if kind == "path":
            del columns["begin_time"], columns["end_time"]
        parquet.write_table(
            pyarrow.table(columns), tmp_path / "data" / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    assert_same(tmp_path, "Parquet with audio")


def test_ids_and_columns_of_parquet(tmp_path: Path, tone: Callable[..., bytes], read):
    sound = tone(0.2)
    rows = [{"bytes": sound, "path": f"/home/me/clips/{n}.flac"} for n in range(20)]
    table = pyarrow.table({"audio": pyarrow.array(rows, AUDIO), "text": ["A"] * 20, "speaker_id": list(range(20))})
    parquet.write_table(table, tmp_path / "validation-00000-of-00001.parquet")
    found = read(Manifest(tmp_path, "mine"))["validation"]
    assert [row.id for row in found] == [str(n) for n in range(20)]
    assert isinstance(found[19], RawExample)
    assert (found[19].speaker, found[19].where) == ("19", "validation-00000-of-00001.parquet row 20")
    assert found[19].audio is not None
    assert found[19].audio() == sound


def test_names_that_each_split_has_are_of_different_ids(tmp_path: Path, tone: Callable[..., bytes], read):
    for split in ("train", "test"):
        rows = [{"bytes": tone(0.2), "path": f"{n}.wav"} for n in range(2)]
        table = pyarrow.table({"audio": pyarrow.array(rows, AUDIO), "text": ["A", "B"]})
        parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    found = read(Manifest(tmp_path, "mine"))
    assert [row.id for row in found["train"]] == ["train/0", "train/1"]
    assert [row.id for row in found["test"]] == ["test/0", "test/1"]


def test_a_damaged_file_is_named(tmp_path: Path, read):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as Parquet"):
        read(Manifest(tmp_path))
