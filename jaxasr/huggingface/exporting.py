"""A run as files for other systems: a Whisper in the layout of `transformers`, or any model's arrays as safetensors."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from jaxasr import text, tree
from jaxasr.experiment import Experiment, Workdir
from jaxasr.experiment.experiment import recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.files import write_whole
from jaxasr.huggingface.documents import documents
from jaxasr.huggingface.importing import vocabulary
from jaxasr.huggingface.names import to_tensors
from jaxasr.huggingface.tensors import WEIGHTS
from jaxasr.huggingface.whisper_config import WhisperConfig
from jaxasr.nn.low_rank import merged
from jaxasr.training import Freeze, Metadata
from jaxasr.training.checkpoints import flat_tree

Target = Literal["hf", "safetensors"]
_WHISPER = {  # fields of the model without which it is no Whisper
    "frontend.rate_hz": 16_000,
    "frontend.window_ms": 25.0,
    "frontend.hop_ms": 10.0,
    "frontend.low_hz": 0.0,
    "frontend.high_hz": 8_000.0,
    "frontend.normalize": "peak",
    "frontend.mel_scale": "slaney",
    "frontend.fft": "window",
    "frontend.edges": "reflect",
    "frontend.floor": 1e-10,
    "encoder.positions": "table",
    "encoder.projection": "none",
    "encoder.activation": "gelu",
    "encoder.norm_epsilon": 1e-5,
    "encoder.context": None,
    "encoder.layers": "unroll",
    "encoder.subsampling.strides": (1, 2),
    "encoder.subsampling.kernel_size": 3,
    "encoder.subsampling.activation": "gelu",
    "decoder.attention.scaled": True,
    "decoder.activation": "gelu",
    "decoder.norm_epsilon": 1e-5,
    "decoder.positions": "learned",
    "decoder.embedding_scale": "none",
    "decoder.tied": True,
    "ctc": None,
}


def export_run(
    experiment: Experiment, workdir: Path, out: Path, *, to: Target, checkpoint: Choice = "best"
) -> list[Path]:
    """Writes a checkpoint of a run into the new folder `out`, whole or not at all, and returns the files.

    Adapters (`nn.LowRank`) are merged into their layers.

    Args:
        experiment: the experiment of the run.
        workdir: the folder of the run.
        out: the folder to make.
        to: "hf": a Whisper that `transformers` loads. "safetensors": the arrays of any model by path, its experiment and a
            model card.
        checkpoint: "best", "last", a step, or "mean".

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ValueError: `out` exists, or the model is no Whisper; the fields that differ are named.
    """
    if out.exists():
        raise ValueError(f"{out} exists; give a folder that does not, so that no file of another model stays in it")
    config = whisper_config(experiment) if to == "hf" else None
    variables, metadata = trained_variables(experiment, Workdir(workdir), checkpoint)
    flat = {path: np.asarray(leaf) for path, leaf in flat_tree.flatten(variables).items()}
    experiment, flat = _without_adapters(experiment, flat)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        if config is None:
            save_file(flat, folder / WEIGHTS)
        else:
            _write_whisper(folder, config, experiment, flat)
        write_whole(folder / "experiment.txt", tree.render(experiment) + "\n")
        write_whole(folder / "README.md", _card(out.name, experiment, metadata, flat, config is not None))
        folder.rename(out)
    return sorted(out.iterdir())


def _without_adapters(experiment: Experiment, flat: dict[str, np.ndarray]) -> tuple[Experiment, dict[str, np.ndarray]]:
    """Returns the experiment without adapters, and the parameters with them merged."""
    adapters = getattr(experiment.model, "adapters", None)
    if adapters is None:
        return experiment, flat
    model: Any = experiment.model.clone(adapters=None)
    return replace(experiment, model=model, freeze=Freeze()), merged(flat, adapters)


def whisper_config(experiment: Experiment) -> WhisperConfig:
    """Returns the sizes of the experiment's model.

    Raises:
        ValueError: it is no Whisper; the fields that differ are named.
    """
    fields = tree.flatten(recogniser_of(experiment))
    differing = [
        f"model.{path} is {fields[path]!r} and Whisper has {value!r}" if path in fields else f"there is no model.{path}"
        for path, value in _WHISPER.items()
        if path not in fields or fields[path] != value
    ]
    if not isinstance(experiment.tokenizer, text.ByteLevelBpe):
        differing.append(f"the tokenizer is {type(experiment.tokenizer).__name__} and Whisper has ByteLevelBpe")
    if differing:
        raise ValueError(
            "the model is no Whisper, which is all that transformers gets: " + "; ".join(differing[:6]) + ". `--to "
            "safetensors` writes any model"
        )
    values: dict[str, Any] = dict(fields)
    suppressed = _suppressed(experiment)
    return WhisperConfig(
        width=values["encoder.width"],
        encoder_layers=values["encoder.depth"],
        encoder_heads=values["encoder.heads"],
        encoder_ffn=round(values["encoder.expansion"] * values["encoder.width"]),
        decoder_layers=values["decoder.depth"],
        decoder_heads=values["decoder.heads"],
        decoder_ffn=values["decoder.expansion"] * values["decoder.width"],
        vocab=values["decoder.vocab"],
        bins=values["frontend.bins"],
        audio_positions=values["encoder.max_positions"],
        text_positions=values["decoder.max_positions"],
        seconds=values["encoder.max_positions"] / 50,
        suppressed=suppressed[0],
        suppressed_first=suppressed[1],
        alignment_heads=values["decoder.alignment_heads"] or (),
        multilingual=len(values["decoder.prompt"]) > 2,
    )


def _suppressed(experiment: Experiment) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the ids that the search of the validation split suppresses, always and at the first step."""
    tokenizer = experiment.tokenizer
    assert isinstance(tokenizer, text.ByteLevelBpe)
    scorers = getattr(experiment.validation.search, "scorers", ())
    found = next((scorer for scorer in scorers if hasattr(scorer, "first")), None)
    always, first = ((), ()) if found is None else (found.tokens, found.first)
    return tuple(sorted(map(tokenizer.id, always))), tuple(sorted(map(tokenizer.id, first)))


