"""`jaxasr prepare --markup`: a corpus with markup is refused with a list, dropped, kept or mapped."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxasr.cli.main import main
from jaxasr.data import Corpus, MarkupPolicy
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare

TEXTS = ["[noise] YES", "IT 'S <unk>", "YES [noise] %uh", "PLAIN  WORDS"]


@pytest.fixture
def folder(tmp_path: Path, tone: Callable[..., bytes], write_manifest: Callable[..., Path]) -> Path:
    """Returns a corpus with these texts."""
    rows = [{"id": f"{n}", "audio": "a.flac", "text": text, "split": "train"} for n, text in enumerate(TEXTS)]
    return write_manifest(tmp_path / "from" / "marked", rows, {"a.flac": tone(1.0)})


def texts(data_dir: Path) -> list[str]:
    """Returns the prepared transcripts."""
    return Corpus("marked", "train").open(data_dir).texts


def test_a_corpus_with_markup_is_refused_and_all_of_it_listed(folder: Path, tmp_path: Path):
    with pytest.raises(
        ValueError, match=r"3 units .*: \[noise\] 2 x, <unk> 1 x, %uh 1 x\. .*--markup drop .*keep.*map"
    ):
        prepare(Manifest(folder), tmp_path)
    assert not (tmp_path / "marked" / "1.0.0").exists()
    listed = [json.loads(line) for line in (tmp_path / "marked" / "markup.jsonl").read_text().splitlines()]
    assert listed[0] == {"unit": "[noise]", "kind": "bracketed", "count": 2, "text": "[noise]"}


def test_markup_is_dropped_and_counted(folder: Path, tmp_path: Path):
    report = prepare(Manifest(folder), tmp_path, markup=MarkupPolicy("drop"))
    assert texts(tmp_path) == ["YES", "IT 'S", "YES", "PLAIN  WORDS"]
    assert report.markup == {"[noise]": 2, "<unk>": 1, "%uh": 1}
    assert "markup in the transcripts: [noise] 2 x, <unk> 1 x, %uh 1 x; " in "\n".join(report.lines())
    with pytest.raises(ValueError, match=r"was prepared as `Manifest .* --markup drop`, which is not"):
        prepare(Manifest(folder), tmp_path)


def test_markup_is_kept_under_the_same_recipe(folder: Path, tmp_path: Path):
    prepare(Manifest(folder), tmp_path, markup=MarkupPolicy("keep"))
    assert texts(tmp_path) == TEXTS
    assert prepare(Manifest(folder), tmp_path).already_prepared


def test_markup_is_mapped_and_every_unit_needs_a_line(folder: Path, tmp_path: Path):
    file = tmp_path / "map.tsv"
    file.write_text("[noise]\t\nkind:marked\t*\n")
    options = ["prepare", "manifest", "--from", str(folder), "--data-dir", str(tmp_path), "--markup", "map", str(file)]
    with pytest.raises(ValueError, match=r"1 units .*: <unk> 1 x"):
        prepare(Manifest(folder), tmp_path, markup=MarkupPolicy.from_words(["map", str(file)]))
    file.write_text("[noise]\t\nkind:marked\t*\n<unk>\tUNKNOWN\nWORDS\tSPEECH\n")
    assert main([*options, "name=marked"]) == 0
    assert texts(tmp_path) == ["YES", "IT 'S UNKNOWN", "YES uh", "PLAIN SPEECH"]


def test_the_list_of_a_refusal_is_a_map(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="look like markup"):
        prepare(Manifest(folder), tmp_path)
    file = tmp_path / "edited.jsonl"
    file.write_text((tmp_path / "marked" / "markup.jsonl").read_text().replace('"text": "<unk>"', '"text": "ONE"'))
    prepare(Manifest(folder), tmp_path, markup=MarkupPolicy.from_words(["map", str(file)]))
    assert texts(tmp_path) == ["[noise] YES", "IT 'S ONE", "YES [noise] %uh", "PLAIN  WORDS"]


def test_names_of_punctuation_are_markup_where_many_rows_have_some(tmp_path: Path):
    few, many, dropped = MarkupPolicy(), MarkupPolicy(), MarkupPolicy("drop")
    for number in range(100):
        few.apply("IN THIS PERIOD" if number < 4 else "YES")
        many.apply("YES COMMA NO PERIOD" if number < 6 else "YES")
        assert dropped.apply("YES PERIOD") == "YES PERIOD"
    few.check(tmp_path / "few")
    assert not (tmp_path / "few").exists()
    with pytest.raises(ValueError, match="COMMA 6 x, PERIOD 6 x"):
        many.check(tmp_path / "many")
    with pytest.raises(ValueError, match="PERIOD 100 x"):
        dropped.check(tmp_path / "dropped")
    mapped = MarkupPolicy("map", {"PERIOD": ""})
    assert mapped.apply("YES PERIOD") == "YES"
    mapped.check(tmp_path / "mapped")


@pytest.mark.parametrize("words", [["throw"], ["map"], ["drop", "file"], []])
def test_other_words_are_no_policy(words: list[str]):
    with pytest.raises(ValueError, match="drop, keep or map FILE is needed"):
        MarkupPolicy.from_words(words)
