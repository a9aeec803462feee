"""A corpus that is opened from mapped columns has the examples, plans and errors of one that is read line by line."""

import dataclasses
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxasr import text
from jaxasr.data import (
    Buckets,
    ChooseBuckets,
    ChooseTokenBuckets,
    Corpus,
    KeepSeconds,
    KeepShare,
    KeepTokens,
    MapWords,
    Normalize,
    Pipeline,
    SpeedPerturb,
    Tokenize,
)
from jaxasr.data.bound_pipeline import BoundPipeline
from jaxasr.data.columns.strings import ChainedStrings, Strings
from jaxasr.data.prepared import index_columns, transcript_columns

LETTERS = text.Characters(" ACEGHLNOPRSTY")  # without the I of "I" and the K
WORDS = (("HELP", ""), ("STOP", "KILO"))
TRANSFORMS = (
    Normalize("upper"),
    KeepSeconds(0.5, 2.4),
    MapWords(WORDS),
    Tokenize(LETTERS),
    KeepTokens(14),
    SpeedPerturb(),
    KeepShare(0.8, 3),
)
SHAPES = ChooseBuckets(count=3, seconds_per_batch=8.0)
PIPELINES = {
    "one split": Pipeline(Corpus("tiny", "train"), TRANSFORMS, SHAPES, shuffle_seed=1),
    "a slice": Pipeline(Corpus("tiny", "train[25%:75%]"), TRANSFORMS, SHAPES, shuffle_seed=2),
    "splits": Pipeline(Corpus("tiny", "train+dev[:50%]"), TRANSFORMS, SHAPES, shuffle_seed=2),
    "weighted": Pipeline(
        ((Corpus("tiny", "dev"), 1.5), (Corpus("tiny", "train"), 1.0), (Corpus("tiny", "test"), 2.0)),
        TRANSFORMS, Buckets((1.0, 3.0), 40, 9.0), shuffle_seed=3,
    ),
    "texts alone": Pipeline(
        Corpus("tiny", "train"), (MapWords(WORDS), Tokenize(LETTERS)), ChooseTokenBuckets(2, 80), shuffle_seed=4
    ),
}  # fmt: skip


