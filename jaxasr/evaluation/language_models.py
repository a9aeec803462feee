"""Language models by name, from where they lie: the run of an experiment that trained one, or an n-gram file."""

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
    """What a search may fuse, and what a row of results tells of it."""

    models: Mapping[str, LanguageModel]
    provenance: Mapping[str, str]


def load_language_models(places: Mapping[str, str], tokenizer: Tokenizer) -> FusionLms:
    """The models at these places.

    Args:
        places: by name, FILE.arpa (also .arpa.gz), or FILE.py@WORKDIR or FILE.py:function@WORKDIR: an experiment whose
            model is a language model, and its run, of which the best checkpoint is taken.
        tokenizer: of the recogniser.

    Raises:
        FileNotFoundError: no such file, run or checkpoint.
        ValueError: it is no language model, or has another vocabulary.
    """
    found = {name: _read(name, place, tokenizer) for name, place in places.items()}
    return FusionLms({name: model for name, (model, _) in found.items()}, {name: told for name, (_, told) in found.items()})


def check_lms_used(places: Mapping[str, str], searches: Iterable[Search | None]) -> None:
    """Does nothing if one of the searches fuses each of these models, or if one has a scorer that only its author knows.

    Raises:
        ValueError: a model that none of them asks anything: it would change nothing, and nobody would notice.
    """
    scorers = [scorer for search in searches for scorer in _scorers(search)]
    if any(not type(each).__module__.startswith(f"{decode.__name__}.") for each in scorers):
        return
    asked = {each.name for each in scorers if isinstance(each, decode.LmScorer)}
    for name, place in places.items():
        if name not in asked:
            raise ValueError(
                f"--lm {name}={place}: no search that is used fuses a language model of this name "
                f"({', '.join(sorted(asked)) or 'none fuses any'}); it needs decode.LmScorer({name!r}, WEIGHT) among its scorers"
            )


def check_lms_given(places: Mapping[str, str], searches: Iterable[Search | None]) -> None:
    """Does nothing if each model that one of the searches fuses is among these.

    Raises:
        ValueError: one is not.
    """
    asked = {each.name for search in searches for each in _scorers(search) if isinstance(each, decode.LmScorer)}
    for name in sorted(asked - set(places)):
        raise ValueError(
            f"a search that is used fuses a language model {name!r}; given: {', '.join(places) or 'none'}. Give it: "
            f"--lm {name}=PLACE, or leave its split out with --splits"
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
