"""The benchmark of opening a corpus, on small ones: the corpora are invented alike, and cold and warm give one plan."""

from pathlib import Path

from jaxasr.bench.opening import bench_opening, invent_corpus, measure_opening, train_model
from jaxasr.data import Corpus
from jaxasr.data.prepared import index_columns

PIECES = 500


def test_a_line_for_each_size_and_state(tmp_path: Path):
    title, head, *lines = bench_opening(utterances=300, pieces=PIECES, out=tmp_path / "made")
    assert "500 word pieces" in title
    assert head.split() == ["utterances", "index", "MiB", "seconds", "CPU", "s", "peak", "MiB"]
    assert [line.split()[::2][:2] for line in lines] == [["300", "cold"], ["300", "warm"]]
    assert all(float(number) > 0 for line in lines for number in line.replace(",", "").split()[3:])


def test_cold_and_warm_have_one_plan(tmp_path: Path, monkeypatch):
    model = train_model(tmp_path, PIECES)
    invent_corpus(tmp_path / "invented" / "1.0.0", 500)
    by_line = measure_opening(str(tmp_path), str(model))["examples"]
    monkeypatch.setattr(index_columns, "CACHED_FROM", 1)
    cold, warm = (measure_opening(str(tmp_path), str(model))["examples"] for _ in range(2))
    assert by_line == cold == warm
    assert len(set(by_line)) > 5
    assert len(list(tmp_path.glob("invented/1.0.0/.columns/tokens-*"))) == 1


def test_equal_sizes_are_equal_corpora(tmp_path: Path):
    for name in ("a", "b"):
        invent_corpus(tmp_path / name / "invented" / "1.0.0", 40)
    first, second = (Corpus("invented", "train").open(tmp_path / name) for name in ("a", "b"))
    assert first.manifest_hash == second.manifest_hash
    assert len(first) == 40
