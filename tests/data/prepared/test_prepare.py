"""`jaxasr prepare`: bad rows are listed, too many are an error, and a corpus exists as a whole or not at all."""

import fcntl
import io
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from jaxasr.data import Corpus, SignalLimits, decode_audio
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import RawExample, SourceSplit
from jaxasr.data.prepared.prepare import prepare

BAD = {
    "missing file": {"id": "m", "audio": "nowhere.flac", "text": "YES"},
    "undecodable": {"id": "u", "audio": "text.flac", "text": "YES"},
    "zero length": {"id": "z", "audio": "zero.wav", "text": "YES"},
    "empty transcript": {"id": "e", "audio": "good-0.flac", "text": "  "},
    "emptied by the normaliser": {"id": "n", "audio": "good-0.flac", "text": "?!"},
    "duplicate id": {"id": "good-0", "audio": "good-1.flac", "text": "NO"},
    "unreadable row": {"id": "r", "text": "YES"},
}


@pytest.fixture
def folder(tmp_path: Path, tone: Callable[..., bytes], write_manifest: Callable[..., Path]) -> Path:
    """Returns a corpus of three good rows, and one bad row of every kind from line 4 on."""
    rows = [{"id": f"good-{n}", "audio": f"good-{n}.flac", "text": "GO ON", "split": "train"} for n in range(3)]
    rows += [{**row, "split": "train"} for row in BAD.values()]
    audio = {f"good-{n}.flac": tone(0.2 + n) for n in range(3)}
    audio |= {"text.flac": b"hello", "zero.wav": tone(0.0, format="WAV")}
    return write_manifest(tmp_path / "from" / "mixed", rows, audio)


@dataclass(frozen=True)
class Breaks:
    """A source that calls `after` before its utterance 20."""

    sound: bytes
    after: Callable[[], object]
    name: str = "tiny"
    description: str = "Breaks."
    url_infos: ClassVar[dict] = {}

    def splits(self, downloads: object) -> dict[str, SourceSplit]:
        """Returns one split of 30 utterances."""
        return {"train": SourceSplit(self._examples())}

    def _examples(self) -> Iterator[RawExample]:
        for number in range(30):
            if number == 20:
                self.after()
            yield RawExample(f"{number}", "YES", "", "", lambda: self.sound)


def test_every_kind_of_bad_row_is_listed_with_its_line(folder: Path, tmp_path: Path):
    report = prepare(Manifest(folder), tmp_path, max_bad_share=0.7)
    assert Corpus("mixed", "train").open(tmp_path).ids == ["good-0", "good-1", "good-2"]
    rejects = [json.loads(line) for line in (tmp_path / "mixed" / "rejects.jsonl").read_text().splitlines()]
    assert {reject["reason"]: reject["where"] for reject in rejects} == {
        reason: f"manifest.jsonl line {number}" for number, reason in enumerate(BAD, start=4)
    }
    assert all(reject["detail"] and reject["split"] == "train" for reject in rejects)
    assert report.rejects == dict.fromkeys(BAD, 1)
    assert f"left out: 7 rows (1 {next(iter(report.rejects))}" in "\n".join(report.lines())


def test_too_many_bad_rows_are_an_error_and_nothing_is_prepared(folder: Path, tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"'mixed' is not prepared: 7 of 10 rows are bad \(70.0%\); at most 1.0% .*rejects.jsonl"
    ):
        prepare(Manifest(folder), tmp_path)
    assert len((tmp_path / "mixed" / "rejects.jsonl").read_text().splitlines()) == 7
    assert sorted(path.name for path in (tmp_path / "mixed").iterdir()) == [".lock", "rejects.jsonl"]


def test_a_split_without_a_good_row_is_an_error(folder: Path, tmp_path: Path):
    with (folder / "manifest.jsonl").open("a") as lines:
        lines.write('{"id": "t", "audio": "nowhere.flac", "text": "YES", "split": "test"}\n')
    with pytest.raises(ValueError, match="nothing good is in test"):
        prepare(Manifest(folder), tmp_path, max_bad_share=1.0)


