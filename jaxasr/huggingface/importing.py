"""A Whisper checkpoint as a run: an experiment file and a checkpoint in a workdir."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from jaxasr import report, text, tree
from jaxasr.experiment import Experiment, Workdir, load
from jaxasr.experiment.restore import variable_shapes
from jaxasr.files import open_whole, write_whole
from jaxasr.huggingface.experiment_file import TOKENIZER, ImportOptions, experiment_text, prompt_of
from jaxasr.huggingface.hub import local_folder
from jaxasr.huggingface.names import TIED, expected_shapes, to_parameters
from jaxasr.huggingface.tensors import Tensors
from jaxasr.huggingface.whisper_config import WhisperConfig, read_config
from jaxasr.training import IMPORTED, Checkpoints, Metadata
from jaxasr.training.checkpoints import flat_tree

EXPERIMENT = "experiment.py"  # in the workdir
_SHOWN = 8  # tensors that an error lists


@dataclass(frozen=True)
class ImportedRun:
    """An imported run."""

    experiment: Path  # its file
    parameters: int  # numbers in all of them
    prompt: str  # the names of the prompt's tokens


def import_run(source: str, workdir: Path, options: ImportOptions | None = None) -> ImportedRun:
    """Writes the checkpoint `source` into `workdir` as a run, whole or not at all.

    Args:
        source: a folder in the layout of `transformers`, or hf://OWNER/NAME.
        workdir: a folder without a run.
        options: the choices that the checkpoint leaves open; None: the defaults.

    Raises:
        FileNotFoundError: a file of the checkpoint is missing.
        ModuleNotFoundError: hf:// and huggingface-hub is not installed.
        ValueError: `workdir` has a run, the checkpoint is no Whisper, or its tensors are not those of its configuration.
    """
    options = options or ImportOptions()
    run = Workdir(workdir)
    there = [path.name for path in (run.checkpoints, workdir / EXPERIMENT, run.experiment) if path.exists()]
    if there:
        raise ValueError(f"{workdir} has {', '.join(there)}: a run is there already; give another folder")
    folder = local_folder(source)
    config = read_config(folder)
    tensors = Tensors.open(folder)
    tokenizer = text.ByteLevelBpe(TOKENIZER, vocab=config.vocab, folder=folder)
    written = experiment_text(folder.resolve().name, config, tokenizer, options)
    workdir.mkdir(parents=True, exist_ok=True)
    with open_whole(workdir / TOKENIZER) as file:
        file.write((folder / TOKENIZER).read_bytes())
    write_whole(workdir / EXPERIMENT, written)
    try:
        experiment = load(str(workdir / EXPERIMENT))
        flat = _parameters(experiment, config, tensors, vocabulary(tokenizer), folder)
        with run.held():
            _save(run, experiment, flat, _digest(tensors), config.seconds)
    except BaseException:
        (workdir / EXPERIMENT).unlink()
        (workdir / TOKENIZER).unlink()
        raise
    prompt = "".join(prompt_of(config, tokenizer, options))
    return ImportedRun(workdir / EXPERIMENT, sum(array.size for array in flat.values()), prompt)


def vocabulary(tokenizer: text.ByteLevelBpe) -> Int64[np.ndarray, " v"]:
    """Returns the id in the checkpoint of each token of this package, in which the end is token 0."""
    return np.array([tokenizer.id(token) for token in range(tokenizer.size)], np.int64)


def _parameters(
    experiment: Experiment, config: WhisperConfig, tensors: Tensors, ids_v: Int64[np.ndarray, " v"], folder: Path
) -> dict[str, np.ndarray]:
    shapes = {path: leaf.shape for path, leaf in flat_tree.flatten(variable_shapes(experiment.model)).items()}
    expected = expected_shapes(config, shapes)
    _check_tensors(expected, tensors.shapes, folder)
    if TIED in tensors.shapes and not np.array_equal(tensors.read(TIED), tensors.read(_EMBEDDING)):
        raise ValueError(f"{folder}: {TIED} differs from {_EMBEDDING}, which is the readout of every Whisper")
    flat = to_parameters(config, tensors.read, shapes, ids_v)
    assert flat.keys() == shapes.keys(), sorted(flat.keys() ^ shapes.keys())
    return flat


_EMBEDDING = "model.decoder.embed_tokens.weight"


def _check_tensors(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Raises ValueError if tensors are missing, unknown or misshapen; the message names them."""
    shared = sorted(expected.keys() & found.keys())
    wrong = [f"{name} {found[name]} instead of {expected[name]}" for name in shared if found[name] != expected[name]]
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys() - {TIED}),
        "of another shape than config.json says": wrong,
    }
    lines = [f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names]
    if lines:
        raise ValueError(
            f"the tensors in {folder} are not those of the Whisper in its config.json:\n  " + "\n  ".join(lines)
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _save(run: Workdir, experiment: Experiment, flat: Mapping[str, np.ndarray], digest: str, longest_s: float) -> None:
    """Saves the parameters as checkpoint 0, without a state of an optimizer."""
    collections: Any = flat_tree.unflatten(variable_shapes(experiment.model), flat)
    frozen = {name: collection for name, collection in collections.items() if name != "params"}
    metadata = Metadata(
        experiment=tree.render(experiment),
        defaults=tree.defaults(experiment),
        fingerprint=tree.fingerprint(experiment),
        tokenizer=experiment.tokenizer.digest,
        data=f"{IMPORTED}{digest}",
        versions={name: report.version(name) for name in ("jaxasr", "jax", "flax", "safetensors")},
        longest_s=longest_s,
    )
    run.keep_experiment(experiment)
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(0, {"train": {"params": collections["params"], "statistics": frozen}}, metadata, wait=True)


def _digest(tensors: Tensors) -> str:
    """Returns a hash of the weight files, 8 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(set(tensors.files.values())):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]
