"""Tables of every form give the same rows, JSON arrays in pieces, and damage is named."""

import gzip
import json
from pathlib import Path

import pytest

from jaxasr.data.corpora.formats import tables
from jaxasr.data.corpora.formats.rows import file_split, split_from_name

ROWS = [{"id": str(n), "text": f'text {n} [with] {{brackets}}, "marks" and ü'} for n in range(50)]


@pytest.mark.parametrize("chunk", [7, 100, 1 << 18])
@pytest.mark.parametrize("form", ["compact", "indented", "marked"])
def test_a_json_array_is_read_in_pieces(tmp_path: Path, chunk: int, form: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "_CHUNK", chunk)
    path = tmp_path / "rows.json"
    text = json.dumps(ROWS, indent=2 if form == "indented" else None, ensure_ascii=False)
    path.write_text(("\ufeff" if form == "marked" else "") + text + "\n", encoding="utf-8")
    rows = list(tables.table_rows(path))
    assert [dict(row.columns) for row in rows] == ROWS
    assert rows[3].where == "rows.json item 4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": "1"}, {"id": ', r"item 2 is no JSON"),
        ('[{"id": "1"}, oops, {"id": "2"}]', r"item 2 is no JSON"),
        ('[{"id": "1"}]\n{"id": "2"}\n', r"something follows its array of 1 items"),
        ('[{"id": "1"}', r"item 2 is no JSON"),
    ],
)
def test_a_damaged_array_is_an_error(tmp_path: Path, text: str, message: str):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(tables.table_rows(path))


def test_items_that_are_no_objects_are_faults(tmp_path: Path):
    path = tmp_path / "rows.json"
    path.write_text('[{"id": "1"}, ["a"], 7, {"id": null}]')
    rows = list(tables.table_rows(path))
    assert [row.fault for row in rows] == ["", "no JSON object (a list)", "no JSON object (a int)", ""]
    assert rows[3].columns == {"id": ""}


CUT = gzip.compress(b'{"id": "1"}\n' * 50, mtime=0)[:-9]


@pytest.mark.parametrize("content", [CUT, b'{"id": "1"}\n'], ids=["cut", "no gzip"])
def test_a_damaged_gzip_is_an_error(tmp_path: Path, content: bytes):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz is cut off or damaged"):
        list(tables.table_rows(path))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_manifest.json", "train"),
        ("manifest_train.jsonl.gz", "train"),
        ("an4_dev.json", "dev"),
        ("libri_cuts_train-clean-100.jsonl.gz", "train-clean-100"),
        ("librispeech_cuts_dev-other.jsonl.gz", "dev-other"),
        ("train-00000-of-00002.parquet", "train"),
        ("validation-00000-of-00001.parquet", "validation"),
        ("0000.parquet", ""),
        ("manifest.json", ""),
        ("metadata.csv", ""),
        ("test_clean_processed.json", "test_clean"),
        ("calls.csv", "calls"),
        ("my.calls 2024.csv", "my_calls_2024"),
    ],
)
def test_names_of_files_state_splits(name: str, split: str):
    assert split_from_name(name) == split
    assert file_split(Path("/data/corpus") / name) == (split or "train")
    assert file_split(Path("/data/corpus/test-clean") / name) == (split or "test-clean")
