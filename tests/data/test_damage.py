"""Single flipped bits in prepared corpora and in archives: each raises an error, or everything read is equal.

ArrayRecord has a checksum of each record and pads its files with zeros, which nobody reads. TFDS's own descriptions
(features.json, dataset_info.json) and the reports of `prepare` are not read either.
"""

import io
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jaxasr.data import Corpus
from jaxasr.data.audio import decode_whole
from jaxasr.data.corpora.archives import members
from jaxasr.data.prepared import dataset_info

ARCHIVES = {"w:gz": "NIST", "w:bz2": "WAV", "w:xz": "WAV", "w": "FLAC"}  # and the format of their audio
UNREAD = ("features.json", "dataset_info.json", ".lock", *(f"{name}.jsonl" for name in dataset_info.LISTS))


def flips(data: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """Yields copies with one bit flipped, and its place."""
    rng = random.Random(len(data))
    for _ in range(count):
        place = rng.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        yield place, bytes(flipped)


def read_corpus(data_dir: Path) -> list[object]:
    """Returns everything that training and evaluation read."""
    found: list[object] = []
    for split in ("train", "dev", "test"):
        corpus = Corpus("tiny", split).open(data_dir)
        found.append((corpus.ids, corpus.texts, corpus.speakers, corpus.samples.tolist(), corpus.rates_hz.tolist()))
        found += [corpus.manifest_hash, *(corpus.read(i) for i in range(len(corpus)))]
    return found


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_no_flip_in_a_prepared_corpus_is_silent(tiny_corpus: Path, tmp_path: Path, count: int):
    data_dir = shutil.copytree(tiny_corpus, tmp_path / "data")
    whole = read_corpus(data_dir)
    files = [path for path in sorted(data_dir.rglob("*")) if path.is_file() and path.name not in UNREAD]
    assert len(files) == 7
    silent = []
    messages = []
    for path in files:
        data = path.read_bytes()
        for place, flipped in flips(data, count):
            path.write_bytes(flipped)
            try:
                equal = read_corpus(data_dir) == whole
                if not equal or ".array_record" not in path.name or data[place]:
                    silent.append((path.name, place))
            except ValueError as error:
                messages.append(str(error))
        path.write_bytes(data)
    assert silent == []
    assert len(messages) > 4 * count
    assert all("prepare tiny again" in message for message in messages)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_no_flip_in_an_archive_is_silent(tmp_path: Path, tone: Callable[..., bytes], kind: str, count: int):
    path = tmp_path / "x.tar"
    with tarfile.open(path, kind) as tar:
        for number in range(8):
            content = tone(0.2 + 0.1 * number, pitch_hz=300 + 50 * number, format=ARCHIVES[kind])
            header = tarfile.TarInfo(f"wav/{number}")
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))

    def read() -> list[tuple[str, bytes]]:
        found = members(path, lambda _: True)
        return [(str(name), decode_whole(content, id=str(name))[0].tobytes()) for name, content in found]

    whole = read()
    data = path.read_bytes()
    silent = []
    raised = 0
    for place, flipped in flips(data, count):
        path.write_bytes(flipped)
        try:
            if read() != whole:
                silent.append(place)
        except ValueError:
            raised += 1
    assert silent == []
    assert raised > count // 2
