"""An exported folder transcribes in a process that has jax alone."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from jaxasr import decode, tree
from jaxasr.cli.main import main
from jaxasr.experiment import load
from jaxasr.huggingface import import_run
from jaxasr.stablehlo import ProgramOptions, export_programs, folder
from tests import tiny_experiments as tiny
from tests import tiny_lm, tiny_whisper
from tests.processes import PROCESS_S

with_flatbuffers = pytest.mark.skipif(
    find_spec("flatbuffers") is None, reason="the extra export is optional; the extra dev has it"
)
# runs a program in a process where neither this package nor Flax can be imported
ALONE = """
import runpy, sys
sys.modules.update(dict.fromkeys(("jaxasr", "flax")))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name='__main__')
"""
STEPS = """
import json, sys
from pathlib import Path
import jax.export, numpy as np

folder = Path(sys.argv[1])
load = lambda name: jax.export.deserialize(bytearray((folder / f"{name}.jax_export").read_bytes()))
params = dict(np.load(folder / "params.npz"))
given = np.load(sys.argv[2])
waves = (given["wave_bn"], given["sample_lengths_b"])
encoded = load("encode").call(params, *waves)
step, state, tokens_b = load("step"), encoded["state"], np.zeros(len(waves[0]), np.int32)
written = []
for _ in range(12):
    found = step.call(params, encoded["memory"], state, tokens_b)
    state = found["state"]
    tokens_b = np.argmax(found["log_probs_bv"], 1).astype(np.int32)
    written.append(tokens_b.tolist())
