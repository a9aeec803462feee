"""Tables beside audio: NeMo's manifests, Common Voice, AudioFolder and tables with any columns, each in its own layout."""

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from jaxasr.data.audio import decode_whole
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]


def json_lines(rows: Iterable[Mapping[str, object]]) -> str:
    """Returns rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_table(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    """Writes a table with a header; with tabs, without quotation marks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if delimiter == "\t":
        path.write_text("".join("\t".join(cells) + "\n" for cells in [list(rows[0]), *(row.values() for row in rows)]))
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("form", ["lines", "array", "gz"])
def test_nemo_manifests(tmp_path: Path, utterances, write_audio, assert_same, absolute: bool, form: str):
    folder = tmp_path / "an4"
    write_audio(lambda row: folder / "wav" / row.split / f"{row.id}.flac")
    base = folder if absolute else Path()
    for split in ("train", "dev"):
        rows = [
            {
                "audio_filepath": str(base / "wav" / split / f"{row.id}.flac"),
                "duration": len(decode_whole(row.audio, id="")[0]) / 16_000,
                "text": row.text,
                **({"offset": 0.0} if absolute else {}),
            }
            for row in utterances
            if row.split == split
        ]
        text = json.dumps(rows, indent=2) if form == "array" else json_lines(rows)
        path = folder / f"{split}_manifest.json"
        path.write_text(text)
        if form == "gz":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    assert_same(folder, "a NeMo manifest", parts=("train", "dev"))


def test_a_file_of_nemo_is_one_split_with_ids_from_its_paths(tmp_path: Path, tone: Callable[..., bytes], read: Read):
    rows = [{"audio_filepath": f"/somewhere/wav/{n}/a.wav", "text": "A", "offset": 0.5, "duration": n} for n in (1, 2)]
    (tmp_path / "an4_train_manifest.json").write_text(json_lines(rows))
    source = Manifest(tmp_path / "an4_train_manifest.json", "an4")
    assert [row.id for row in read(source)["train"]] == ["1/a-0.5-1", "2/a-0.5-2"]
    assert "audio from 'audio_filepath', text from 'text', ids from the paths" in "\n".join(source.origin())
    other = Manifest(tmp_path / "an4_train_manifest.json", "an4", split="all_of_it")
    assert list(read(other)) == ["all_of_it"]


def test_common_voice(tmp_path: Path, utterances, write_audio, assert_same):
    language = tmp_path / "cv-corpus-17.0" / "nl"
    write_audio(lambda row: language / "clips" / f"common_voice_nl_{row.id}.mp3")
    for split in ("train", "dev"):
        rows = [
            {
                "client_id": row.speaker,
                "path": f"common_voice_nl_{row.id}.mp3",
                "sentence_id": f"h{row.id}",
                "sentence": row.text,
                "up_votes": "2",
                "age": "",
                "locale": "nl",
                "segment": "",
            }
            for row in utterances
            if row.split == split
        ]
        write_table(language / f"{split}.tsv", rows, "\t")
        write_table(language / "validated.tsv", rows, "\t")
    write_table(language / "clip_durations.tsv", [{"clip": "x", "duration[ms]": "1"}], "\t")
    assert_same(language.parent, "Common Voice", parts=("train", "dev"))


def test_two_languages_of_common_voice_are_not_mixed(tmp_path: Path, read: Read):
    for language in ("de", "nl"):
        (tmp_path / language / "clips").mkdir(parents=True)
        write_table(tmp_path / language / "train.tsv", [{"path": "a.mp3", "sentence": "A"}], "\t")
    with pytest.raises(ValueError, match="has the languages de, nl: give the folder of one"):
        read(Manifest(tmp_path))
    (row,) = read(Manifest(tmp_path / "nl"))["train"]
    assert row.id == "a"


@pytest.mark.parametrize("form", ["folders of csv", "one jsonl", "data"])
def test_audio_folder(tmp_path: Path, utterances, write_audio, assert_same, form: str):
    base = tmp_path / "data" if form == "data" else tmp_path
    write_audio(lambda row: base / row.split / f"{row.id}.flac")
    if form == "one jsonl":
        rows = [{"file_name": f"{row.split}/{row.id}.flac", "transcription": row.text} for row in utterances]
        (tmp_path / "metadata.jsonl").write_text(json_lines(rows))
    else:
        for split in ("train", "dev"):
            rows = [
                {"file_name": f"{row.id}.flac", "transcription": row.text} for row in utterances if row.split == split
            ]
            write_table(base / split / "metadata.csv", rows)
    assert_same(tmp_path, "a Hugging Face AudioFolder")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "csv.gz"])
