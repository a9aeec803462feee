"""From prepared corpora to batches: the content, the order, and what is left out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from jaxasr import text, tree
from jaxasr.data import (
    BoundPipeline,
    Buckets,
    ChooseBuckets,
    Corpus,
    KeepSeconds,
    KeepTokens,
    Normalize,
    Pipeline,
    SpeedPerturb,
    Tokenize,
    decode_audio,
    example_key,
)
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare
from jaxasr.records import Batch

LETTERS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SHAPES = ChooseBuckets(count=3, seconds_per_batch=8.0, examples_multiple=2)
TINY = Pipeline(Corpus("tiny", "train"), (Normalize("upper"), Tokenize(LETTERS)), SHAPES, shuffle_seed=1)
SPEEDY = dataclasses.replace(TINY, transforms=(*TINY.transforms, SpeedPerturb((0.9, 1.0, 1.1))))


def read(opened: BoundPipeline, start: int, stop: int, **how: int) -> list[Batch]:
    with opened.batches(start, stop_step=stop, **how) as batches:
        read = [(step, row, batch) for step, row, batch in batches]
    assert [step for step, _, _ in read] == [row.step for _, row, _ in read] == list(range(start, stop))
    return [batch for _, _, batch in read]


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        for field in dataclasses.fields(Batch):
            left = getattr(a, field.name)
            right = getattr(b, field.name)
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right, err_msg=field.name)


def test_a_batch_holds_what_the_plan_names(tiny_corpus: Path):
    opened = TINY.open(tiny_corpus)
    source = opened.sources[0]
    stop = opened.plan.first_step(1)
    seen = []
    with opened.batches(0, stop_step=stop) as batches:
        for _, row, batch in batches:
            assert batch.wave_bn.shape == (row.shape.examples, row.shape.samples)
            assert batch.tokens_bu.shape == (row.shape.examples, row.shape.tokens)
            assert batch.wave_bn.dtype == np.int16
            for b, example in enumerate(row.examples_b.tolist()):
                samples = int(batch.sample_lengths_b[b])
                tokens = int(batch.token_lengths_b[b])
                assert not batch.wave_bn[b, samples:].any()
                assert not batch.tokens_bu[b, tokens:].any()
                assert batch.valid_b[b] == (example >= 0)
                if example < 0:
                    assert (samples, tokens, batch.ids_b[b]) == (0, 0, 0)
                    continue
                seen.append(example)
                np.testing.assert_array_equal(
                    batch.wave_bn[b, :samples], decode_audio(source.read(example), id="", rate_hz=16_000)
                )
                assert LETTERS.decode(batch.tokens_bu[b, :tokens]) == source.texts[example]
                assert batch.ids_b[b] == example_key("tiny", source.ids[example])
        audio_s = batches.audio_s
    assert sorted(seen) == list(range(24))
    assert audio_s == pytest.approx(source.samples.sum() / 16_000)


def test_any_step_and_any_number_of_workers_give_the_same(tiny_corpus: Path):
    opened = SPEEDY.open(tiny_corpus)
    whole = read(opened, 0, 14)
    assert_equal(read(opened, 5, 14), whole[5:])
    assert_equal(read(SPEEDY.open(tiny_corpus), 3, 14, workers=2), whole[3:])


def test_hosts_share_the_batch(tiny_corpus: Path):
    opened = SPEEDY.open(tiny_corpus)
    whole = read(opened, 0, 4)
    parts = [read(opened, 0, 4, host=host, hosts=2) for host in range(2)]
    joined = [
        Batch(*(np.concatenate([getattr(half, field.name) for half in halves]) for field in dataclasses.fields(Batch)))
        for halves in zip(*parts, strict=True)
    ]
    assert_equal(joined, whole)
    with pytest.raises(ValueError, match="split over 5 hosts"):
        opened.batches(0, hosts=5)
    with pytest.raises(ValueError, match="host 2 of 2"):
        opened.batches(0, host=2, hosts=2)


def test_speeds_are_played_as_planned_at_every_rate(
    tmp_path: Path, write_manifest: Callable[..., Path], tone: Callable[..., bytes]
):
    rates = (8_000, 16_000, 22_050, 48_000)
    rows = [{"id": f"r{rate}", "audio": f"{rate}.wav", "text": "GO", "split": "train"} for rate in rates]
    audio = {f"{rate}.wav": tone(0.4003, rate_hz=rate, format="WAV") for rate in rates}
    prepare(Manifest(write_manifest(tmp_path / "rates", rows, audio)), tmp_path)
    opened = dataclasses.replace(SPEEDY, corpora=Corpus("rates", "train")).open(tmp_path)
    played = set()
    keys = set()
    with opened.batches(0, stop_step=12) as batches:
        for _, row, batch in batches:
            for b in np.flatnonzero(row.valid_b):
                rate = rates[row.examples_b[b]]
                factor = (0.9, 1.0, 1.1)[row.speeds_b[b]]
                wave_n = decode_audio(opened.read(int(row.examples_b[b])), id="", rate_hz=rate)
                expected_n = soxr.resample(wave_n, round(rate * factor * 1000), 16_000_000)
                assert batch.sample_lengths_b[b] == len(expected_n)
                np.testing.assert_array_equal(batch.wave_bn[b, : len(expected_n)], expected_n)
                played.add((rate, factor))
                keys.add(int(batch.ids_b[b]))
    assert len(played) == len(keys), "an example has another key at every speed"
    assert len(played) > 6


def test_corpora_are_mixed_by_weight(tiny_corpus: Path):
    mixed = dataclasses.replace(TINY, corpora=((Corpus("tiny", "train"), 1), (Corpus("tiny", "dev"), 2.5)))
    opened = mixed.open(tiny_corpus)
    counts = np.zeros(28, np.int64)
    for epoch in range(2):
        np.add.at(counts, opened.plan.epoch(epoch).examples, 1)
    assert counts.tolist() == [2] * 24 + [5] * 4
    (_, row, batch), *_ = opened.batches(0, stop_step=1)
    names = ["train"] * 24 + ["dev"] * 4
    for b in np.flatnonzero(row.valid_b):
        example = int(row.examples_b[b])
        assert opened.ids[example].startswith(names[example])
        assert batch.ids_b[b] == example_key("tiny", opened.ids[example])
    assert opened.hash not in (TINY.open(tiny_corpus).hash, "")
    assert len(opened.hash) == len(TINY.open(tiny_corpus).hash) == 12


def test_what_is_left_out_is_named_and_counted(
    tmp_path: Path, write_manifest: Callable[..., Path], tone: Callable[..., bytes]
):
    texts = {"good": "GO", "short": "GO", "long": "GO", "wordy": "GO GO GO GO", "odd": "GÖ", "deep": "NO NO"}
    seconds = {"short": 0.2, "long": 3.0, "deep": 2.4}
    rows = [{"id": id, "audio": f"{id}.flac", "text": said, "split": "train"} for id, said in texts.items()]
    audio = {f"{id}.flac": tone(seconds.get(id, 1.0)) for id in texts}
    prepare(Manifest(write_manifest(tmp_path / "bad", rows, audio)), tmp_path)
    pipeline = Pipeline(
        Corpus("bad", "train"),
        (Normalize("upper"), Tokenize(LETTERS), KeepSeconds(0.5, 2.5), KeepTokens(9)),
        Buckets(seconds=(1.0, 2.0), tokens=20, seconds_per_batch=4.0),
        shuffle_seed=0,
    )
    opened = pipeline.open(tmp_path)
    assert {example.id: example.reason for example in opened.skipped} == {
        "short": "shorter than 0.5 s",
        "long": "longer than 2.5 s",
        "wordy": "more than 9 tokens",
        "odd": "text cannot be encoded",
        "deep": "fits no shape at any speed",
    }
    details = {example.id: example.detail for example in opened.skipped}
    assert details["short"] == "0.200 s"
    assert "'Ö'" in details["odd"]
    assert details["deep"] == "2.400 s, 5 tokens"
    assert opened.skipped_counts["more than 9 tokens"] == 1
    assert set(opened.plan.epoch(0).examples.tolist()) == {0}
    assert opened.train_hours == 1.0 / 3600
    assert "left out: 1 (fits no shape at any speed)" in opened.describe()
    every = [id for part in opened.eval_batches() for id in part.ids]
    assert sorted(every) == sorted(texts), "an evaluation leaves nothing out"
    nothing = dataclasses.replace(pipeline, transforms=(Tokenize(LETTERS), KeepSeconds(5.0, 6.0)))
    with pytest.raises(ValueError, match=r"no example is left to train on; left out: 5 \(shorter than 5 s\)"):
        _ = nothing.open(tmp_path).plan


def test_once_gives_ids_references_and_speakers(tiny_corpus: Path):
    spoken = dataclasses.replace(SPEEDY, corpora=Corpus("tiny", "test"))
    opened = spoken.open(tiny_corpus)
    source = opened.sources[0]
    for hosts in (1, 2):
        found = set()
        for parts in zip(*(opened.eval_batches(host=host, hosts=hosts) for host in range(hosts)), strict=True):
            part = parts[0]
            batches = [part.batch for part in parts]
            valid_b, samples_b, lengths_b = (
                np.concatenate([getattr(batch, name) for batch in batches])
                for name in ("valid_b", "sample_lengths_b", "token_lengths_b")
            )
            tokens_bu = np.concatenate([batch.tokens_bu for batch in batches])
            assert all(other.ids == part.ids for other in parts), "every host knows the names of all rows"
            assert len(part.ids) == valid_b.sum()
            assert valid_b[: len(part.ids)].all()
            assert part.sample_lengths == tuple(samples_b[: len(part.ids)])
            for b, id in enumerate(part.ids):
                place = source.ids.index(id)
                assert samples_b[b] == source.samples[place], "at its own speed"
                assert part.texts[b] == source.texts[place]
                assert part.speakers[b] == source.speakers[place]
                assert LETTERS.decode(tokens_bu[b, : lengths_b[b]]) == part.texts[b]
                assert id not in found
                found.add(id)
        assert sorted(found) == sorted(source.ids)


def test_audio_that_is_not_as_prepared_is_refused_by_name(tiny_corpus: Path):
    opened = TINY.open(tiny_corpus)
    source = opened.sources[0]
    altered = dataclasses.replace(source, samples=source.samples - (np.arange(24) == 7))
    broken = dataclasses.replace(opened, sources=(altered,))
    with (
        broken.batches(0, stop_step=broken.plan.first_step(1)) as batches,
        pytest.raises(ValueError, match=r"damaged: 'train-007' of tiny train has \d+ samples.*should have"),
    ):
        list(batches)


def test_the_table_is_for_people(tiny_corpus: Path):
    lines = TINY.open(tiny_corpus).describe().splitlines()
    assert lines[0].split() == ["seconds", "tokens", "examples", "utterances", "padding", "of", "tokens"]
    assert len(lines) == 6
    assert lines[4].split()[0] == "all"
    assert lines[5].startswith("epoch 0: ")


def test_a_pipeline_is_a_value_without_places():
    assert dataclasses.replace(TINY) == TINY
    assert hash(TINY) == hash(dataclasses.replace(TINY))
    flat = tree.flatten(TINY)
    assert flat["shapes.count"] == 3
    assert flat["corpora.name"] == "tiny"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpora": ()}, "corpora is empty"),
        ({"corpora": ((Corpus("tiny", "train"), 0.0),)}, "weight 0.0"),
        ({"corpora": ((Corpus("tiny", "train"), float("inf")),)}, "weight inf"),
        ({"transforms": (Normalize("upper"),)}, "exactly one Tokenize"),
        ({"rate_hz": 0}, "rate_hz 0"),
    ],
)
def test_mistakes_are_named_at_construction(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_a_negative_step_is_refused(tiny_corpus: Path):
    with pytest.raises(ValueError, match="start_step -1"):
        TINY.open(tiny_corpus).batches(-1)


def test_a_corpus_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="'tiny' is not prepared"):
        TINY.open(tmp_path)
