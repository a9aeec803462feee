"""Runs become files for others: a Whisper comes back as it was, any model has its arrays by path."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxasr.cli.main import main
from jaxasr.experiment import Workdir, load, trained_variables
from jaxasr.huggingface import ImportOptions, export_run, import_run
from jaxasr.huggingface.whisper_config import read_config
from jaxasr.training.checkpoints import flat_tree
from tests import tiny_experiments
from tests import tiny_whisper as tiny


@pytest.mark.parametrize("specials", [tiny.ENGLISH, tiny.MULTILINGUAL], ids=["english", "multilingual"])
def test_a_whisper_comes_back_as_it_was(tmp_path, specials):
    """Tensors to the bit, sizes and suppressed tokens; an import of the export is the same run."""
    tensors = tiny.write_checkpoint(tmp_path / "nano", specials)
    run = import_run(str(tmp_path / "nano"), tmp_path / "run", ImportOptions())
    experiment = load(str(run.experiment))
    export_run(experiment, tmp_path / "run", tmp_path / "out", to="hf")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert read_config(tmp_path / "out") == read_config(tmp_path / "nano")
    again = import_run(str(tmp_path / "out"), tmp_path / "again", ImportOptions())
    assert load(str(again.experiment)).model == experiment.model
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    languages = {"<|en|>", "<|de|>"} if specials == tiny.MULTILINGUAL else set()
    assert set(generation.get("lang_to_id", ())) == languages


def test_transformers_loads_the_export(tmp_path):
    transformers = pytest.importorskip("transformers", reason="an independent system, no dependency")
    torch = pytest.importorskip("torch", reason="the system that it computes with")
    tiny.write_checkpoint(tmp_path / "nano")
    run = import_run(str(tmp_path / "nano"), tmp_path / "run")
    export_run(load(str(run.experiment)), tmp_path / "run", tmp_path / "out", to="hf")
    features = torch.randn(1, tiny.BINS, 100)
    logits = [
        transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / name)(
            input_features=features, decoder_input_ids=torch.tensor([[257, 259]])
        ).logits
        for name in ("nano", "out")
    ]
    torch.testing.assert_close(*logits)


def test_any_model_is_written_with_its_experiment_and_a_card(trained_run, tmp_path, capsys):
    arguments = ["--workdir", str(trained_run.workdir), "--to", "safetensors", "--out", str(tmp_path / "out")]
    assert main(["export", tiny_experiments.__file__, *arguments]) == 0
    assert "README.md, experiment.txt, model.safetensors" in capsys.readouterr().out
    variables, _ = trained_variables(tiny_experiments.experiment(), Workdir(trained_run.workdir))
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == flat_tree.flatten(variables).keys()
    for path, leaf in flat_tree.flatten(variables).items():
        np.testing.assert_array_equal(jnp.asarray(found[path]), leaf)
    assert (tmp_path / "out" / "experiment.txt").read_text().startswith(". = Experiment")
    assert main(["export", tiny_experiments.__file__, *arguments]) == 1
    assert f"{tmp_path / 'out'} exists" in capsys.readouterr().err


def test_another_model_is_no_whisper(trained_run, tmp_path):
    with pytest.raises(ValueError, match=r"model\.frontend\.low_hz is 20\.0 and Whisper has 0\.0; .*--to safetensors"):
        export_run(tiny_experiments.experiment(), trained_run.workdir, tmp_path / "out", to="hf")
    assert [*tmp_path.iterdir()] == []
