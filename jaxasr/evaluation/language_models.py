"""Language models for a search, loaded from the run of an experiment or from an n-gram file."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxasr import decode, nn, tree
from jaxasr.decode import Search
from jaxasr.evaluation.ngram import ARPA_ENDINGS, read_ngram
from jaxasr.experiment.files import load_function
from jaxasr.experiment.restore import variables_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import LanguageModel
from jaxasr.text.tokenizer import Tokenizer

NO_LMS: Mapping[str, str] = {}


@dataclass(frozen=True)
class FusionLms:
    """The language models that a search may fuse, and their provenance for a row of results."""

    models: Mapping[str, LanguageModel]
    provenance: Mapping[str, str]


def load_language_models(specs: Mapping[str, str], tokenizer: Tokenizer) -> FusionLms:
    """Loads language models by name.

    Args:
        specs: for each name FILE.arpa (also .arpa.gz), or FILE.py@WORKDIR or FILE.py:function@WORKDIR: an experiment whose
            model is a language model, and its run. The best checkpoint is taken.
        tokenizer: the tokenizer of the recogniser.

    Raises:
        FileNotFoundError: no such file, run or checkpoint.
        ValueError: no language model, or one with another vocabulary.
    """
    found = {name: _read(name, spec, tokenizer) for name, spec in specs.items()}
    return FusionLms(
        {name: model for name, (model, _) in found.items()},
        {name: provenance for name, (_, provenance) in found.items()},
    )


def check_lms_used(specs: Mapping[str, str], searches: Iterable[Search | None]) -> None:
    """Checks that each model is fused by one of the searches.

    A search with a scorer from outside `jaxasr.decode` passes, because such a scorer may use any model.

    Raises:
        ValueError: no search uses a model, so it would silently change nothing.
    """
    scorers = [scorer for search in searches for scorer in _scorers(search)]
    if any(not type(scorer).__module__.startswith(f"{decode.__name__}.") for scorer in scorers):
        return
    asked = {scorer.name for scorer in scorers if isinstance(scorer, decode.LmScorer)}
    for name, spec in specs.items():
        if name not in asked:
            raise ValueError(
                f"--lm {name}={spec}: no search that is used fuses a language model of this name "
                f"({', '.join(sorted(asked)) or 'none fuses any'}); it needs decode.LmScorer({name!r}, WEIGHT) among its "
                "scorers"
            )


def check_lms_given(specs: Mapping[str, str], searches: Iterable[Search | None]) -> None:
    """Checks that each model that one of the searches fuses is given.

    Raises:
        ValueError: a model is not given.
    """
    asked = {scorer.name for search in searches for scorer in _scorers(search) if isinstance(scorer, decode.LmScorer)}
    for name in sorted(asked - set(specs)):
        raise ValueError(
            f"a search that is used fuses a language model {name!r}; given: {', '.join(specs) or 'none'}. Give it: "
            f"--lm {name}=PATH, or leave its split out with --splits"
        )


def _scorers(search: Search | None) -> tuple[decode.Scorer, ...]:
    if isinstance(search, decode.Rescoring):
        return (*search.first.scorers, *search.scorers)
    return search.scorers if isinstance(search, decode.Beam) else ()


def _read(name: str, place: str, tokenizer: Tokenizer) -> tuple[LanguageModel, str]:
    if place.endswith(ARPA_ENDINGS):
        model = read_ngram(Path(place), tokenizer)
        return model, hashlib.sha256(Path(place).read_bytes()).hexdigest()[:8]
    file, _, workdir = place.rpartition("@")
    if not file or not workdir:
        raise ValueError(f"--lm {name}={place}: FILE.arpa, or FILE.py@WORKDIR of an experiment and its run, is needed")
    experiment = load_function(file)()
    if not isinstance(experiment.model, nn.Lm):
        raise ValueError(
            f"--lm {name}={place}: the model of {file} is {type(experiment.model).__name__}, a language model is needed"
        )
    if experiment.tokenizer.digest != tokenizer.digest:
        raise ValueError(
            f"--lm {name}={place}: it has the vocabulary {experiment.tokenizer.digest}, the recogniser "
            f"{tokenizer.digest}; train it with the recogniser's tokenizer"
        )
    variables, metadata = variables_of(experiment.model, tokenizer, Workdir(Path(workdir)))
    return nn.BoundLm(experiment.model, variables), f"{tree.fingerprint(experiment)}, data {metadata.data}"