@pytest.fixture
def copy(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Returns a copy of the data dir that a test may change."""
    return shutil.copytree(tiny_corpus, tmp_path / "data")


@pytest.fixture
def cache_all(monkeypatch) -> Callable[[], None]:
    """Returns a function from whose call on corpora of every size are cached."""
    return lambda: monkeypatch.setattr(index_columns, "CACHED_FROM", 1)


def plan_of(opened: BoundPipeline) -> list[object]:
    rows = [opened.plan.row(step) for step in range(2 * len(opened.plan.epoch(0)))]
    rows += [opened.eval_plan.row(batch) for batch in range(len(opened.eval_plan))]
    return [[getattr(row, field.name) for field in dataclasses.fields(row)] for row in rows]


def check_equal(ours: BoundPipeline, theirs: BoundPipeline) -> None:
    np.testing.assert_equal(plan_of(ours), plan_of(theirs))
    assert ours.hash == theirs.hash
    assert ours.shapes == theirs.shapes
    assert ours.skipped == theirs.skipped
    assert ours.describe() == theirs.describe()
    assert ours.examples.filtered == theirs.examples.filtered
    assert ours.examples.speeds == theirs.examples.speeds
    for name in ("ids", "speakers"):
        assert list(getattr(ours, name)) == list(getattr(theirs, name))
    assert list(ours.examples.texts) == list(theirs.examples.texts)
    for name in ("flat", "starts"):
        np.testing.assert_array_equal(getattr(ours.examples.tokens, name), getattr(theirs.examples.tokens, name))
    for mine, yours in zip(ours.sources, theirs.sources, strict=True):
        np.testing.assert_array_equal(mine.keys, yours.keys)
        assert mine.manifest_hash == yours.manifest_hash
        assert [mine.read(i) for i in range(len(mine))] == [yours.read(i) for i in range(len(yours))]


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_changes(copy: Path, cache_all, name: str):
    by_line = PIPELINES[name].open(copy)
    assert isinstance(by_line.sources[0].ids, list)
    assert by_line.examples.filtered
    cache_all()
    for _ in range(2):  # cold and warm
        cached = PIPELINES[name].open(copy)
        assert isinstance(cached.ids, Strings | ChainedStrings)
        check_equal(cached, by_line)


def test_batches_are_those_of_the_corpus_without_a_cache(copy: Path, cache_all):
    pipeline = PIPELINES["weighted"]

    def first_batches(opened: BoundPipeline) -> list[object]:
        with opened.batches(0, workers=0, stop_step=4) as batches, opened.eval_batches() as evals:
            trained = [dataclasses.astuple(batch) for _, _, batch in batches]
            return [*trained, *((e.ids, e.texts, e.speakers, dataclasses.astuple(e.batch)) for e in evals)]

    by_line = first_batches(pipeline.open(copy))
    cache_all()
    np.testing.assert_equal(first_batches(pipeline.open(copy)), by_line)


def test_tokens_are_made_once_for_each_vocabulary(copy: Path, cache_all, monkeypatch, capsys):
    cache_all()
    pipeline = PIPELINES["one split"]
    ours = pipeline.open(copy)
    assert ours.examples.tokens is not None
    monkeypatch.setattr(transcript_columns, "_apply", lambda *_: pytest.fail("it is applied again"))
    check_equal(pipeline.open(copy), ours)
    other = dataclasses.replace(pipeline, transforms=(Tokenize(text.Characters(LETTERS.alphabet + "I")),))
    with pytest.raises(pytest.fail.Exception, match="applied again"):
        _ = other.open(copy).examples
    assert not capsys.readouterr().err


def test_tokens_of_other_code_are_stale(copy: Path, cache_all, monkeypatch, capsys):
    cache_all()
    pipeline = PIPELINES["one split"]
    ours = pipeline.open(copy)
    assert ours.examples.tokens is not None
    monkeypatch.setattr(transcript_columns, "code_digest", lambda: "of another version")
    check_equal(pipeline.open(copy), ours)
    assert "is made again: it was made of another corpus, vocabulary or version" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Reverse:
    """A transform that an experiment defines."""

    def apply(self, table):
        """Reverses the texts."""
        return dataclasses.replace(table, texts=[line[::-1] for line in table.texts])


def test_transforms_of_an_experiment_are_applied_each_time(copy: Path, cache_all):
    pipeline = dataclasses.replace(PIPELINES["texts alone"], transforms=(Reverse(), Tokenize(LETTERS)))
    by_line = pipeline.open(copy)
    cache_all()
    check_equal(pipeline.open(copy), by_line)
    assert [path.name for path in copy.glob("*/*/.columns/tokens-*")] == []


def test_a_source_travels_into_workers_without_its_texts(copy: Path, cache_all):
    cache_all()
    source = Corpus("tiny", "train").open(copy)
    travelled = pickle.loads(pickle.dumps(source))
    assert list(travelled.ids) == list(source.ids)
    assert travelled.read(3) == source.read(3)


def test_an_altered_index_is_refused_and_a_copied_one_is_not(copy: Path, cache_all, tmp_path: Path):
    cache_all()
    Corpus("tiny", "train").open(copy)
    moved = shutil.copytree(copy, tmp_path / "moved", copy_function=shutil.copyfile)
    assert len(Corpus("tiny", "train").open(moved)) == 24
    index = copy / "tiny" / "1.0.0" / "index-train.jsonl"
    index.write_text(index.read_text().replace("YES", "NOO", 1))
    with pytest.raises(ValueError, match=r"index-train.jsonl is not what was written"):
        Corpus("tiny", "train").open(copy)