def test_an_id_stands_once_in_a_corpus_whatever_the_split(folder: Path, tmp_path: Path):
    with (folder / "manifest.jsonl").open("a") as lines:
        for id in ("good-1", "t"):
            lines.write(f'{{"id": "{id}", "audio": "good-0.flac", "text": "YES", "split": "test"}}\n')
    report = prepare(Manifest(folder), tmp_path, max_bad_share=1.0)
    assert report.rejects["duplicate id"] == 2
    assert Corpus("mixed", "test").open(tmp_path).ids == ["t"]


def test_an_utterance_that_was_cut_off_is_left_out(folder: Path, tmp_path: Path, tone: Callable[..., bytes]):
    (folder / "cut.wav").write_bytes(tone(1.0, format="WAV")[:9000])
    with (folder / "manifest.jsonl").open("a") as lines:
        lines.write('{"id": "cut", "audio": "cut.wav", "text": "YES", "split": "train"}\n')
    assert prepare(Manifest(folder), tmp_path, max_bad_share=1.0).rejects["undecodable"] == 2
    (last,) = (tmp_path / "mixed" / "rejects.jsonl").read_text().splitlines()[-1:]
    assert "cut: cut off, its header says 32000 bytes of samples, 8956 are there" in last


def test_a_normaliser_may_refuse_a_text(folder: Path, tmp_path: Path):
    with (folder / "manifest.jsonl").open("a") as lines:
        lines.write('{"id": "digits", "audio": "good-0.flac", "text": "ROOM 12", "split": "train"}\n')
    report = prepare(Manifest(folder), tmp_path, max_bad_share=1.0, normalizer="librispeech")
    assert report.rejects["refused by the normaliser"] == 1
    assert Corpus("mixed", "train").open(tmp_path).ids == ["good-0", "good-1", "good-2"]


def test_the_report_counts(tiny_folder: Path, tmp_path: Path):
    report = prepare(Manifest(tiny_folder), tmp_path)
    train = report.splits["train"]
    corpus = Corpus("tiny", "train").open(tmp_path)
    assert train.examples == 24
    assert train.hours == pytest.approx(corpus.samples.sum() / 16_000 / 3600)
    assert train.speakers == 4
    assert train.words == sum(len(text.split()) for text in corpus.texts)
    assert train.characters == sum(map(len, corpus.texts))
    np.testing.assert_allclose(train.seconds_b, corpus.samples / 16_000)
    lines = report.lines()
    assert lines[0] == f"tiny is prepared in {tmp_path / 'tiny' / '1.0.0'}"
    assert any(line.startswith("train: 24 utterances, 0.01 h, 4 speakers, ") for line in lines)
    levels = train.levels
    assert levels is not None
    assert any(line == f"  {levels.line()}" for line in lines)
    assert prepare(Manifest(tiny_folder), tmp_path).splits["train"].levels == levels  # from prepared.json
    bars = [line for line in lines if " s  " in line]
    assert sum(int(line.split()[-3]) for line in bars) == 34


def test_what_is_prepared_stays_unless_it_is_to_be_overwritten(tiny_folder: Path, tmp_path: Path):
    prepare(Manifest(tiny_folder), tmp_path)
    info = tmp_path / "tiny" / "1.0.0" / "prepared.json"
    written = info.stat().st_mtime_ns
    again = prepare(Manifest(tiny_folder), tmp_path)
    assert again.already_prepared
    assert "already prepared" in again.lines()[0]
    assert info.stat().st_mtime_ns == written
    assert not prepare(Manifest(tiny_folder), tmp_path, overwrite=True).already_prepared
    assert info.stat().st_mtime_ns > written


