"""Whisper checkpoints become runs: logits as by the formulas, names of what does not fit, no pickles."""

import json
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxasr import nn
from jaxasr.cli.main import main
from jaxasr.data import Shape
from jaxasr.experiment import Workdir, load, trained_variables
from jaxasr.huggingface import ImportOptions, import_run
from jaxasr.records import Batch
from jaxasr.run.initial_state import PretrainedRuns
from jaxasr.run.stage_trainer import restore_or_init
from jaxasr.training import Checkpoints
from jaxasr.training.checkpoints import flat_tree
from tests import tiny_whisper as tiny
from tests.reference import whisper

LENGTHS = (9_000, 16_000, 4_321)
TEXTS = ("the a", "a the", "the")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf") / "whisper-nano.en"
    return folder, tiny.write_checkpoint(folder)


@pytest.fixture(scope="module")
def imported(checkpoint, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    import_run(str(checkpoint[0]), workdir)
    experiment = load(str(workdir / "experiment.py"))
    return experiment, trained_variables(experiment, Workdir(workdir))[0], workdir


@pytest.fixture(scope="module")
def batch(imported):
    rng = np.random.default_rng(3)
    batch = Batch.blank(Shape(samples=16_000, tokens=4, examples=3))
    for row, (samples, text) in enumerate(zip(LENGTHS, TEXTS, strict=True)):
        tokens = imported[0].tokenizer.encode(text)
        batch.wave_bn[row, :samples] = np.round(rng.normal(size=samples) * 3_000)
        batch.tokens_bu[row, : len(tokens)] = tokens
        batch.sample_lengths_b[row], batch.token_lengths_b[row], batch.valid_b[row] = samples, len(tokens), True
    return batch


def test_features_and_logits_are_those_of_the_formulas(checkpoint, imported, batch):
    """The weights and the reference are those of the file; teacher forcing and steps agree."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in checkpoint[1].items()}
    experiment, variables, _ = imported
    model, tokenizer = experiment.model, experiment.tokenizer
    wave_bn = batch.wave_bn.astype(np.float32) / 32768
    found = jax.jit(lambda wave, lengths: model.frontend.apply({}, wave, lengths))(wave_bn, batch.sample_lengths_b)
    logits_bkv = jax.jit(lambda v, b: model.apply(v, b, step=None).logits_buv)(variables, batch)
    order = [tokenizer.id(token) for token in range(tokenizer.size)]
    prompt = [tokenizer.id(token) for token in model.decoder.prompt]
    for row, (samples, tokens) in enumerate(zip(LENGTHS, batch.token_lengths_b, strict=True)):
        wave_n = batch.wave_bn[row, :samples] / 32768
        frames_tf = whisper.features(wave_n, bins=tiny.BINS, seconds=tiny.SECONDS)
        np.testing.assert_allclose(found.frames_btf[row], frames_tf, atol=1e-4)
        hidden_sd = whisper.encode(tensors, frames_tf, layers=tiny.LAYERS, heads=tiny.HEADS)
        ids = [*prompt, *(tokenizer.id(int(token)) for token in batch.tokens_bu[row, :tokens])]
        expected = whisper.logits(tensors, hidden_sd, ids, layers=tiny.LAYERS, heads=tiny.HEADS)
        np.testing.assert_allclose(logits_bkv[row, : tokens + 1], expected[len(prompt) - 1 :, order], atol=1e-4)


def test_a_search_writes_no_suppressed_token_and_ends_at_no_first_step(imported, batch):
    experiment, variables, _ = imported
    search = experiment.validation.search
    found = jax.jit(lambda v, b: search(nn.Recogniser(experiment.model, v), b))(variables, batch)
    tokens_bu = np.asarray(found.tokens_bwu[:, 0])
    token = experiment.tokenizer.token
    assert np.all(found.token_lengths_bw > 0)
    assert not np.isin(tokens_bu, [token(3), token(5)]).any()
    assert not np.isin(tokens_bu[:, 0], [token(7)]).any()
    assert found.weights_buhs.shape[2] == 2  # the alignment heads


def test_transformers_computes_the_same(checkpoint, imported, batch):
    """A witness where it is installed: the suite passes without it."""
    transformers = pytest.importorskip("transformers", reason="an independent system, no dependency")
    torch = pytest.importorskip("torch", reason="the system that it computes with")
    experiment, variables, _ = imported
    model = transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint[0], dtype=torch.float32)
    frames_btf = np.stack(
        [
            whisper.features(w[:n] / 32768, bins=tiny.BINS, seconds=1)
            for w, n in zip(batch.wave_bn, LENGTHS, strict=True)
        ]
    )
    ids = [[experiment.tokenizer.id(token) for token in experiment.model.decoder.prompt]] * 3
    with torch.no_grad():
        features = torch.tensor(frames_btf.swapaxes(1, 2), dtype=torch.float32)
        expected = model(input_features=features, decoder_input_ids=torch.tensor(ids)).logits.numpy()[:, -1]
    order = [experiment.tokenizer.id(token) for token in range(experiment.tokenizer.size)]
    found = jax.jit(lambda v, b: experiment.model.apply(v, b, step=None).logits_buv)(variables, batch)
    np.testing.assert_allclose(found[:, 0], expected[:, order], atol=1e-4)


def test_a_multilingual_model_has_language_and_task_in_its_prompt(tmp_path):
    tensors = tiny.write_checkpoint(tmp_path / "nano", tiny.MULTILINGUAL, dtype=np.float16)
    save_file(
        {**tensors, "proj_out.weight": tensors["model.decoder.embed_tokens.weight"]},
        tmp_path / "nano/model.safetensors",
    )
    run = import_run(str(tmp_path / "nano"), tmp_path / "run", ImportOptions(language="de", task="translate"))
    assert run.prompt == "<|startoftranscript|><|de|><|translate|><|notimestamps|>"
    experiment = load(str(run.experiment))
    assert experiment.model.decoder.prompt == tuple(
        map(experiment.tokenizer.special, run.prompt.replace("><", "> <").split())
    )
    assert experiment.validation.normalizer == "whisper_english"
    with pytest.raises(ValueError, match=r"no special token '<\|fr\|>'; it has .*<\|de\|>"):
        import_run(str(tmp_path / "nano"), tmp_path / "french", ImportOptions(language="fr"))
    assert not (tmp_path / "french").exists()


def test_the_command_imports_and_a_run_is_not_replaced(checkpoint, tmp_path, capsys):
    words = [
        "import",
        str(checkpoint[0]),
        "--workdir",
        str(tmp_path),
        "--corpus",
        "speech",
        "--eval-splits",
        "dev,test",
    ]
    assert main(words) == 0
    assert "prompt <|startoftranscript|><|notimestamps|>" in capsys.readouterr().out
    experiment = load(str(tmp_path / "experiment.py"))
    assert [*experiment.evals] == ["dev", "test", "dev-beam5", "test-beam5"]
    assert main(words) == 1
    assert "a run is there already; give another folder" in capsys.readouterr().err


def test_a_run_without_a_state_of_training_is_not_resumed(imported):
    with (
        Checkpoints(imported[2] / "checkpoints") as checkpoints,
        pytest.raises(ValueError, match=r"--init-from \S+run"),
    ):
        restore_or_init((), checkpoints, PretrainedRuns(), lambda step: None)


def changed(folder, checkpoint, change):
    """Writes a copy of the checkpoint whose tensors are changed."""
    tensors = load_file(checkpoint[0] / "model.safetensors")
    change(tensors)
    folder.mkdir()
    for path in checkpoint[0].glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.encoder.conv1.bias"), r"1 missing: model\.encoder\.conv1\.bias"),
        (lambda t: t.update(lora=np.ones(2, np.float32)), "1 unknown: lora"),
        (
            lambda t: t.update({"model.encoder.conv2.bias": np.ones(3, np.float32)}),
            r"1 of another shape than config.json says: model\.encoder\.conv2\.bias \(3,\) instead of \(8,\)",
        ),
        (
            lambda t: t.update({"model.encoder.conv2.bias": np.full(8, np.nan, np.float32)}),
            r"model\.encoder\.conv2\.bias in \S+ has numbers that are not finite",
        ),
        (
            lambda t: t.update({"model.encoder.conv2.bias": np.ones(8, np.int32)}),
            r"model\.encoder\.conv2\.bias in \S+ has the type int32; floats are needed",
        ),
        (
            lambda t: t.update({"proj_out.weight": np.ones((3, 8), np.float32)}),
            r"proj_out\.weight differs from model\.decoder\.embed_tokens\.weight",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_written(checkpoint, tmp_path, change, message):
    folder = changed(tmp_path / "hf", checkpoint, change)
    with pytest.raises(ValueError, match=message):
        import_run(str(folder), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []


@pytest.mark.parametrize(
    ("file", "name", "value", "message"),
    [
        ("config", "model_type", "wav2vec2", "model_type='wav2vec2'; only whisper is imported"),
        ("config", "activation_function", "relu", "activation_function='relu'; Whisper has 'gelu'"),
        ("config", "d_model", None, "has no d_model"),
        ("config", "decoder_ffn_dim", 12, "decoder_ffn_dim=12 and d_model=8"),
        ("config", "max_source_positions", 49, "which are 50 positions"),
        ("preprocessor_config", "hop_length", 100, "hop_length=100; Whisper has 160"),
        ("generation_config", "suppress_tokens", [-1], "suppress_tokens has -1"),
    ],
)
def test_a_configuration_that_is_not_whispers_is_refused(checkpoint, tmp_path, file, name, value, message):
    folder = changed(tmp_path / "hf", checkpoint, lambda tensors: None)
    content = json.loads((folder / f"{file}.json").read_text())
    content[name] = value
    if value is None:
        del content[name]
    (folder / f"{file}.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        import_run(str(folder), tmp_path / "run")


def test_pickles_are_named_and_never_read(checkpoint, tmp_path):
    folder = changed(tmp_path / "hf", checkpoint, lambda tensors: None)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model\.bin is there and is not read: a pickle can run code"):
        import_run(str(folder), tmp_path / "run")


def test_weights_in_several_files_are_one_checkpoint(checkpoint, tmp_path):
    folder = changed(tmp_path / "hf", checkpoint, lambda tensors: None)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, of_file in parts.items():
        save_file({name: tensors[name] for name in of_file}, folder / file)
    index = {"weight_map": {name: file for file, of_file in parts.items() for name in of_file}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert import_run(str(folder), tmp_path / "run").parameters > 1_000
    (folder / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks b\.safetensors"):
        import_run(str(folder), tmp_path / "again")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "there is no folder nowhere"),
        ("hf://tiny", r"hf://tiny is no hf://OWNER/NAME"),
        ("gs://bucket/whisper", "gs:// is not supported"),
    ],
)
def test_a_source_that_is_no_checkpoint_is_answered(source, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        import_run(source, tmp_path / "run")


def test_the_hub_needs_its_package(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert main(["import", "hf://openai/whisper-tiny.en", "--workdir", str(tmp_path / "run")]) == 1
    assert "pip install 'jaxasr[hub]'" in capsys.readouterr().err


def test_the_experiment_has_recipes_without_padding(imported):
    """`short` and `lora` begin with all arrays of the import, `hard` with its encoder."""
    experiment, variables, workdir = imported
    there = flat_tree.flatten(variables)
    batch = Batch.blank(Shape(samples=8_000, tokens=4, examples=1))
    for name, lacking in (("short", ""), ("lora", "low_rank"), ("hard", "decoder|ctc")):
        recipe = load(f"{workdir / 'experiment.py'}:{name}")
        assert recipe.model.frontend.pad_s == 0
        used = [pipeline.shapes for pipeline in (experiment.train_data, recipe.train_data, recipe.evals["test"].data)]
        assert len(set(used)) == 3
        if name != "hard":
            longest = experiment.model.encoder.max_positions
            padded, short = (
                evals["test"].search.max_tokens.table(longest).tolist() for evals in (experiment.evals, recipe.evals)
            )
            assert short[-1] == padded[-1] == padded[1] > short[1]
        made = jax.eval_shape(lambda b, model=recipe.model: model.init(jax.random.key(0), b, step=None), batch)
        shapes = flat_tree.flatten(made)
        new = [path for path, leaf in shapes.items() if path not in there or there[path].shape != leaf.shape]
        assert all(re.search(lacking, path) for path in new)
        assert bool(new) == bool(lacking)
        if name == "short":
            assert recipe.freeze == experiment.freeze
            continue
        frozen = flat_tree.flatten(recipe.freeze.mask(made["params"]))
        trained = [f"params/{path}" for path, is_frozen in frozen.items() if not is_frozen]
        assert sorted(trained) == sorted(path for path in new if path.startswith("params/"))
