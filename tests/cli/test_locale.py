"""Tests of the command line where the locale's encoding is not UTF-8: files, file names and output are UTF-8 all the same."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxasr.cli.main import main
from tests.data.conftest import write_manifest
from tests.processes import PROCESS_S
from tests.scale.multi_process import ROOT
from tests.trained_run import TRAIN, spoken, wav

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WORDS = "Größe Ω 漢字 🎤"


def latin_1(folder: Path) -> dict[str, str]:
    """Returns the variables of a locale in ISO 8859-1, which is made in the folder."""
    if not shutil.which("localedef"):
        pytest.skip("no localedef here, which makes a locale")
    name = "en_US.ISO-8859-1"
    made = subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / name], capture_output=True, timeout=60, check=False
    )
    if made.returncode:
        pytest.skip("no sources of locales here")
    return {"LOCPATH": str(folder), "LC_ALL": name}


def run(variables: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Runs a command as a process in a locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-m", "jaxasr", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PROCESS_S, check=False)


@pytest.mark.parametrize("locale", ["ascii", "latin_1"])
def test_prepare_reads_and_prints_utf8(locale, tmp_path):
    """The name of a recording, its transcript and the reason of a rejected row have characters of every kind."""
    variables = ASCII if locale == "ascii" else latin_1(tmp_path)
    rows = [{"id": f"{WORDS} {n}", "audio": f"{WORDS} {n}.wav", "text": WORDS, "split": "train"} for n in range(2)]
    rows.append({"id": "gone", "audio": f"{WORDS} gone.wav", "text": WORDS, "split": "train"})
    audio = {f"{WORDS} {n}.wav": wav(spoken("AB")) for n in range(2)}
    folder = write_manifest(tmp_path / "sounds", rows, audio)
    done = run(
        variables, "prepare", "manifest", "--from", folder, "--data-dir", tmp_path / "data", "name=sounds",
        "--max-bad-share", "0.5", "--normalizer", "verbatim",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"train: 2 utterances" in done.stdout
    (reject,) = (tmp_path / "data" / "sounds" / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert f"{WORDS} gone.wav" in reject


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_an_error_has_the_characters_of_its_file(encoding):
    """PYTHONIOENCODING is set as well."""
    done = run(ASCII | {"PYTHONIOENCODING": encoding}, "show", f"{WORDS}.py")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(f"jaxasr show: there is no file {WORDS}.py;".encode())


def test_bytes_of_a_name_that_are_no_utf8_end_no_command():
    done = run(ASCII, "show", os.fsdecode(b"caf\xe9.py"))
    assert done.returncode == 1
    assert b"there is no file caf\\udce9.py" in done.stderr


def test_transcripts_are_written_in_utf8_by_a_command_in_a_process(trained_run, tmp_path, monkeypatch):
    """The stream had another encoding when the command began."""
    path = shutil.copy(trained_run.wavs / "train-1.wav", tmp_path / f"{WORDS}.wav")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(trained_run.arguments("transcribe", path)) == 0
    sys.stdout.flush()
    assert written.getvalue().decode() == f"{path}\t{TRAIN[1]}\n"


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["ascii", "latin_1"])
def test_transcribe_prints_and_writes_all_files(locale, trained_run, tmp_path):
    variables = ASCII if locale == "ascii" else latin_1(tmp_path)
    paths = [shutil.copy(trained_run.wavs / f"train-{n}.wav", tmp_path / f"{WORDS} {n}.wav") for n in (1, 4)]
    done = run(variables, *trained_run.arguments("transcribe", *paths))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "".join(f"{path}\t{TRAIN[n]}\n" for path, n in zip(paths, (1, 4), strict=True))
    written = run(variables, *trained_run.arguments("transcribe", *paths), "--out", tmp_path / WORDS)
    assert written.returncode == 0, written.stderr
    assert (tmp_path / WORDS / f"{WORDS} 4.txt").read_text(encoding="utf-8") == f"{TRAIN[4]}\n"
