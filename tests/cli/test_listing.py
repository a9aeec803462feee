"""`jaxasr list`, `--version`, the options of corpora in the help, and readers that close the output."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from jaxasr.cli.main import main
from tests.processes import PROCESS_S
from tests.trained_run import write_tones


def test_corpora_and_runs_are_listed_with_their_best_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = ["--data-dir", str(tmp_path / "data")]
    assert main(["list", *data, "--runs", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out.count("none; `jaxasr") == 2
    assert main(["prepare", "manifest", "--from", str(write_tones(tmp_path / "tones")), *data]) == 0
    run = tmp_path / "runs" / "sweep" / "a"
    (run / "checkpoints" / "300").mkdir(parents=True)
    (run / "experiment.txt").write_text("seed = 0\n")
    rows = [{"split": "test", "wer": wer, "cer": wer / 2} for wer in (0.3, 0.1, 0.2)] + [
        {"split": "lm", "perplexity": 7.5}
    ]
    (run / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "runs" / "b").mkdir()
    (tmp_path / "runs" / "b" / "experiment.txt").write_text("seed = 0\n")
    capsys.readouterr()
    assert main(["list", *data, "--runs", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "  tones: train " in printed
    assert f"  {run}: step 300\n    test: WER 10.00%, CER 5.00%\n    lm: perplexity 7.50\n" in printed
    assert f"  {tmp_path / 'runs' / 'b'}: no checkpoint\n" in printed


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"jaxasr {version('jaxasr')}\n"


def test_the_help_of_prepare_has_the_options_of_each_corpus(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["prepare", "manifest", "--help"])
    printed = capsys.readouterr().out
    assert "--write-experiment FILE.py" in printed
    assert (
        "manifest: A folder with a corpus, or a file of it.\n    name=... split_column=split split=... audio_column="
        in printed
    )
    assert "spoken: " in printed
    assert "train=2000 dev=100 test=150 seed=0" in printed


@pytest.mark.parametrize(("words", "unbuffered"), [("list", ""), ("list", "1"), ("--help", "")])
def test_a_closed_output_ends_quietly(tmp_path: Path, words: str, unbuffered: str):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAXASR_DATA": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [sys.executable, "-m", "jaxasr", words],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=PROCESS_S,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr.decode()) == (141, "")
