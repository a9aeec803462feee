"""A text file as a corpus without audio: one text a line, equal lines in one split, bad lines reported."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxasr.data.corpora.choose import recipe, source
from jaxasr.data.corpora.source import RawExample, Reject, Source
from jaxasr.data.corpora.text import Text
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.prepared.prepare import prepare

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]

LINES = [f"NUMBER {number} IS IT" for number in range(200)]
PACKED = gzip.compress("\n".join(LINES * 20).encode(), mtime=0)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text("\ufeff" + "\n".join(LINES) + "\n")
    return path


def test_every_line_is_a_text_of_one_split(book: Path, read: Read):
    found = read(Text(book, dev=0.25))
    assert list(found) == ["train", "dev"]
    assert 25 < len(found["dev"]) < 75
    texts = [(int(row.id.removeprefix("book-")), row.text) for split in found.values() for row in split]
    assert [text for _, text in sorted(texts)] == LINES
    assert {row.audio for split in found.values() for row in split} == {None}


def test_equal_lines_are_on_one_side_whatever_stands_between_them(book: Path, read: Read):
    once = read(Text(book, dev=0.25))
    book.write_text("\n\nFIRST\n" + "\n\n".join(LINES * 2))
    twice = read(Text(book, dev=0.25))
    assert {row.text for row in twice["dev"]} - {"FIRST"} == {row.text for row in once["dev"]}
    assert {row.text for row in twice["dev"]}.isdisjoint({row.text for row in twice["train"]})


def test_no_dev(book: Path, read: Read):
    assert {name: len(found) for name, found in read(Text(book, dev=0.0)).items()} == {"train": 200}


def test_a_folder_is_read_by_the_names_of_its_files_zipped_or_not(tmp_path: Path, read: Read):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt.gz").write_bytes(gzip.compress(b"TWO\n\nTHREE"))
    (tmp_path / "a.txt").write_bytes(b"ONE\n\xff\xfe\n")
    (tmp_path / "notes.md").write_text("none of it")
    found = read(Text(tmp_path, dev=0.0))["train"]
    assert [row.id for row in found] == ["a-1", "a-2", "b/two-1", "b/two-3"]
    bad = found[1]
    assert isinstance(bad, Reject)
    assert (bad.where, bad.reason) == ("a line 2", "unreadable row")


def test_prepared_it_has_texts_and_no_sample(tmp_path: Path, book: Path):
    book.write_bytes(book.read_bytes() + b"\xff\n")
    report = prepare(Text(book, name="numbers", dev=0.25), tmp_path / "data")
    opened = Corpus("numbers", "train+dev").open(tmp_path / "data")
    assert sorted(opened.texts) == sorted(LINES)
    assert not np.any(opened.samples)
    assert opened.read(3) == b""
    lines = "\n".join(report.lines())
    assert "texts without audio" in lines
    assert "left out: 1 rows (1 unreadable row)" in lines
    with pytest.raises(ValueError, match=r"Text name=numbers dev=0\.25"):
        prepare(Text(book, name="numbers"), tmp_path / "data")


def test_what_is_no_text_or_no_share_is_refused(tmp_path: Path, read: Read):
    (tmp_path / "sound.wav").write_bytes(b"")
    for place in (tmp_path, tmp_path / "sound.wav"):
        with pytest.raises(FileNotFoundError, match=r"holds no text: a file .txt or .txt.gz is needed"):
            read(Text(place))
    with pytest.raises(ValueError, match=r"dev=1\.5: the share"):
        Text(tmp_path, dev=1.5)


@pytest.mark.parametrize("content", [PACKED[:-300], PACKED[:40] + b"\xff" * 40 + PACKED[80:], b"HELLO"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, read: Read):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt\.gz is cut off or damaged .*fetch it again"):
        read(Text(tmp_path))


def test_a_file_and_its_packed_copy_are_not_mixed_up(tmp_path: Path, read: Read):
    (tmp_path / "a.txt").write_text("ONE")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"TWO"))
    with pytest.raises(ValueError, match=r"a\.txt stands beside a\.txt\.gz, whose lines would have the same ids"):
        read(Text(tmp_path))


def test_a_dev_that_no_line_falls_to_is_no_matter_of_bad_rows(tmp_path: Path, book: Path):
    book.write_text("ONE\nTWO\n")
    with pytest.raises(ValueError, match=r"nothing good is in dev, and a split needs one row at least$"):
        prepare(Text(book), tmp_path / "data")


def test_it_is_chosen_on_the_command_line(book: Path):
    chosen = source("text", book, {"dev": "0.1", "name": "book"})
    assert recipe(chosen) == "Text name=book dev=0.1"
    with pytest.raises(ValueError, match="option dev is 'some'; a number is needed"):
        source("text", book, {"dev": "some"})


def test_only_regular_files_are_texts(book: Path, read: Read):
    os.mkfifo(book.with_name("pipe.txt"))
    with pytest.raises(ValueError, match=r"pipe\.txt is a named pipe; a regular file is needed"):
        read(Text(book.parent))


def test_a_line_without_end_is_no_text(tmp_path: Path, read: Read):
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(bytes(40 << 20), 1))
    with pytest.raises(ValueError, match=r"bomb\.txt\.gz line 1 is longer than 16,777,216 characters"):
        read(Text(tmp_path))