def test_other_options_under_the_same_name_are_no_silent_success(tiny_folder: Path, tmp_path: Path):
    prepare(Manifest(tiny_folder), tmp_path)
    with pytest.raises(
        ValueError, match=r"was prepared as `Manifest name=tiny split_column=split`, which is not .*--overwrite"
    ):
        prepare(Manifest(tiny_folder, split_column="speaker"), tmp_path)


def test_damage_is_found_when_asked_to_prepare_again(tiny_folder: Path, tmp_path: Path):
    prepare(Manifest(tiny_folder), tmp_path)
    shard = tmp_path / "tiny" / "1.0.0" / "tiny-dev.array_record-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"damaged.*--overwrite"):
        prepare(Manifest(tiny_folder), tmp_path)
    prepare(Manifest(tiny_folder), tmp_path, overwrite=True)
    assert len(Corpus("tiny", "dev").open(tmp_path)) == 4


def test_a_folder_of_another_s_making_is_left_alone(tiny_folder: Path, tmp_path: Path):
    theirs = tmp_path / "tiny" / "1.0.0" / "tiny-train.tfrecord-00000-of-00001"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"TFDS's own")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"1.0.0 has no prepared.json.*leaves it alone.*name="):
            prepare(Manifest(tiny_folder), tmp_path, overwrite=overwrite)
    assert theirs.read_bytes() == b"TFDS's own"


def test_a_failed_overwrite_leaves_the_list_of_what_was_left_out_before(folder: Path, tmp_path: Path):
    before = prepare(Manifest(folder), tmp_path, max_bad_share=1.0).rejects
    (folder / "good-2.flac").unlink()
    with pytest.raises(ValueError, match=r"8 of 10 rows are bad.*rejects-new.jsonl"):
        prepare(Manifest(folder), tmp_path, overwrite=True)
    assert prepare(Manifest(folder), tmp_path).rejects == before == dict.fromkeys(BAD, 1)
    assert prepare(Manifest(folder), tmp_path, overwrite=True, max_bad_share=1.0).rejects["missing file"] == 2
    assert sorted(path.name for path in (tmp_path / "mixed").iterdir()) == [".lock", "1.0.0", "rejects.jsonl"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_error_on_the_way_leaves_what_was_there(
    tiny_folder: Path, tmp_path: Path, tone: Callable[..., bytes], error: BaseException
):
    def fail() -> None:
        raise error

    prepare(Manifest(tiny_folder), tmp_path)
    with pytest.raises((KeyboardInterrupt, OSError)):
        prepare(Breaks(tone(0.1), fail), tmp_path, overwrite=True)
    assert len(Corpus("tiny", "train").open(tmp_path)) == 24
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [".lock", "1.0.0", "suspects.jsonl"]


def test_a_kill_in_the_middle_leaves_nothing_that_reads_as_whole(tmp_path: Path, tone: Callable[..., bytes]):
    with pytest.raises(subprocess.CalledProcessError) as killed:
        _prepare_noise(tmp_path, size=30, kill_at=20, seconds=0.1)
    assert killed.value.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "tiny" / ".staging").rglob("*") if path.is_file()]
    assert {"index-train.jsonl", "train.shard-00000"} <= set(left)
    with pytest.raises(FileNotFoundError, match="'tiny' is not prepared"):
        Corpus("tiny", "train").open(tmp_path)
    prepare(Breaks(tone(0.1), lambda: None), tmp_path)
    assert len(Corpus("tiny", "train").open(tmp_path)) == 30
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [".lock", "1.0.0"]


def test_two_at_once_are_refused(tiny_folder: Path, tmp_path: Path):
    (tmp_path / "tiny").mkdir()
    with (tmp_path / "tiny" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="tiny is being prepared by another process"):
            prepare(Manifest(tiny_folder), tmp_path)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_the_share_of_bad_rows_is_a_share(tiny_folder: Path, tmp_path: Path, share: float):
    with pytest.raises(ValueError, match="from 0 to 1"):
        prepare(Manifest(tiny_folder), tmp_path, max_bad_share=share)