rows = [list(row) + [0] for row in zip(*written)]
print(json.dumps([row[: row.index(0)] for row in rows]))
print(json.dumps(np.asarray(encoded["ctc_log_probs_bsv"]).shape))
"""


def alone(*arguments):
    """Returns the output of a program that has neither this package nor Flax."""
    run = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        cwd="/",
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    """The folder of a LAS with CTC, exported by the command line."""
    out = tmp_path_factory.mktemp("exported") / "las"
    arguments = ["--workdir", str(trained_run.workdir), "--to", "stablehlo", "--search", "greedy", "--out", str(out)]
    assert main(["export", tiny.__file__, *arguments, "--platforms", "cpu,cuda"]) == 0
    return out


@with_flatbuffers
def test_the_example_writes_the_texts_of_the_run(trained_run, exported):
    """Three files of different lengths at once."""
    assert len((exported / "transcribe.py").read_text().splitlines()) <= 30
    files = [trained_run.wavs / f"test-{i}.wav" for i in range(3)]
    rows = map(json.loads, (trained_run.workdir / "hypotheses.test.jsonl").read_text().splitlines())
    texts = {row["id"]: row["hypothesis"] for row in rows if "id" in row}
    want = [f"{file}: {texts[file.stem]}" for file in files]
    assert alone(exported / "transcribe.py", *files).splitlines() == want


@with_flatbuffers
def test_encoder_and_step_write_the_same_tokens(trained_run, exported, tmp_path):
    manifest = json.loads((exported / "manifest.json").read_text())
    waves = [soundfile.read(trained_run.wavs / f"test-{i}.wav", dtype="int16")[0] for i in range(3)]
    wave_bn = np.zeros((3, manifest["samples"]), np.int16)
    for row, wave_n in enumerate(waves):
        wave_bn[row, : len(wave_n)] = wave_n
    np.savez(tmp_path / "given.npz", wave_bn=wave_bn, sample_lengths_b=np.array([*map(len, waves)], np.int32))
    (tmp_path / "steps.py").write_text(STEPS)
    tokens, ctc_shape = map(json.loads, alone(tmp_path / "steps.py", exported, tmp_path / "given.npz").splitlines())
    texts = alone(exported / "transcribe.py", *(trained_run.wavs / f"test-{i}.wav" for i in range(3))).splitlines()
    assert [tiny.TOKENS.decode(row) for row in tokens] == [line.partition(": ")[2] for line in texts]
    assert all(tokens)
    assert ctc_shape[::2] == [3, tiny.TOKENS.size]


@with_flatbuffers
def test_the_folder_says_what_is_in_it(exported, capsys):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["rate_hz"] == 16_000
    assert manifest["platforms"] == ["cpu", "cuda"]
    assert manifest["batch"] is None
    assert bytes.fromhex(manifest["pieces"][2]) == b"A"
    assert not manifest["drops_first_space"]
    samples = manifest["samples"]
    programs = manifest["programs"]
    assert programs["search"]["arguments"] == [f"int16[b,{samples}]", "int32[b]"]
    assert programs["encode"]["results"]["hidden_lengths_b"] == "int32[b]"
    assert programs["step"]["results"]["log_probs_bv"] == f"float32[b,{tiny.TOKENS.size}]"
    assert (exported / "experiment.txt").read_text() == tree.render(tiny.experiment()) + "\n"
    readme = (exported / "README.md").read_text()
    assert "for cpu, cuda" in readme
    assert "A batch may have any number of rows" in readme


@with_flatbuffers
def test_a_whisper_keeps_its_suppressed_tokens(tmp_path, rng):
    """The search of its experiment is exported, and its pieces are bytes; a batch may have a fixed number of rows."""
    tiny_whisper.write_checkpoint(tmp_path / "nano")
    run = import_run(str(tmp_path / "nano"), tmp_path / "run")
    export_programs(
        load(str(run.experiment)), tmp_path / "run", tmp_path / "out", ProgramOptions(examples=2, platforms=("cpu",))
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["samples"] == 16_000  # what the frontend pads to
    assert manifest["batch"] == 2
    assert manifest["drops_first_space"]
    assert any("SuppressTokens" in line for line in manifest["search"])
    soundfile.write(tmp_path / "a.wav", (rng.normal(size=9_000) * 3_000).astype(np.int16), 16_000)
    assert main(["transcribe", str(run.experiment), str(tmp_path / "a.wav"), "--workdir", str(tmp_path / "run")]) == 0
    assert alone(tmp_path / "out" / "transcribe.py", tmp_path / "a.wav").startswith(f"{tmp_path / 'a.wav'}: ")


def test_without_flatbuffers_the_extra_is_named(trained_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(folder, "find_spec", lambda name: None)
    arguments = ["--workdir", str(trained_run.workdir), "--to", "stablehlo", "--out", str(tmp_path / "out")]
    assert main(["export", tiny.__file__, *arguments]) == 1
    assert "pip install 'jaxasr[export]'" in capsys.readouterr().err


@with_flatbuffers
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--search", "best"], "there is no search 'best'"),
        (["--seconds", "0.01"], r"waves of 0.01 s: this model takes 0.04 s, a window of its frontend"),
        (["--platforms", "cpu,fpga"], "platforms fpga; there are cpu, cuda, tpu and rocm"),
    ],
)
def test_impossible_options_are_refused(trained_run, tmp_path, capsys, options, message):
    arguments = ["--workdir", str(trained_run.workdir), "--to", "stablehlo", "--out", str(tmp_path / "out")]
    assert main(["export", tiny.__file__, *arguments, *options]) == 1
    assert message in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_an_option_of_programs_needs_them(trained_run, tmp_path, capsys):
    arguments = ["--workdir", str(trained_run.workdir), "--to", "safetensors", "--out", str(tmp_path / "out")]
    assert main(["export", tiny.__file__, *arguments, "--batch-size", "2"]) == 1
    assert "--batch-size is an option of --to stablehlo, not of --to safetensors" in capsys.readouterr().err


@with_flatbuffers
def test_language_models_are_refused(trained_run, tmp_path):
    fused = decode.Beam(2, scorers=(decode.LmScorer("chars", 0.3),))
    with pytest.raises(ValueError, match="fuses a language model 'chars'"):
        export_programs(tiny.experiment(), trained_run.workdir, tmp_path / "out", ProgramOptions(fused))
    with pytest.raises(ValueError, match="language model"):
        export_programs(tiny_lm.experiment(), trained_run.workdir, tmp_path / "out")
    with pytest.raises(ValueError, match="exists; give a folder that does not"):
        export_programs(tiny.experiment(), trained_run.workdir, tmp_path)
