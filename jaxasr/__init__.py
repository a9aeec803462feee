"""jaxasr: sequence-to-sequence speech recognition in JAX/Flax, for scaling experiments on TPUs and GPUs.

    import jaxasr

    experiment = jaxasr.load("experiments/quickstart/spoken.py", {"seed": 1})
    jaxasr.train(experiment, "runs/mine")
    rows = jaxasr.evaluate(experiment, "runs/mine")

The names below and the packages `data`, `decode`, `nn`, `text` and `training` are the public interface. They are imported
when they are used, so that `jaxasr --help` need not wait for JAX.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxasr import data, decode, nn, text, training
    from jaxasr.evaluation import evaluate_run as evaluate
    from jaxasr.experiment import Experiment, RuntimeConfig, Split, Stage, load
    from jaxasr.run import train
    from jaxasr.score import compare_hypotheses as compare
    from jaxasr.transcription import transcribe

__all__ = [
    "Experiment",
    "RuntimeConfig",
    "Split",
    "Stage",
    "__version__",
    "compare",
    "data",
    "decode",
    "evaluate",
    "load",
    "nn",
    "text",
    "train",
    "training",
    "transcribe",
]
__version__ = version("jaxasr")

_HOMES = {
    "Experiment": "experiment.Experiment",
    "RuntimeConfig": "experiment.RuntimeConfig",
    "Split": "experiment.Split",
    "Stage": "experiment.Stage",
    "compare": "score.compare_hypotheses",
    "evaluate": "evaluation.evaluate_run",
    "load": "experiment.load",
    "train": "run.train",
    "transcribe": "transcription.transcribe",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name in _HOMES:
        package, _, attribute = _HOMES[name].partition(".")
        return getattr(importlib.import_module(f"jaxasr.{package}"), attribute)
    if name in __all__:
        return importlib.import_module(f"jaxasr.{name}")
    raise AttributeError(f"module 'jaxasr' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    """Returns the public names."""
    return __all__
