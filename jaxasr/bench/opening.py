"""The benchmark of opening a corpus: seconds and memory from its files to the first batch of the plan.

The corpora are invented: lengths and texts are drawn, and a record has one byte, because opening reads no audio.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr import text
from jaxasr.bench.processes import available_cores, in_subprocess, timed
from jaxasr.data.batching.buckets import ChooseBuckets
from jaxasr.data.columns.store import CACHE_FOLDER
from jaxasr.data.pipeline import Pipeline
from jaxasr.data.prepared import dataset_info
from jaxasr.data.prepared.corpus import Corpus
from jaxasr.data.prepared.writer import SHARD_BYTES, SplitWriter
from jaxasr.data.transforms import KeepSeconds, Normalize, SpeedPerturb, Tokenize

PIECES = 16_000
_WORDS = 40_000
_SMALLEST = 10_000  # utterances
_CHUNK = 10_000  # utterances drawn at once
_MODEL = "invented.model"


def bench_opening(*, utterances: int = 1_000_000, pieces: int = PIECES, out: Path | None = None) -> Iterator[str]:
    """Measures how long corpora of 10,000, 100,000 ... utterances take to open, each in processes of its own.

    Cold is the first process, which writes the columns (a corpus of less than 20,000 utterances has none), warm the second.

    Args:
        utterances: the number of the largest corpus.
        pieces: the vocabulary.
        out: the folder that the corpora are made in and stay in; None: a temporary one.
    """
    yield f"invented corpora, {pieces:,} word pieces, three speeds, 8 shapes; until the first batch of the plan is known"
    yield f"{'utterances':>11} {'index MiB':>10} {'':>5} {'seconds':>8} {'CPU s':>8} {'peak MiB':>9}"
    sizes = [size for size in (_SMALLEST * 10**i for i in range(12)) if size < utterances]
    with tempfile.TemporaryDirectory() if out is None else nullcontext(out) as folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        model = train_model(Path(folder), pieces)
        for size in [*sizes, utterances]:
            data_dir = Path(folder) / f"{size}"
            made = data_dir / "invented" / dataset_info.VERSION
            invent_corpus(made, size)
            arguments = {"data_dir": str(data_dir), "model": str(model)}
            shutil.rmtree(made / CACHE_FOLDER, ignore_errors=True)
            index_mib = dataset_info.index_path(made, "train").stat().st_size / 2**20
            for state in ("cold", "warm"):
                found = in_subprocess(f"{__name__}:{measure_opening.__name__}", arguments, cores=available_cores())
                yield (
                    f"{size:11,} {index_mib:10,.0f} {state:>5} {found['seconds']:8.2f} {found['cpu_s']:8.2f} "
                    f"{found['peak_mib']:9,.0f}"
                )


def measure_opening(data_dir: str, model: str) -> dict[str, Any]:
    """Opens an invented corpus in this process. Returns the seconds, the peak memory and the first batch."""
    path = Path(model)
    tokens = text.SentencePiece(path.name, folder=path.parent)
    pipeline = Pipeline(
        Corpus("invented", "train"),
        (Normalize("upper"), Tokenize(tokens), KeepSeconds(0.5, 24.0), SpeedPerturb()),
        ChooseBuckets(count=8, seconds_per_batch=800.0),
        shuffle_seed=1,
    )
    first: list[int] = []
    spent = timed(lambda: first.extend(pipeline.open(Path(data_dir)).plan.row(0).examples_b.tolist()))
    return {"seconds": spent.wall_s, "cpu_s": spent.cpu_s, "peak_mib": _peak_mib(), "examples": first}


def invent_corpus(folder: Path, utterances: int, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes a prepared corpus of one split, `train`, with lengths and texts that are drawn. One that is there stays."""
    if (folder / dataset_info.INFO_FILE).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    words = np.array(invented_words())

    def shard_path(number: int, shards: int) -> Path:
        return folder / f"invented-train.array_record-{number:05d}-of-{shards:05d}"

    with SplitWriter(folder, "train", shard_path, shard_bytes=shard_bytes) as writer:
        for start in range(0, utterances, _CHUNK):
            seconds = np.clip(rng.gamma(4.0, 3.0, min(_CHUNK, utterances - start)), 0.3, 30.0)
            counts = np.maximum(1, (seconds * rng.uniform(1.8, 3.4, len(seconds))).astype(int))
            ranks = (rng.uniform(0, 1, counts.sum()) ** 3 * len(words)).astype(int)  # few words are frequent
            spoken = np.split(words[ranks], np.cumsum(counts)[:-1])
            for number, (line, duration) in enumerate(zip(spoken, seconds.tolist(), strict=True), start):
                row = dataset_info.IndexRow(
                    f"speaker{number % 9973}-{number}", round(duration * 16_000), 16_000, " ".join(line),
                    f"speaker{number % 9973}", 0,
                )  # fmt: skip
                writer.add(row, b"0")
        info = writer.finish()
    dataset_info.write(folder, dataset_info.DatasetInfo("invented", {"train": info}))


def train_model(folder: Path, pieces: int) -> Path:
    """Trains word pieces on the invented words in `folder` and returns the file. One that is there stays."""
    path = folder / _MODEL
    if not path.is_file():
        text.train_sentencepiece(invented_words(), path, pieces=pieces, kind="bpe")
    return path


def invented_words() -> list[str]:
    """Returns different words of one to five syllables, the same in every process."""
    rng = np.random.default_rng(1)
    syllables = [
        f"{first}{vowel}{last}" for first in "BCDFGHJKLMNPQRSTVWXZ" for vowel in "AEIOUY" for last in ("", *"LMNRSTKP")
    ]
    drawn = ("".join(rng.choice(syllables, count)) for count in rng.integers(1, 6, 2 * _WORDS).tolist())
    return list(dict.fromkeys(drawn))[:_WORDS]


def _peak_mib() -> float:
    """Returns the largest memory of this process so far, on Linux; that of `resource` may be the parent's."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("bench opening reads the peak memory from /proc/self/status, which this system lacks; use Linux")
