"""The folder that `jaxasr export --to stablehlo` writes: programs, parameters, and an example that needs jax alone."""

import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.export import Exported

from jaxasr import tree
from jaxasr.decode import Search
from jaxasr.evaluation.language_models import check_lms_given
from jaxasr.evaluation.searches import search_for_files
from jaxasr.experiment import Experiment, Workdir
from jaxasr.experiment.experiment import recogniser_of
from jaxasr.experiment.restore import Choice, trained_variables
from jaxasr.files import write_whole
from jaxasr.stablehlo.programs import PLATFORMS, by_path, programs_of
from jaxasr.text.pieces import drops_first_space, piece_bytes
from jaxasr.training import Metadata
from jaxasr.transcription.loading import longest_window_s

MANIFEST = "manifest.json"
PARAMS = "params.npz"
EXAMPLE = "transcribe.py"
SUFFIX = ".jax_export"  # of a serialised program
_README = """# {name}

A recogniser of jaxasr as programs of StableHLO, exported by `jax.export` of jax {version} for {platforms}.
They run with jax and its optional package flatbuffers alone (`pip install jax flatbuffers`):

    python {example} recording.wav

| file | what |
|---|---|
| `search{suffix}` | params, wave_bn, sample_lengths_b -> {found} |
| `encode{suffix}` | params, wave_bn, sample_lengths_b -> {encoded} |
| `step{suffix}` | params, memory, state, tokens_b -> log_probs_bv, weights_bhs, state |
| `{params}` | the parameters by path |
| `{manifest}` | sample rate, samples of a wave, bytes of each token, search, names and shapes of arguments and results |
| `experiment.txt` | the experiment {fingerprint} |

`wave_bn` is int16 at {rate_hz} Hz, {samples} samples ({seconds:g} s) wide and zero behind `sample_lengths_b`. {rows}
A row of length 0 is padding. Token 0 ends a transcript and is the first input of `step`. `memory` and `state` come from
`encode`; `step` returns the next `state`. A search of `jaxasr eval` is exported as it is, without the guard against
repetition of `jaxasr transcribe`. jax reads programs of versions that are at most six months older.
"""


@dataclass(frozen=True)
class ProgramOptions:
    """The choices of an export."""

    search: Search | None = None  # None: the search of audio files
    seconds: float | None = (
        None  # the longest wave; None: the longest utterance of training, or what the frontend pads to
    )
    examples: int | None = None  # rows of a batch; None: any number
    platforms: tuple[str, ...] = PLATFORMS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.platforms) - {*PLATFORMS, "rocm"})
        if unknown or not self.platforms:
            raise ValueError(f"platforms {', '.join(unknown) or 'none'}; there are {', '.join(PLATFORMS)} and rocm")


def export_programs(
    experiment: Experiment,
    workdir: Path,
    out: Path,
    options: ProgramOptions = ProgramOptions(),
    *,
    checkpoint: Choice = "best",
) -> list[Path]:
    """Writes the programs of a run into the new folder `out`, whole or not at all, and returns the files.

    Args:
        experiment: the experiment of the run.
        workdir: the folder of the run.
        out: the folder to make.
        options: the search, the sizes and the platforms.
        checkpoint: "best", "last", a step, or "mean".

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ModuleNotFoundError: flatbuffers is not installed.
        ValueError: `out` exists, or a part cannot be exported; the error names it.
    """
    if out.exists():
        raise ValueError(f"{out} exists; give a folder that does not, so that no file of another model stays in it")
    if find_spec("flatbuffers") is None:
        raise ModuleNotFoundError(
            "programs are written by the package flatbuffers, which is not installed: pip install 'jaxasr[export]'"
        )
    model = recogniser_of(experiment)
    search = options.search or search_for_files(experiment)
    check_lms_given({}, [search])
    variables, metadata = trained_variables(experiment, Workdir(workdir), checkpoint)
    samples = _samples(experiment, metadata, options.seconds)
    programs = programs_of(
        model, variables, search, samples=samples, examples=options.examples, platforms=options.platforms
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        for name, program in programs.items():
            (folder / f"{name}{SUFFIX}").write_bytes(program.serialize())
        params: Any = {path: np.asarray(leaf) for path, leaf in by_path(variables).items()}
        np.savez(folder / PARAMS, **params)
        manifest = _manifest(experiment, search, programs, options, samples)
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        write_whole(folder / "experiment.txt", tree.render(experiment) + "\n")
        write_whole(folder / "README.md", _readme(out.name, manifest))
        shutil.copyfile(Path(__file__).with_name("standalone.py"), folder / EXAMPLE)
        folder.rename(out)
    return sorted(out.iterdir())


def _samples(experiment: Experiment, metadata: Metadata, seconds: float | None) -> int:
    """Returns the samples of a wave. Raises ValueError if it is too short for a frame, or longer than the model takes."""
    frontend = recogniser_of(experiment).frontend
    longest_s = frontend.pad_s or seconds or longest_window_s(experiment, metadata)
    if seconds is not None and not frontend.window_ms / 1_000 <= seconds <= longest_s:
        raise ValueError(
            f"waves of {seconds:g} s: this model takes {frontend.window_ms / 1_000:g} s, a window of its frontend, to "
            f"{longest_s:g} s, to which its frontend pads"
        )
    return math.ceil((seconds or longest_s) * frontend.rate_hz)


def _manifest(
    experiment: Experiment, search: Search, programs: dict[str, Exported], options: ProgramOptions, samples: int
) -> dict[str, Any]:
    return {
        "format": 1,
        "jax": jax.__version__,
        "platforms": list(options.platforms),
        "experiment": tree.fingerprint(experiment),
        "search": tree.render(search).splitlines(),
        "rate_hz": recogniser_of(experiment).frontend.rate_hz,
        "samples": samples,
        "batch": options.examples,
        "drops_first_space": drops_first_space(experiment.tokenizer),
        "pieces": [piece.hex() for piece in piece_bytes(experiment.tokenizer)],
        "programs": {name: _signature(program) for name, program in programs.items()},
    }


def _signature(program: Exported) -> dict[str, Any]:
    """Returns the arguments but the parameters, and the results, as names with types and shapes."""
    (_, *arguments), _ = jax.tree.unflatten(program.in_tree, [leaf.str_short() for leaf in program.in_avals])
    results = jax.tree.unflatten(program.out_tree, [leaf.str_short() for leaf in program.out_avals])
    return {"arguments": arguments, "results": results}


def _readme(name: str, manifest: dict[str, Any]) -> str:
    rows = (
        "A batch may have any number of rows."
        if manifest["batch"] is None
        else f"A batch has {manifest['batch']} rows."
    )
    return _README.format(
        name=name,
        version=manifest["jax"],
        platforms=", ".join(manifest["platforms"]),
        example=EXAMPLE,
        suffix=SUFFIX,
        params=PARAMS,
        manifest=MANIFEST,
        found=", ".join(manifest["programs"]["search"]["results"]),
        encoded=", ".join(manifest["programs"]["encode"]["results"]),
        fingerprint=manifest["experiment"],
        rate_hz=manifest["rate_hz"],
        samples=manifest["samples"],
        seconds=manifest["samples"] / manifest["rate_hz"],
        rows=rows,
    )
