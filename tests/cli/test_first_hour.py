"""A corpus of somebody's own to a word error rate, by three commands and without a file written by hand."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import soxr

from jaxasr import data
from jaxasr.cli.main import main
from jaxasr.data.corpora.phrases import DIGITS
from tests.compilation import QUICK_FLAGS

RATE_HZ = 8_000
NAMES = {"train": "train", "dev": "validation", "test": "test"}  # the usual ones of NeMo's recipes
COMMAND_S = 3_000.0


def write_nemo_digits(folder: Path, data_dir: Path) -> None:
    """Writes the digit strings of the corpus `spoken` as telephone speech with a NeMo manifest for each split."""
    for split, name in NAMES.items():
        corpus = data.Corpus("spoken", split).open(data_dir)
        rows = []
        for number in range(len(corpus)):
            if not set(corpus.texts[number].split()) <= set(DIGITS):
                continue
            samples, rate_hz = soundfile.read(io.BytesIO(corpus.read(number)))
            path = folder / name / f"{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soxr.resample(samples, rate_hz, RATE_HZ), RATE_HZ, subtype="PCM_16")
            row = {"audio_filepath": str(path.relative_to(folder)), "duration": soundfile.info(path).duration}
            rows.append(row | {"text": corpus.texts[number].lower(), "speaker": corpus.speakers[number]})
        (folder / f"{name}_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_nemo_manifests_of_digits_come_to_a_word_error_rate_by_three_commands(tmp_path: Path):
    """The figures of the README: 752 utterances of training, WER 0.43 %, 31 speakers that training has not."""
    assert main(["prepare", "spoken", "--data-dir", str(tmp_path / "spoken")]) == 0
    write_nemo_digits(tmp_path / "my_speech", tmp_path / "spoken")
    commands = (
        "prepare manifest --from my_speech name=mine --write-experiment mine.py",
        "train mine.py --workdir runs/mine",
        "score runs/mine/hypotheses.test.jsonl",
    )
    variables = {"JAXASR_DATA": str(tmp_path / "data"), "XLA_FLAGS": QUICK_FLAGS, "JAX_PLATFORMS": "cpu"}
    printed = ""
    for command in commands:
        ran = subprocess.run(
            [sys.executable, "-m", "jaxasr", *command.split()],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert ran.returncode == 0, ran.stderr
        printed += ran.stdout
    assert "is read as a NeMo manifest" in printed
    assert "train: 752 utterances, 0.38 h" in printed
    assert "next: jaxasr train mine.py --workdir runs/mine" in printed
    rows = [json.loads(line) for line in (tmp_path / "runs/mine/results.jsonl").read_text().splitlines()]
    [row] = [row for row in rows if row["split"] == "test"]
    assert row["wer"] < 0.03
    assert f"WER {100 * row['wer']:.2f}%" in " ".join(printed.split())