def _write_whisper(folder: Path, config: WhisperConfig, experiment: Experiment, flat: Mapping[str, np.ndarray]) -> None:
    tokenizer = experiment.tokenizer
    assert isinstance(tokenizer, text.ByteLevelBpe)
    tensors = to_tensors(config, flat, vocabulary(tokenizer))
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    shutil.copyfile(tokenizer.folder / tokenizer.file, folder / "tokenizer.json")
    prompt: Any = tree.flatten(experiment.model)["decoder.prompt"]
    for name, content in documents(config, tokenizer, prompt).items():
        write_whole(folder / f"{name}.json", json.dumps(content, indent=2) + "\n")


def _card(
    name: str, experiment: Experiment, metadata: Metadata, flat: Mapping[str, np.ndarray], is_whisper: bool
) -> str:
    """Returns the model card."""
    versions = ", ".join(f"{package} {version}" for package, version in metadata.versions.items())
    use = (
        "`transformers.WhisperForConditionalGeneration.from_pretrained` loads it."
        if is_whisper
        else "Names are paths of the parameters; experiment.txt has the fields of the model."
    )
    return (
        f"---\nlibrary_name: {'transformers' if is_whisper else 'jaxasr'}\npipeline_tag: automatic-speech-recognition\n"
        "---\n\n"
        f"# {name}\n\nExported by jaxasr: {sum(leaf.size for leaf in flat.values()):,} numbers in float32. {use}\n\n"
        f"| | |\n|---|---|\n| experiment | {tree.fingerprint(experiment)} (experiment.txt) |\n"
        f"| vocabulary | {metadata.tokenizer} |\n| data | {metadata.data} |\n| trained with | {versions} |\n"
    )
