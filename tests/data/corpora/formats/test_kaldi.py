"""Kaldi's data directories: with and without segments, paths from the folder of run.sh, and no command is executed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxasr.data.audio import decode_whole
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]


def write_directory(folder: Path, **files: dict[str, str]) -> Path:
    """Writes the files of a data directory from their lines; wav_scp is wav.scp."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        content = "".join(f"{id} {rest}\n" for id, rest in lines.items())
        (folder / name.replace("wav_scp", "wav.scp")).write_text(content)
    return folder


@pytest.mark.parametrize("given", ["data", "."])
def test_a_recipe_has_the_same_audio_and_texts(tmp_path: Path, utterances, write_audio, assert_same, given: str):
    recipe = tmp_path / "egs" / "s5"
    write_audio(lambda row: recipe / "downloads" / "wav" / f"{row.id}.flac")
    for split in ("train", "dev"):
        rows = [row for row in utterances if row.split == split]
        write_directory(
            recipe / "data" / split,
            wav_scp={row.id: f"downloads/wav/{row.id}.flac" for row in rows},
            text={row.id: row.text for row in reversed(rows)},
            utt2spk={row.id: row.speaker for row in rows},
        )
    (recipe / "data" / "lang").mkdir()
    assert_same(recipe / given, "a Kaldi data directory", parts=("train", "dev"))


def test_segments_are_cut_to_the_sample(tmp_path: Path, tone: Callable[..., bytes], read: Read):
    whole = tone(1.0)
    folder = write_directory(
        tmp_path / "train_clean",
        wav_scp={"rec": "rec.flac"},
        segments={"u1": "rec 0.25 0.5", "u2": "rec 0.5 -1", "u3": "gone 0 1", "u4": "rec 1"},
        text={"u1": "ONE", "u2": "TWO", "u3": "THREE", "u4": "FOUR", "u5": "FIVE"},
        utt2spk={"u1": "anna"},
    )
    (folder / "rec.flac").write_bytes(whole)
    one, two, three, four, five = read(Manifest(folder))["train_clean"]
    assert isinstance(one, RawExample)
    assert isinstance(two, RawExample)
    assert (one.text, one.speaker, two.speaker) == ("ONE", "anna", "")
    assert one.audio is not None
    assert two.audio is not None
    wave_n, _ = decode_whole(whole, id="whole")
    assert (decode_whole(one.audio(), id="u1")[0] == wave_n[4_000:8_000]).all()
    assert (decode_whole(two.audio(), id="u2")[0] == wave_n[8_000:]).all()
    assert [row.reason for row in (three, four, five) if isinstance(row, Reject)] == [
        "missing file",
        "unreadable row",
        "missing file",
    ]


@pytest.mark.parametrize(
    ("audio", "detail"),
    [
        ("touch {proof} |", "a command, .* which is not executed"),
        ("| touch {proof}", "a command"),
        ("sox -t wav - | touch {proof}|", "a command"),
        ("-", "the standard input"),
        ("data/raw.ark:1234", "a place in an archive"),
    ],
)
def test_a_command_is_named_and_not_executed(tmp_path: Path, audio: str, detail: str, read: Read):
    proof = tmp_path / "proof"
    folder = write_directory(tmp_path / "dev", wav_scp={"u1": audio.format(proof=proof)}, text={"u1": "ONE"})
    (row,) = read(Manifest(folder))["dev"]
    assert isinstance(row, Reject)
    assert row.id == "u1"
    assert row.where == "dev/wav.scp line 1"
    assert re.match(detail, row.detail)
    assert not proof.exists()


def test_audio_without_a_transcript_is_counted(tmp_path: Path, read: Read):
    folder = write_directory(tmp_path / "dev", wav_scp={"u1": "a.wav", "u2": "b.wav"}, text={"u2": "TWO"})
    first, second = read(Manifest(folder))["dev"]
    assert isinstance(first, Reject)
    assert first.reason == "empty transcript"
    assert isinstance(second, RawExample)


def test_a_directory_without_text_or_with_two_lines_of_an_id_is_an_error(tmp_path: Path, read: Read):
    folder = write_directory(tmp_path / "dev", wav_scp={"u1": "a.wav"})
    with pytest.raises(FileNotFoundError, match="text"):
        read(Manifest(folder))
    (folder / "text").write_text("u1 ONE\nu1 TWO\n")
    with pytest.raises(ValueError, match=r"text line 2: a second line of 'u1'"):
        read(Manifest(folder))
