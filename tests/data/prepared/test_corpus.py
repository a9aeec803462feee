"""A prepared corpus returns what was stored, and raises an error if its files differ from what was written."""

import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from jaxasr.data import Corpus, PreparedCorpus, decode_audio, example_key
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.builder import SpeechBuilder
from jaxasr.data.prepared.checks import Checks
from jaxasr.data.prepared.publish import list_paths

FOLDER = Path("tiny") / "1.0.0"
SHARD = FOLDER / "tiny-train.array_record-00000-of-00001"


@pytest.fixture
def copy(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Returns a copy of the data dir that a test may damage."""
    return shutil.copytree(tiny_corpus, tmp_path / "data")


def test_everything_comes_back(tiny_corpus: Path, tiny_folder: Path):
    train = Corpus("tiny", "train").open(tiny_corpus)
    assert len(train) == 24
    assert train.ids[3] == "train-003"
    assert train.speakers[3] == "train3"
    for i, id in enumerate(train.ids):
        audio = train.read(i)
        assert audio == (tiny_folder / f"{id}.flac").read_bytes()
        assert len(decode_audio(audio, id=id)) == train.samples[i]
    assert set(train.rates_hz.tolist()) == {16_000}


def test_tfds_itself_reads_what_we_wrote(tiny_corpus: Path):
    test = tfds.builder_from_directory(tiny_corpus / FOLDER).as_data_source("test[:50%]")
    ours = Corpus("tiny", "test").open(tiny_corpus)
    assert len(test) == 3
    assert test[0]["id"].decode() == ours.ids[0]
    assert test[0]["audio"] == ours.read(0)
    assert test[0]["crc32"] == zlib.crc32(ours.read(0))


def test_slices_are_nested_fair_samples_in_the_order_of_the_split(tiny_corpus: Path):
    whole, half, quarter, rest = (
        Corpus("tiny", split).open(tiny_corpus).ids for split in ("train", "train[:50%]", "train[:25%]", "train[50%:]")
    )
    assert (len(half), len(quarter), len(rest)) == (12, 6, 12)
    assert set(quarter) < set(half)
    assert sorted(half + rest) == whole
    assert half == sorted(half) != whole[:12]


def test_splits_add_up(tiny_corpus: Path):
    both = Corpus("tiny", "train+dev").open(tiny_corpus)
    assert len(both) == 28
    assert both.ids[-1] == "dev-003"
    assert both.read(27) == Corpus("tiny", "dev").open(tiny_corpus).read(3)


def test_a_slice_over_several_shards_reads_the_right_record(tiny_folder: Path, tmp_path: Path):
    """With shards of 20 kB every one or two utterances start a new shard."""
    builder = SpeechBuilder(
        Manifest(tiny_folder),
        recipe="",
        data_dir=tmp_path,
        checks=Checks(),
        max_bad_share=0.0,
        lists=list_paths(tmp_path, replaces=False),
        shard_bytes=20_000,
    )
    builder.download_and_prepare()
    assert len(list((tmp_path / FOLDER).glob("*train.array_record*"))) > 5
    some = Corpus("tiny", "train[25%:75%]").open(tmp_path)
    assert [some.read(i) for i in range(len(some))] == [(tiny_folder / f"{id}.flac").read_bytes() for id in some.ids]


def test_the_hash_names_the_examples_and_nothing_else(tiny_corpus: Path, copy: Path):
    def manifest_hash(data_dir: Path, split: str) -> str:
        return Corpus("tiny", split).open(data_dir).manifest_hash

    assert manifest_hash(tiny_corpus, "train") == manifest_hash(copy, "train") == manifest_hash(copy, "train[:100%]")
    hashes = {manifest_hash(copy, split) for split in ("train", "dev", "train[:50%]", "train[50%:]", "train+dev")}
    assert len(hashes) == 5
    assert all(len(digest) == 12 for digest in hashes)


def test_it_travels_into_workers_before_and_after_reading(tiny_corpus: Path):
    dev = Corpus("tiny", "dev").open(tiny_corpus)
    fresh: PreparedCorpus = pickle.loads(pickle.dumps(dev))
    assert fresh.read(2) == dev.read(2)
    used: PreparedCorpus = pickle.loads(pickle.dumps(dev))
    assert used.read(1) == fresh.read(1)
    np.testing.assert_array_equal(used.samples, dev.samples)


def test_keys_are_stable_32_bit_and_differ_by_corpus_and_id():
    assert example_key("an4", "an251-fash-b") == 3198905519
    keys = {example_key(name, f"{i}") for name in ("a", "b") for i in range(1000)}
    assert len(keys) == 2000
    assert max(keys) < 2**32
    assert example_key("ab", "c") != example_key("a", "bc")


@pytest.mark.parametrize(("name", "split"), [("Tiny", "train"), ("../tiny", "train"), ("", "train"), ("tiny", "")])
def test_names_are_checked_at_once(name: str, split: str):
    with pytest.raises(ValueError, match="corpus"):
        Corpus(name, split)


def test_not_prepared_says_what_is_there_and_what_to_do(tiny_corpus: Path):
    with pytest.raises(
        FileNotFoundError, match=r"'an4' is not prepared in .*there: tiny.*jaxasr prepare an4 --data-dir"
    ):
        Corpus("an4", "train").open(tiny_corpus)


@pytest.mark.parametrize("split", ["trian", "train[:50", "train[", "train[::2]", "train+nothing"])
def test_an_unknown_split_names_those_there_are(tiny_corpus: Path, split: str):
    with pytest.raises(ValueError, match="it has train, dev, test and slices of them"):
        Corpus("tiny", split).open(tiny_corpus)


def test_a_slice_without_an_example_is_refused(tiny_corpus: Path):
    with pytest.raises(
        ValueError, match=r"'tiny' has no example in its slice 'dev\[:10%\]': train has 24, dev has 4, test"
    ):
        Corpus("tiny", "dev[:10%]").open(tiny_corpus)


def test_a_truncated_shard_is_refused(copy: Path):
    content = (copy / SHARD).read_bytes()
    (copy / SHARD).write_bytes(content[:-100])
    with pytest.raises(ValueError, match=rf"damaged.*{SHARD.name} has {len(content) - 100} bytes.*prepare tiny again"):
        Corpus("tiny", "train").open(copy)
    assert len(Corpus("tiny", "dev").open(copy)) == 4


def test_a_missing_shard_is_refused(copy: Path):
    (copy / SHARD).unlink()
    with pytest.raises(ValueError, match=f"damaged.*{SHARD.name} is missing"):
        Corpus("tiny", "train").open(copy)


def test_altered_audio_is_refused_with_its_id(copy: Path):
    """ArrayRecord's or our checksum finds one changed bit of an utterance. The other utterances are still readable."""
    train = Corpus("tiny", "train").open(copy)
    audio = train.read(5)
    content = bytearray((copy / SHARD).read_bytes())
    content[content.index(audio[1000:1100]) + 50] ^= 1
    (copy / SHARD).write_bytes(content)
    train = Corpus("tiny", "train").open(copy)
    with pytest.raises(ValueError, match=rf"damaged.*'train-005'.*record 5 of .*{SHARD.name}.*prepare tiny again"):
        train.read(5)
    assert len(train.read(4)) > 0


def test_a_record_that_is_whole_but_another_is_refused(copy: Path, tiny_folder: Path, tone: Callable[..., bytes]):
    """Only the index shows that shards were replaced by others of the same sizes."""
    train = Corpus("tiny", "train").open(copy)
    index = copy / FOLDER / "index-train.jsonl"
    crc = zlib.crc32(train.read(7))
    content = index.read_text().replace(f'"crc32": {crc}', f'"crc32": {crc ^ 1}')
    index.write_text(content)
    with pytest.raises(ValueError, match=r"index-train.jsonl is not what was written"):
        Corpus("tiny", "train").open(copy)
    broken = PreparedCorpus(**{**vars(train), "_crc32_b": np.zeros(len(train), np.uint32)})
    with pytest.raises(ValueError, match=rf"'train-007'.*has checksum {crc:08x}, 00000000 was written"):
        broken.read(7)


@pytest.mark.parametrize("content", ["", "{}", '{"format": 99}', '{"format": 1, "recipe": "", "splits": {"a": {}}}'])
def test_a_dataset_info_that_cannot_be_understood_is_refused(copy: Path, content: str):
    (copy / FOLDER / "prepared.json").write_text(content)
    with pytest.raises(ValueError, match=r"prepared.json cannot be used.*prepare tiny again"):
        Corpus("tiny", "train").open(copy)


def test_a_shortened_index_is_refused(copy: Path):
    index = copy / FOLDER / "index-dev.jsonl"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"index-dev.jsonl is not what was written"):
        Corpus("tiny", "dev").open(copy)
    index.write_text("{")
    with pytest.raises(ValueError, match=r"index-dev.jsonl cannot be read"):
        Corpus("tiny", "dev").open(copy)
