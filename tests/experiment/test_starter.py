"""The first experiment file of a corpus: it loads, has the corpus's alphabet, rate and splits, and follows the hours."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxasr.cli.main import main
from jaxasr.data.prepared.contents import Contents, SplitContents
from jaxasr.data.prepared.transcripts import TranscriptSummary
from jaxasr.experiment import load
from jaxasr.experiment.starter import starter_text, write_starter
from tests.trained_run import write_tones


def contents(
    hours: dict[str, float], *, alphabet: str = " AB'", rate_hz: int = 16_000, longest_s: float = 9.0
) -> Contents:
    """Returns the statistics of a corpus."""
    transcripts = TranscriptSummary("lower")
    for char in alphabet:
        transcripts.characters[char] = 100
    transcripts.rates_hz = Counter({rate_hz: 100, 44_100: 1})
    splits = {
        name: SplitContents(300, amount, 3, 400, 4_000, np.array([1.0, longest_s])) for name, amount in hours.items()
    }
    nowhere = Path("nowhere")
    return Contents("mine", nowhere, splits, {}, nowhere, {}, nowhere, {}, nowhere, False, transcripts)


def written(found: Contents, folder: Path):
    """Returns the experiment of the file that is written."""
    write_starter(found, folder / "mine.py")
    return load(str(folder / "mine.py"), {})


@pytest.mark.parametrize(
    ("hours", "width", "steps"), [(0.01, 128, 1_000), (0.95, 128, 1_000), (20.0, 256, 9_000), (960.0, 1_024, 27_000)]
)
def test_size_and_steps_follow_the_hours(tmp_path: Path, hours: float, width: int, steps: int):
    experiment = written(contents({"train": hours, "dev": 1.0, "test": 1.0}), tmp_path)
    assert experiment.model.encoder.width == width
    assert experiment.steps == steps
    assert list(experiment.evals) == ["dev", "test"]
    assert experiment.validation.data.corpora.split == "dev"


@pytest.mark.parametrize("alphabet", [" '\"\\{}", " ÄÖÜßабв漢字", "\u0301a "])
def test_any_alphabet_survives(tmp_path: Path, alphabet: str):
    experiment = written(contents({"train": 1.0, "dev": 1.0}, alphabet=alphabet), tmp_path)
    assert experiment.train_data.transforms[-1].tokenizer.alphabet == "".join(sorted(alphabet))


def test_telephone_speech_and_long_utterances(tmp_path: Path):
    experiment = written(contents({"train": 1.0, "dev": 1.0}, rate_hz=8_000, longest_s=130.0), tmp_path)
    assert experiment.model.frontend.rate_hz == experiment.train_data.rate_hz == 8_000
    assert experiment.train_data.transforms[0].max_s == 35.0
    assert experiment.train_data.shapes.seconds_per_batch == 70.0
    assert experiment.validation.data.shapes.seconds_per_batch == 130.0


@pytest.mark.parametrize(
    ("splits", "train", "dev", "evals"),
    [
        (("train",), "train[:95%]", "train[95%:]", ["dev"]),
        (("train", "test"), "train[:95%]", "train[95%:]", ["test"]),
        (("calls",), "calls[:95%]", "calls[95%:]", ["dev"]),
        (("train-a", "train-b"), "train-a[:95%]+train-b[:95%]", "train-a[95%:]+train-b[95%:]", ["dev"]),
        (("test", "validation", "train"), "train", "validation", ["test", "dev"]),
    ],
)
def test_splits_get_their_roles(tmp_path: Path, splits: tuple[str, ...], train: str, dev: str, evals: list[str]):
    experiment = written(contents(dict.fromkeys(splits, 1.0)), tmp_path)
    assert experiment.train_data.corpora.split == train
    assert experiment.validation.data.corpora.split == dev
    assert list(experiment.evals) == evals


def test_nothing_to_train_on_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="mine has no split with audio"):
        starter_text(contents({"train": 0.0}), "mine.py")
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(FileExistsError, match=r"mine\.py exists; give another name"):
        write_starter(contents({"train": 1.0}), tmp_path / "mine.py")


def test_prepare_writes_a_file_that_show_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "tones.py"
    words = [
        "prepare",
        "manifest",
        "--from",
        str(write_tones(tmp_path / "tones")),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    assert main([*words, "--write-experiment", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"next: jaxasr train {file} --workdir runs/tones" in out
    assert "characters after the normalizer upper: " in out
    assert main(["show", str(file), "--data-dir", str(tmp_path / "data")]) == 0
    assert "seconds" in capsys.readouterr().out
    assert main([*words, "--write-experiment", str(file)]) == 1
    assert "exists; give another name" in capsys.readouterr().err
