"""Folders of TFDS's own builders with an Audio feature of samples or of files."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from jaxasr.data import Corpus, decode_audio
from jaxasr.data.corpora.tfds_corpus import TfdsCorpus
from jaxasr.data.prepared.prepare import prepare

AUDIO = {"shape": {"dimensions": ["-1"]}, "dtype": "int16", "encoding": "none", "sampleRate": "16000"}
WAVES = [np.arange(-800, 800, dtype=np.int16) * (number + 1) for number in range(5)]


def example(number: int, audio: dict[str, object]) -> bytes:
    """Returns a tf.train.Example as ExampleSerializer writes it."""
    message = tf_example_pb2.Example()
    feature = message.features.feature
    feature["id"].bytes_list.value.append(f"utt-{number}".encode())
    feature["text"].bytes_list.value.append(b"HELLO")
    feature["speaker_id"].int64_list.value.append(100 + number)
    wave_n = WAVES[number]
    if audio.get("lazyDecode"):
        file = io.BytesIO()
        soundfile.write(file, wave_n, 16_000, format="FLAC")
        feature["speech"].bytes_list.value.append(file.getvalue())
    elif audio["encoding"] == "zlib":
        feature["speech"].bytes_list.value.append(zlib.compress(wave_n.tobytes()))
    elif audio["dtype"] == "float32":
        feature["speech"].float_list.value.extend((wave_n / 32_768).tolist())
    else:
        feature["speech"].int64_list.value.extend(wave_n.tolist())
    return message.SerializeToString()


def masked_crc(data: bytes) -> bytes:
    """Returns the CRC-32C of TFRecord files, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % (1 << 32))


def tfrecord(record: bytes) -> bytes:
    """Returns a record with its length and checksums."""
    length = struct.pack("<Q", len(record))
    return length + masked_crc(length) + record + masked_crc(record)


def stock(folder: Path, *, form: str = "tfrecord", **changes: object) -> Path:
    """Writes librispeech/2.1.1 with splits of 2 and 3 examples; the train split has two shards."""
    audio = AUDIO | changes
    folder.mkdir(parents=True)
    splits = {"train": ["1", "2"], "test": ["2"]}
    info = [{"name": name, "shardLengths": lengths} for name, lengths in splits.items()]
    (folder / "dataset_info.json").write_text(json.dumps({"name": "librispeech", "fileFormat": form, "splits": info}))
    features = {"speech": {"audio": audio}, "text": {"text": {}}, "id": {"text": {}}, "speaker_id": {"tensor": {}}}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    numbers = iter(range(5))
    for name, lengths in splits.items():
        for shard, length in enumerate(lengths):
            records = [example(next(numbers), audio) for _ in range(int(length))]
            path = folder / f"librispeech-{name}.{form}-{shard:05d}-of-{len(lengths):05d}"
            if form == "tfrecord":
                path.write_bytes(b"".join(map(tfrecord, records)))
            else:
                writer = ArrayRecordWriter(str(path), "group_size:1")
                for record in records:
                    writer.write(record)
                writer.close()
    return folder


@pytest.mark.parametrize("form", ["tfrecord", "array_record"])
@pytest.mark.parametrize(
    "changes", [{}, {"lazyDecode": True}, {"encoding": "zlib"}, {"dtype": "float32"}, {"dtype": "int64"}]
)
def test_samples_come_over_exactly(tmp_path: Path, form: str, changes: dict[str, object]):
    prepare(TfdsCorpus(stock(tmp_path / "2.1.1", form=form, **changes), name="libri"), tmp_path / "data")
    corpora = [Corpus("libri", split).open(tmp_path / "data") for split in ("train", "test")]
    assert [corpus.ids for corpus in corpora] == [["utt-0", "utt-1", "utt-2"], ["utt-3", "utt-4"]]
    assert corpora[1].speakers == ["103", "104"]
    for wave_n, (split, i) in zip(WAVES, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)], strict=True):
        np.testing.assert_array_equal(decode_audio(corpora[split].read(i), id="x"), wave_n)


def test_opening_one_says_how_to_take_it_over(tmp_path: Path):
    folder = stock(tmp_path / "librispeech" / "2.1.1")
    with pytest.raises(
        FileNotFoundError, match=rf"TFDS itself prepared {folder}: `jaxasr prepare tfds --from {folder}`"
    ):
        Corpus("librispeech", "train").open(tmp_path)


def test_the_name_is_tfds_s(tmp_path: Path):
    assert TfdsCorpus(stock(tmp_path / "2.1.1")).name == "librispeech"
    with pytest.raises(FileNotFoundError, match="needs the folder of a version"):
        TfdsCorpus(tmp_path)


def test_samples_that_are_not_16_bits_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "WAVES", [*WAVES[:4], np.array([1 << 20, 0])])
    folder = stock(tmp_path / "2.1.1", dtype="int64")
    report = prepare(TfdsCorpus(folder), tmp_path / "data", max_bad_share=0.5)
    assert report.rejects == {"undecodable": 1}


def test_a_truncated_record_file_is_refused(tmp_path: Path):
    path = stock(tmp_path / "2.1.1") / "librispeech-test.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=rf"{path.name} ends within a record"):
        prepare(TfdsCorpus(tmp_path / "2.1.1"), tmp_path / "data")


@pytest.mark.parametrize("form", ["tfrecord", "array_record"])
def test_a_missing_file_is_no_smaller_corpus(tmp_path: Path, form: str):
    folder = stock(tmp_path / "2.1.1", form=form)
    first, second = (folder / f"librispeech-train.{form}-0000{shard}-of-00002" for shard in (0, 1))
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match=rf"{second.name} has 1 records, 2 by dataset_info.json"):
        prepare(TfdsCorpus(folder), tmp_path / "data")
    second.unlink()
    with pytest.raises(FileNotFoundError, match=rf"has 1 of the 2 {form} files of its split 'train'"):
        prepare(TfdsCorpus(folder), tmp_path / "data")


def test_a_damaged_record_is_named(tmp_path: Path):
    path = stock(tmp_path / "2.1.1") / "librispeech-test.tfrecord-00000-of-00001"
    path.write_bytes(tfrecord(b"\xff" * 20) * 2)  # no tf.train.Example
    with pytest.raises(ValueError, match=rf"{path.name} record 0 is damaged"):
        prepare(TfdsCorpus(tmp_path / "2.1.1"), tmp_path / "data")


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda info, features: info.update(fileFormat="riegeli"), "holds riegeli files; array_record and tfrecord"),
        (lambda info, features: features.pop("text"), "one Audio feature and the text feature 'text'.*are speech, id"),
        (lambda info, features: features.pop("speech"), "needs one Audio feature"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, alter: Callable[..., object], message: str):
    folder = stock(tmp_path / "2.1.1")
    info, features = (json.loads((folder / f"{name}.json").read_text()) for name in ("dataset_info", "features"))
    alter(info, features["featuresDict"]["features"])
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError, match=message):
        prepare(TfdsCorpus(folder), tmp_path / "data")


@pytest.mark.parametrize("place", [0, 5, 7, 8, 12, 500, -4, -1])
def test_a_flipped_bit_of_a_record_is_found(tmp_path: Path, place: int):
    """Even the length of a record has a checksum, without which a flip asks for 2^60 bytes."""
    folder = stock(tmp_path / "2.1.1")
    path = next(folder.glob("*test.tfrecord*"))
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"test\.tfrecord.* is damaged, a record has another checksum"):
        prepare(TfdsCorpus(folder, name="libri"), tmp_path / "data")