def test_a_table_with_any_columns(tmp_path: Path, utterances, write_audio, assert_same, suffix: str):
    write_audio(lambda row: tmp_path / "sound" / row.split / f"{row.id}.flac")
    rows = [
        {"clip": f"sound\\{row.split}\\{row.id}.flac", "words": row.text, "who": row.speaker, "fold": row.split}
        for row in utterances
    ]
    path = tmp_path / f"list.{suffix.removesuffix('.gz')}"
    if suffix == "jsonl":
        path.write_text(json_lines(rows))
    else:
        write_table(path, rows, "\t" if suffix == "tsv" else ";")
    if suffix.endswith(".gz"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    columns = {"audio_column": "clip", "text_column": "words", "speaker_column": "who", "split_column": "fold"}
    assert_same(tmp_path, "tables", **columns)


def test_paths_of_another_machine(tmp_path: Path, utterances, write_audio, assert_same, read: Read):
    write_audio(lambda row: tmp_path / "wav" / f"{row.id}.flac")
    rows = [
        {"utt": row.id, "wav": f"C:\\corpora\\Mine\\wav\\{row.id}.flac", "txt": row.text, "split": row.split}
        for row in utterances
    ]
    (tmp_path / "manifest.json").write_text("\ufeff" + json_lines(rows).replace("\n", "\r\n"))
    assert_same(tmp_path, "a manifest", strip_prefix="c:\\corpora\\mine")
    first = read(Manifest(tmp_path, "mine"))["train"][0]
    assert isinstance(first, Reject)
    assert "a path of Windows with a drive: say what to take off with strip_prefix=" in first.detail


def test_a_second_reading_of_columns_and_parts_that_are_not_there(tmp_path: Path, read: Read):
    write_table(tmp_path / "train.csv", [{"path": "a.wav", "sentence": "A"}])
    with pytest.raises(ValueError, match=r"has no row of test; its splits are train"):
        read(Manifest(tmp_path, parts=("test",)))
    with pytest.raises(ValueError, match=r"there is no format 'nemo2'; there are manifest, "):
        read(Manifest(tmp_path, format="nemo2"))
    with pytest.raises(
        ValueError,
        match=r"train\.csv has no column 'words' for the texts; its columns are 'path', 'sentence' .* text_column=",
    ):
        read(Manifest(tmp_path, text_column="words"))


@pytest.mark.parametrize(
    ("header", "needed"),
    [
        ({"bestand": "a.wav", "zin": "A"}, ("audio_column=", "text_column=", "another file with --from")),
        ({"LJ001-0001": "LJ001-0002", "one": "two"}, ("a CSV's are named in its first line",)),
        ({"path": "a.wav", **{f"c{number}": "" for number in range(20)}}, (" text_column=", "'c10', ... (")),
        ({"id": "a", "sources": "a.wav", "sampling_rate": "8000"}, ("lhotse cut simple -r RECORDINGS",)),
        ({"id": "a", "recording_id": "r", "text": "A"}, (" audio_column=", "lhotse cut simple -r RECORDINGS")),
    ],
)
def test_a_table_without_known_columns_is_an_error_before_any_row_is_read(
    tmp_path: Path, header: dict[str, str], needed: tuple[str, ...]
):
    write_table(tmp_path / "train.csv", [header] * 3)
    with pytest.raises(ValueError, match=r"train\.csv has no column ") as error:
        list(Manifest(tmp_path).origin())
    assert all(words in str(error.value) for words in needed), error.value


@pytest.mark.parametrize("form", ["metadata.csv", "manifest.json"])
def test_names_that_each_split_has_are_of_different_ids(
    tmp_path: Path, tone: Callable[..., bytes], read: Read, form: str
):
    for split in ("train", "dev"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0.wav").write_bytes(tone(0.2))
        if form == "metadata.csv":
            write_table(tmp_path / split / form, [{"file_name": "0.wav", "transcription": "A"}])
        else:
            rows = [{"audio_filepath": "0.wav", "text": "A"}]
            (tmp_path / f"{split}_{form}").write_text(
                json_lines([{**row, "audio_filepath": f"{split}/0.wav"} for row in rows])
            )
    found = read(Manifest(tmp_path, "mine"))
    assert {split: [row.id for row in rows] for split, rows in found.items()} == {
        "train": ["train/0"],
        "dev": ["dev/0"],
    }


@pytest.mark.parametrize("given", [".", "cv-corpus-17-nl.tar.gz"])
def test_an_archive_is_to_be_extracted_first(tmp_path: Path, given: str):
    (tmp_path / "cv-corpus-17-nl.tar.gz").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"has the archive cv-corpus-17-nl\.tar\.gz: extract it first, and give the folder"
    ):
        list(Manifest(tmp_path / given, "cv").origin())