def test_a_normaliser_that_there_is_not_is_refused_at_once(tiny_folder: Path, tmp_path: Path):
    unchecked = getattr(prepare, "__wrapped__", prepare)  # beneath the type checks of the tests
    with pytest.raises(ValueError, match="no text normaliser 'uper'; there are verbatim, upper"):
        unchecked(Manifest(tiny_folder), tmp_path, normalizer="uper")
    assert not list(tmp_path.iterdir())


def test_a_name_that_could_not_be_opened_is_refused(tiny_folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="corpus name 'My Corpus'"):
        prepare(Manifest(tiny_folder, "My Corpus"), tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path):
    """300 MB more of audio take less than 50 MB more of memory."""
    peak_mb = [_prepare_noise(tmp_path / f"{size}", size=size, kill_at=-1, seconds=20.0) for size in (100, 600)]
    assert peak_mb[1] - peak_mb[0] < 50
    assert peak_mb[1] < 1000


def _prepare_noise(data_dir: Path, *, size: int, kill_at: int, seconds: float) -> float:
    """Prepares `size` utterances in another process, which kills itself before number `kill_at`. Returns its peak in MiB."""
    script = textwrap.dedent(
        """
        import io, os, resource, signal, sys
        from dataclasses import dataclass
        from pathlib import Path
        import numpy as np, soundfile
        from jaxasr.data.corpora.source import RawExample, SourceSplit
        from jaxasr.data.prepared.prepare import prepare

        size, kill_at, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
        file = io.BytesIO()
        noise_n = np.random.default_rng(0).integers(-9000, 9000, int(seconds * 16_000)).astype(np.int16)
        soundfile.write(file, noise_n, 16_000, format="WAV")

        @dataclass(frozen=True)
        class Noise:
            name: str = "tiny"
            description: str = "Noise."
            url_infos = {}

            def splits(self, downloads):
                return {"train": SourceSplit(self.examples())}

            def examples(self):
                for number in range(size):
                    if number == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield RawExample(f"{number}", "YES", "", "", lambda: bytes(file.getvalue()))

        prepare(Noise(), Path(sys.argv[1]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        """
    )
    command = [sys.executable, "-c", script, *map(str, (data_dir, size, kill_at, seconds))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600.0).stdout)


def _wav(wave: np.ndarray, format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, 16_000, format=format, subtype="PCM_16")
    return file.getvalue()


def test_recordings_that_no_recogniser_can_use_are_counted_by_kind(
    tmp_path: Path, rng: np.random.Generator, write_manifest: Callable[..., Path]
):
    noise_n = rng.normal(0.0, 1.0, 16_000)
    audio = {
        "silent audio": np.zeros(16_000),
        "quiet audio": 0.0005 * noise_n,
        "clipped audio": np.clip(noise_n, -0.99, 0.99),
        "good": 0.1 * noise_n,
    }
    rows = [{"id": id, "audio": f"{id}.wav", "text": "YES PLEASE", "split": "train"} for id in audio]
    folder = write_manifest(tmp_path / "from" / "levels", rows, {f"{id}.wav": _wav(wave) for id, wave in audio.items()})
    with pytest.raises(ValueError, match="3 of 4 rows are bad"):
        prepare(Manifest(folder), tmp_path)
    report = prepare(Manifest(folder), tmp_path, max_bad_share=0.8)
    assert report.rejects == {"silent audio": 1, "quiet audio": 1, "clipped audio": 1}
    rejects = [json.loads(line) for line in (tmp_path / "levels" / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["id"], reject["reason"]) for reject in rejects] == [(id, id) for id in audio][:3]
    assert "66.0 dBFS, at least -60" in rejects[1]["detail"]
    wide = SignalLimits(min_level_dbfs=-90.0, max_clipped_share=1.0)
    assert prepare(Manifest(folder), tmp_path, overwrite=True, max_bad_share=0.8, limits=wide).rejects == {
        "silent audio": 1
    }
    assert Corpus("levels", "train").open(tmp_path).ids == ["quiet audio", "clipped audio", "good"]


