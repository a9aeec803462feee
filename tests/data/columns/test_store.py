"""A cache of columns is what its writer wrote, or is made again: stale, damaged, unwritable, of several processes."""

import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxasr.data.columns import store
from jaxasr.data.columns.store import ColumnWriter, MappedColumns, cached_columns
from jaxasr.data.columns.strings import ChainedStrings, Strings, chained

TEXTS = ["one", "", "zwei ä", "三", "five" * 50]


def write(writer: ColumnWriter) -> None:
    writer.source = {"size_bytes": 7}
    for part in (TEXTS[:2], TEXTS[2:]):
        writer.add_strings("texts", part)
        writer.add("lengths", np.array([len(line) for line in part], np.int32))
    writer.add("nothing", np.zeros(0, np.int64))
    writer.add_strings("no_texts", [])


def check(columns: MappedColumns) -> None:
    assert list(columns.strings("texts")) == TEXTS
    assert columns.arrays["lengths"].tolist() == [len(line) for line in TEXTS]
    assert columns.source == {"size_bytes": 7}
    assert len(columns.arrays["nothing"]) == len(columns.strings("no_texts")) == 0


@pytest.fixture
def lines() -> list[str]:
    return []


def made(folder: Path, lines: list[str], key: str = "a") -> tuple[MappedColumns, int]:
    """Returns the columns and how often they were written."""
    calls = []

    def counted(writer: ColumnWriter) -> None:
        calls.append(writer)
        write(writer)

    columns = cached_columns(folder, key, counted, print_fn=lines.append)
    check(columns)
    return columns, len(calls)


def test_columns_are_written_once_and_mapped(tmp_path: Path, lines: list[str]):
    first, writes = made(tmp_path / "cache" / "x", lines)
    assert writes == 1
    assert isinstance(first.arrays["lengths"], np.memmap)
    assert made(tmp_path / "cache" / "x", lines)[1] == 0
    assert lines == []
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock", "x"]


def test_a_cache_of_another_key_is_made_again(tmp_path: Path, lines: list[str]):
    made(tmp_path / "c" / "x", lines)
    assert made(tmp_path / "c" / "x", lines, key="b")[1] == 1
    assert [line.partition(": ")[2] for line in lines] == ["it was made of another corpus, vocabulary or version"]
    assert made(tmp_path / "c" / "x", lines, key="b")[1] == 0


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("texts.content.npy", lambda content: content[:-1] + bytes([content[-1] ^ 1]), "checksum differs"),
        ("texts.starts.npy", lambda content: content[:-8], "made again"),
        ("lengths.npy", lambda content: b"", "made again"),
        ("columns.json", lambda content: content[:40], "made again"),
        ("columns.json", lambda content: b"[]", "made again"),
        ("columns.json", lambda content: content.replace(b'"length": 5', b'"length": 4'), "5 entries, 4 were written"),
    ],
)
def test_a_damaged_cache_is_made_again_and_said_so(tmp_path: Path, lines: list[str], name, damage, reason):
    folder = tmp_path / "c" / "x"
    made(folder, lines)
    content = damage((folder / name).read_bytes())
    (folder / name).unlink()  # a mapped file must not be cut under its readers
    (folder / name).write_bytes(content)
    assert made(folder, lines)[1] == 1
    assert len(lines) == 1
    assert f"{folder} is made again" in lines[0]
    assert reason in lines[0]
    assert made(folder, lines)[1] == 0


def test_a_missing_file_is_made_again(tmp_path: Path, lines: list[str]):
    made(tmp_path / "c" / "x", lines)
    (tmp_path / "c" / "x" / "lengths.npy").unlink()
    assert made(tmp_path / "c" / "x", lines)[1] == 1


def test_a_folder_that_cannot_be_written_works_without_a_cache(tmp_path: Path, lines: list[str]):
    (tmp_path / "c").write_text("a file in the place of the folder")
    columns, writes = made(tmp_path / "c" / "x", lines)
    assert writes == 1
    assert "cannot be written (File exists): its columns are made anew in every process" in lines[0]
    check(MappedColumns(pickle.loads(pickle.dumps(columns.arrays)), columns.source))
    assert list(pickle.loads(pickle.dumps(columns.strings("texts")))) == TEXTS


def test_an_error_of_the_writer_leaves_nothing(tmp_path: Path, lines: list[str]):
    def failing(writer: ColumnWriter) -> None:
        write(writer)
        raise ValueError("the index is damaged")

    with pytest.raises(ValueError, match="the index is damaged"):
        cached_columns(tmp_path / "c" / "x", "a", failing, print_fn=lines.append)
    assert [path.name for path in (tmp_path / "c").iterdir()] == [".lock"]


def test_the_remains_of_a_killed_writer_are_removed(tmp_path: Path, lines: list[str]):
    (tmp_path / "c" / ".building-killed").mkdir(parents=True)
    made(tmp_path / "c" / "x", lines)
    assert not (tmp_path / "c" / ".building-killed").exists()


def test_a_file_system_without_locks_works(tmp_path: Path, lines: list[str], monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(store.fcntl, "flock", no_locks)
    assert made(tmp_path / "c" / "x", lines)[1] == 1
    assert made(tmp_path / "c" / "x", lines)[1] == 0


def _open(folder: Path, barrier, results) -> None:
    lines: list[str] = []
    barrier.wait(60)
    results.put(made(folder, lines)[1])


def test_of_processes_that_start_at_once_one_writes(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_open, args=(tmp_path / "c" / "x", barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    writes = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(120)
    assert sorted(writes) == [0, 0, 1]
    assert json.loads((tmp_path / "c" / "x" / "columns.json").read_text())["key"] == "a"


def test_texts_are_a_sequence_of_the_rows_that_are_picked(tmp_path: Path, lines: list[str]):
    columns, _ = made(tmp_path / "c" / "x", lines)
    some = columns.strings("texts", np.array([4, 2]))
    assert list(some) == some[:] == [TEXTS[4], TEXTS[2]]
    assert some[-1] == TEXTS[2]
    with pytest.raises(IndexError):
        some[2]
    mapped = columns.strings("texts")
    assert mapped[1:4] == TEXTS[1:4]
    assert len(pickle.dumps(mapped)) < 1000
    assert list(pickle.loads(pickle.dumps(mapped))) == TEXTS


def test_several_texts_in_a_row(tmp_path: Path, lines: list[str]):
    mapped = made(tmp_path / "c" / "x", lines)[0].strings("texts")
    both = chained([["zero"], mapped, [], ["last"]])
    assert isinstance(both, ChainedStrings)
    assert list(both) == [both[i] for i in range(len(both))] == ["zero", *TEXTS, "last"]
    assert both[-2:] == [TEXTS[-1], "last"]
    assert chained([["a"], ["b"]]) == ["a", "b"]
    assert isinstance(chained([mapped]), Strings)
