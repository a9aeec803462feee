"""lhotse's cuts: in the form that `CutSet.to_file` writes, and those whose audio cannot be read are named."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from jaxasr.data.audio import decode_whole
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, Reject, Source

Read = Callable[[Source], dict[str, list[RawExample | Reject]]]


def cut(id: str, audio: str, seconds: float, text: str, *, channels: int = 1, **changes: Any) -> dict[str, Any]:
    """Returns a cut of a whole recording, with one supervision."""
    return {
        "id": id,
        "start": 0,
        "duration": seconds,
        "channel": 0,
        "supervisions": [
            {
                "id": id,
                "recording_id": id,
                "start": 0.0,
                "duration": seconds,
                "channel": 0,
                "text": text,
                "speaker": "s",
            }
        ],
        "recording": {
            "id": id,
            "sources": [{"type": "file", "channels": list(range(channels)), "source": audio}],
            "sampling_rate": 16_000,
            "num_samples": round(16_000 * seconds),
            "duration": seconds,
            "channel_ids": list(range(channels)),
        },
        "type": "MonoCut",
        **changes,
    }


def write_cuts(path: Path, cuts: list[dict[str, Any]]) -> Path:
    """Writes gzipped cuts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in cuts).encode()))
    return path


def test_a_folder_of_cuts_has_the_same_audio_and_texts(tmp_path: Path, utterances, write_audio, assert_same):
    write_audio(lambda row: tmp_path / "audio" / f"{row.id}.flac")
    for split in ("train", "dev"):
        cuts = [
            cut(
                row.id,
                str(tmp_path / "audio" / f"{row.id}.flac"),
                len(decode_whole(row.audio, id="")[0]) / 16_000,
                row.text,
            )
            for row in utterances
            if row.split == split
        ]
        write_cuts(tmp_path / "manifests" / f"libri_cuts_{split}.jsonl.gz", cuts)
    assert_same(tmp_path / "manifests", "lhotse's cuts", parts=("train", "dev"))


def test_cuts_of_recordings_are_segments_and_channels(tmp_path: Path, read: Read):
    wave_nc = np.random.default_rng(1).integers(-9_000, 9_000, (16_000, 2)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", wave_nc, 16_000)
    two = cut("c2", "a.wav", 1.0, "", channels=2, channel=1, start=0.25, duration=0.5)
    two["supervisions"] = [
        {"id": "s1", "start": 0.0, "duration": 0.25, "channel": 1, "text": "ONE", "speaker": "a"},
        {"id": "s2", "start": 0.25, "duration": 0.25, "channel": 1, "text": "TWO", "speaker": "b"},
    ]
    write_cuts(tmp_path / "cuts_test.jsonl.gz", [cut("c1", "a.wav", 1.0, "ALL", channels=2, duration=0.5), two])
    rows = read(Manifest(tmp_path))["test"]
    waves = {
        row.id: (row.text, decode_whole(row.audio(), id="")[0])
        for row in rows
        if isinstance(row, RawExample) and row.audio
    }
    assert {id: text for id, (text, _) in waves.items()} == {"c1": "ALL", "s1": "ONE", "s2": "TWO"}
    np.testing.assert_array_equal(waves["c1"][1], wave_nc[:8_000, 0])
    np.testing.assert_array_equal(waves["s1"][1], wave_nc[4_000:8_000, 1])
    np.testing.assert_array_equal(waves["s2"][1], wave_nc[8_000:12_000, 1])


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"type": "MixedCut"}, "a MixedCut, whose audio lhotse computes"),
        ({"recording": None}, "a cut without a recording"),
        ({"supervisions": []}, "a cut without supervisions"),
        ({"duration": "x"}, "no cut of lhotse"),
        ({"recording": {"sources": [{"type": "command", "source": "touch x"}]}}, "no command is executed"),
        ({"recording": {"sources": [{"type": "url", "source": "http://x"}]}}, "the sources url"),
        ({"recording": {"sources": [], "transforms": [{"name": "Speed"}]}}, "transforms .* which lhotse computes"),
    ],
)
def test_a_cut_that_cannot_be_read_is_named(tmp_path: Path, changes: dict, detail: str, read: Read):
    write_cuts(
        tmp_path / "cuts_dev.jsonl.gz", [cut("good", "a.wav", 1.0, "A"), cut("bad", "a.wav", 1.0, "B", **changes)]
    )
    good, bad = read(Manifest(tmp_path))["dev"]
    assert isinstance(good, RawExample)
    assert isinstance(bad, Reject)
    assert (bad.id, bad.where) == ("bad", "cuts_dev.jsonl.gz line 2")
    assert re.search(detail, bad.detail)