def test_a_stated_duration_is_compared_with_the_decoded_one(
    tmp_path: Path, tone: Callable[..., bytes], write_manifest: Callable[..., Path]
):
    row = {"audio": "a.flac", "text": "YES", "split": "train"}
    stated = {"exact": 2.0, "rounded": 2.05, "cut": 4.1, "long": 1.5}
    rows = [{"id": id, "duration": seconds, **row} for id, seconds in stated.items()]
    folder = write_manifest(tmp_path / "from" / "stated", rows, {"a.flac": tone(2.0)})
    assert prepare(Manifest(folder), tmp_path, max_bad_share=0.5).rejects == {"another duration than stated": 2}
    assert Corpus("stated", "train").open(tmp_path).ids == ["exact", "rounded"]
    assert "4.1 s are stated, 2.000 s are decoded" in (tmp_path / "stated" / "rejects.jsonl").read_text()


def test_segments_of_one_recording_become_utterances(
    tmp_path: Path, rng: np.random.Generator, write_manifest: Callable[..., Path]
):
    noise_n = np.round(rng.normal(0.0, 3000.0, 30 * 16_000)).astype(np.int16)
    rows = [
        {"id": f"s{n}", "audio": "hour.wav", "offset": n / 2, "duration": 0.5, "text": f"NUMBER {n}", "split": "train"}
        for n in range(60)
    ]
    rows.append({**rows[0], "id": "outside", "offset": 29.75})
    rows.append({**rows[0], "id": "no number", "offset": "soon"})
    folder = write_manifest(tmp_path / "from" / "long", rows, {"hour.wav": _wav(noise_n)})
    report = prepare(Manifest(folder), tmp_path, max_bad_share=0.05)
    assert report.rejects == {"segment outside the recording": 1, "unreadable row": 1}
    corpus = Corpus("long", "train").open(tmp_path)
    assert corpus.samples.tolist() == [8000] * 60
    for n in range(60):
        np.testing.assert_array_equal(decode_audio(corpus.read(n), id="x"), noise_n[n * 8000 : (n + 1) * 8000])


def test_suspicious_rows_are_kept_and_listed(
    tmp_path: Path, tone: Callable[..., bytes], write_manifest: Callable[..., Path]
):
    rows = [
        {"id": "a", "audio": "a.flac", "text": "Yes!", "speaker": "anna", "split": "train"},
        {"id": "fast", "audio": "b.flac", "text": "WORD " * 20, "speaker": "anna", "split": "train"},
        {"id": "same audio", "audio": "a.wav", "text": "YES", "speaker": "", "split": "test"},
        {"id": "same text", "audio": "c.flac", "text": "yes", "speaker": "anna", "split": "test"},
    ]
    wave_n = np.arange(-8000, 8000, dtype=np.int16)
    audio = {"a.flac": _wav(wave_n, "FLAC"), "a.wav": _wav(wave_n), "b.flac": tone(1.1), "c.flac": tone(1.2)}
    report = prepare(Manifest(write_manifest(tmp_path / "from" / "odd", rows, audio)), tmp_path)
    suspects = [json.loads(line) for line in (tmp_path / "odd" / "suspects.jsonl").read_text().splitlines()]
    assert [(suspect["id"], suspect["reason"], suspect["split"]) for suspect in suspects] == [
        ("fast", "more text than can be spoken", "train"),
        ("same audio", "same audio in two splits", "test"),
        ("same text", "same text and speaker in two splits", "test"),
    ]
    assert suspects[1]["where"] == "manifest.jsonl line 3"
    assert suspects[1]["detail"] == "'a' of train has it as well"
    assert "suspicious, but kept: 3 rows (1 more text than can be spoken, " in "\n".join(report.lines())
    assert len(Corpus("odd", "test").open(tmp_path)) == 2
