"""Manifests of all formats give the same corpus, and every bad row is reported with its line."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from jaxasr.data.corpora.formats import examples
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]

ROWS = [
    {"id": "a1", "audio": "a1.flac", "text": "HELLO, YOU", "speaker": "anna", "split": "train", "mood": "calm"},
    {"id": "b1", "audio": "b1.flac", "text": 'SAY "NO"', "speaker": "bob", "split": "test", "mood": ""},
    {"id": "a2", "audio": "a2.flac", "text": "ÜBER", "speaker": "anna", "split": "train", "mood": ""},
]


def write(folder: Path, suffix: str, rows: list[dict[str, str]]) -> Path:
    """Writes a manifest in the format of its suffix."""
    path = folder / f"manifest.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "tsv":
        path.write_text("\n".join("\t".join(cells) for cells in [list(rows[0]), *(row.values() for row in rows)]))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_all_formats_say_the_same(tmp_path: Path, suffix: str, read: Read):
    (tmp_path / "a2.flac").write_bytes(b"sound")
    splits = read(Manifest(write(tmp_path, suffix, ROWS)))
    assert {name: [row.id for row in found] for name, found in splits.items()} == {
        "train": ["a1", "a2"],
        "test": ["b1"],
    }
    second = splits["train"][1]
    assert isinstance(second, RawExample)
    assert (second.text, second.speaker, second.audio()) == ("ÜBER", "anna", b"sound")
    assert second.where == f"manifest.{suffix} line {3 if suffix == 'jsonl' else 4}"
    assert splits["test"][0].text == 'SAY "NO"'  # pyright: ignore


def test_the_number_of_rows_is_known_before_reading(tmp_path: Path, downloads: tfds.download.DownloadManager):
    splits = Manifest(write(tmp_path, "csv", ROWS)).splits(downloads)
    assert {name: split.expected for name, split in splits.items()} == {"train": 2, "test": 1}


def test_another_column_may_name_the_split(tmp_path: Path, read: Read):
    rows = [{**row, "espnet_split": f"{row['split']}_nodev"} for row in ROWS]
    assert list(read(Manifest(write(tmp_path, "jsonl", rows), split_column="espnet_split"))) == [
        "train_nodev",
        "test_nodev",
    ]


def test_the_name_is_that_of_the_folder_unless_given(tmp_path: Path):
    folder = tmp_path / "My Corpus-2"
    folder.mkdir()
    write(folder, "csv", ROWS)
    assert Manifest(folder).name == "my_corpus_2" == Manifest(folder / "manifest.csv").name
    assert Manifest(folder, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("{not json", "no JSON object"),
        ('["a"]', "no JSON object"),
        ('{"id": "x", "audio": "x.wav", "split": "train"}', "no column 'text'; there are id, audio, split"),
        ('{"id": "", "audio": "x.wav", "text": "X", "split": "train"}', "nothing in column 'id'"),
        ('{"id": "x", "audio": "x.wav", "text": "X", "split": "a/b"}', "'a/b' in column 'split' cannot name a split"),
        ('{"id": "x", "audio": "x.wav", "text": "X", "split": "all"}', "'all' in column 'split' cannot name a split"),
        ('{"id": "x", "audio": "x.wav", "text": ["X"], "split": "train"}', "'text' is ['X'], a text is needed"),
        ('{"id": "x", "audio": "x.wav", "text": "X", "speaker": {}, "split": "train"}', "'speaker' is {}, a text"),
        ('{"id": "\\ud800", "audio": "x.wav", "text": "X", "split": "train"}', "not UTF-8"),
        ('{"id": "x", "audio": "x.wav", "text": "X\\udfff", "split": "train"}', "not UTF-8"),
        ('{"id": "x", "audio": "x.wav", "text": "X", "split": null}', "'' in column 'split' cannot name a split"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, line: str, detail: str, read: Read):
    write(tmp_path, "jsonl", ROWS)
    path = tmp_path / "manifest.jsonl"
    path.write_text(f"{path.read_text()}\n{line}\n")
    splits = read(Manifest(tmp_path))
    assert list(splits) == ["train", "test"]
    reject = splits["train"][-1]
    assert isinstance(reject, Reject)
    assert (reject.where, reject.reason) == ("manifest.jsonl line 5", "unreadable row")
    assert detail in reject.detail


@pytest.mark.parametrize(
    ("cells", "detail"), [("x,x.wav", "not as many cells"), ("x,x.wav,X,y,train,z,z", "not as many cells")]
)
def test_a_ragged_table_is_no_shift_of_columns(tmp_path: Path, cells: str, detail: str, read: Read):
    write(tmp_path, "csv", ROWS)
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write(f"{cells}\n")
    reject = read(Manifest(tmp_path))["train"][-1]
    assert isinstance(reject, Reject)
    assert reject.where == "manifest.csv line 5"
    assert detail in reject.detail


def test_a_table_that_is_not_utf_8_loses_only_that_row(tmp_path: Path, read: Read):
    write(tmp_path, "csv", ROWS)
    with (tmp_path / "manifest.csv").open("ab") as file:
        file.write(b"c1,c1.flac,\xfcber,carl,train,\n")
    found = read(Manifest(tmp_path))["train"]
    assert [row.id for row in found] == ["a1", "a2", ""]
    assert isinstance(found[2], Reject)
    assert found[2].detail == "not UTF-8"


def test_a_quoted_cell_may_have_several_lines(tmp_path: Path, read: Read):
    rows = [{**ROWS[0], "text": 'HELLO,\r\n"YOU"\nTHERE'}, *ROWS[1:]]
    found = read(Manifest(write(tmp_path, "csv", rows)))["train"]
    assert [row.id for row in found] == ["a1", "a2"]
    assert isinstance(found[0], RawExample)
    assert found[0].text == 'HELLO,\r\n"YOU"\nTHERE'
    assert found[1].where == "manifest.csv line 6"


@pytest.mark.parametrize("rest", [1, 10_000])
def test_an_open_quotation_mark_swallows_no_rows(tmp_path: Path, rest: int, read: Read):
    write(tmp_path, "csv", ROWS)
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write('c1,c1.flac,"HELLO,carl,train,\n' + "".join(f"d{n},d{n}.flac,YES,dan,train,\n" for n in range(rest)))
    with pytest.raises(ValueError, match=r"manifest.csv line 5: no row of a table.*quotation mark"):
        read(Manifest(tmp_path))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, read: Read):
    write(tmp_path, "csv", ROWS)
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(read(Manifest(tmp_path))) == ["train", "test"]


def test_no_manifest_or_two_say_what_is_needed(tmp_path: Path, read: Read):
    with pytest.raises(
        FileNotFoundError,
        match=r"no corpus that is recognised \(it has downloads\); one of these is needed: a manifest, ",
    ):
        read(Manifest(tmp_path))
    write(write(tmp_path, "csv", ROWS), "tsv", ROWS)
    with pytest.raises(FileNotFoundError, match=r"it has manifest.csv and manifest.tsv"):
        read(Manifest(tmp_path))
    assert list(read(Manifest(tmp_path / "manifest.csv"))) == ["train", "test"]


def test_without_the_column_of_the_split_the_option_is_named(tmp_path: Path, read: Read):
    write(tmp_path, "jsonl", ROWS)
    with pytest.raises(ValueError, match=r"no column 'part'; there are id, .*split_column="):
        read(Manifest(tmp_path, split_column="part"))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large"])
def test_audio_that_is_no_regular_file_of_usual_size_is_refused_when_it_is_read(
    tmp_path: Path, kind: str, read: Read, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(examples, "MOST_AUDIO_BYTES", 3)
    audio = tmp_path / "a2.flac"
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}
    make.get(kind, lambda path: path.write_bytes(b"four"))(audio)
    example = read(Manifest(write(tmp_path, "jsonl", ROWS)))["train"][1]
    assert isinstance(example, RawExample)
    assert example.audio is not None
    with pytest.raises(
        ValueError, match=r"a2\.flac (is a .*; a regular file is needed|has 4 bytes; at most 3 are read)"
    ):
        example.audio()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_a_line_without_end_is_no_row(tmp_path: Path, suffix: str, read: Read):
    write(tmp_path, suffix, ROWS)
    with (tmp_path / f"manifest.{suffix}").open("a") as file:
        file.write("\n" + "a" * (17 << 20))
    with pytest.raises(ValueError, match=rf"manifest\.{suffix} line \d is longer than 16,777,216 characters"):
        read(Manifest(tmp_path))
