"""The report of a split: its amount, resampled files, and texts that cannot be encoded, with their ids."""

from pathlib import Path

import pytest

from jaxasr import data, text
from jaxasr.experiment.data_report import describe_split
from tests.trained_run import write_tones


def pipeline(alphabet: str, split: str = "test", rate_hz: int = 8_000) -> data.Pipeline:
    """Returns a pipeline on the tones."""
    transforms = (data.Normalize("upper"), data.Tokenize(text.Characters(alphabet)))
    return data.Pipeline(data.Corpus("tones", split), transforms, data.ChooseBuckets(1, 60.0), 0, rate_hz)


def test_a_split_is_described_and_its_faults_are_named(tmp_path: Path):
    data.prepare(data.source("manifest", write_tones(tmp_path / "tones"), {}), tmp_path / "data")
    whole = data.Corpus("tones", "test").open(tmp_path / "data")
    alphabet = "".join(sorted(set(" ".join(whole.texts))))
    rate_hz = int(whole.rates_hz[0])
    (line,) = describe_split("evals.test.data", pipeline(alphabet, rate_hz=rate_hz), tmp_path / "data")
    assert line.startswith(f"evals.test.data: {len(whole)} utterances, 0.0")
    (line,) = describe_split("evals.test.data", pipeline(alphabet, rate_hz=2 * rate_hz), tmp_path / "data")
    assert f"; resampled to {2 * rate_hz:,} Hz: {len(whole)} from {rate_hz:,} Hz" in line
    missing = max(alphabet.strip(), key=lambda char: sum(char not in row for row in whole.texts))
    count = sum(missing in row for row in whole.texts)
    _, line = describe_split("x", pipeline(alphabet.replace(missing, ""), rate_hz=rate_hz), tmp_path / "data")
    assert line.startswith(f"  {count} (text cannot be encoded): test-")
    with pytest.raises(ValueError, match="no text can be encoded, the first is test-0 "):
        list(describe_split("x", pipeline("é"), tmp_path / "data"))
    with pytest.raises(ValueError, match="has no split 'gone'"):
        list(describe_split("x", pipeline("A", "gone"), tmp_path / "data"))
