"""Rows that are probably wrong are named, by themselves and beside the rows before them."""

import dataclasses

import numpy as np
import pytest

from jaxasr.data.prepared.suspects import ComparedRow, Suspicion, wave_hash

ROW = ComparedRow("line 1", "a", "HELLO WORLD", "anna", 2.0, b"1")


def reasons(*rows: tuple[str, ComparedRow]) -> list[str]:
    """Returns what is suspicious about the last row."""
    suspicion = Suspicion()
    found = [suspicion.suspects(split, row) for split, row in rows]
    return [suspect.reason for suspect in found[-1]]


def like(**changes: object) -> ComparedRow:
    """Returns another row: other id, text, speaker and audio, unless given."""
    return dataclasses.replace(ROW, **{"id": "b", "text": "BYE", "speaker": "bob", "wave_hash": b"2", **changes})  # pyright: ignore


def test_an_ordinary_row_is_not_suspicious():
    assert reasons(("train", ROW), ("test", like())) == []
    assert reasons(("train", ROW), ("train", like(text=ROW.text, speaker="anna"))) == []


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("A" * 71, 2.0, "more text than can be spoken"),
        ("A" * 69, 2.0, ""),
        ("語" * 24, 2.0, "more text than can be spoken"),
        ("語" * 23, 2.0, ""),
        ("한" * 30, 2.0, "more text than can be spoken"),
        ("YES", 3600.0, "hardly any text for the audio"),
        ("YES", 25.0, ""),
        ("A" * 1000, 0.0, ""),
    ],
)
def test_audio_and_text_that_do_not_belong_together(text: str, seconds: float, expected: str):
    assert reasons(("train", like(text=text, seconds=seconds))) == ([expected] if expected else [])


def test_the_same_audio_in_two_splits():
    assert reasons(("train", ROW), ("test", like(wave_hash=b"1", text=ROW.text))) == ["same audio in two splits"]
    assert reasons(("train", ROW), ("train", like(wave_hash=b"1", text=ROW.text))) == []


def test_the_same_audio_with_another_text():
    assert reasons(("train", ROW), ("train", like(wave_hash=b"1"))) == ["same audio with another text"]


def test_the_same_text_of_the_same_speaker_in_two_splits():
    again = like(text=ROW.text, speaker="anna")
    assert reasons(("train", ROW), ("test", again)) == ["same text and speaker in two splits"]
    assert reasons(("train", dataclasses.replace(ROW, speaker="")), ("test", like(text=ROW.text, speaker=""))) == []


def test_texts_without_audio_are_not_compared():
    silent = dataclasses.replace(ROW, seconds=0.0, wave_hash=b"")
    assert reasons(("train", silent), ("test", dataclasses.replace(silent, id="b"))) == []


def test_the_hash_of_audio_is_that_of_samples_and_rate():
    wave_n = np.arange(100, dtype=np.int16)
    assert wave_hash(wave_n, 16_000) == wave_hash(wave_n.copy(), 16_000)
    assert wave_hash(wave_n, 16_000) != wave_hash(wave_n, 8_000)
    assert wave_hash(wave_n, 16_000) != wave_hash(wave_n + np.int16(1), 16_000)
