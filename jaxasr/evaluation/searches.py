"""Choice of a search by name, and the results of tuning that apply to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxasr import tree
from jaxasr.decode import Beam, CtcGreedy, Greedy, MaxTokens, Search
from jaxasr.experiment.experiment import Experiment, recogniser_of
from jaxasr.experiment.split import search_of

# fields that change the effort of a search and not its objective: weights tuned with one value hold with another
EFFORT_FIELDS = ("width", "nbest", "stop", "max_tokens", "alignments")


def named_searches(experiment: Experiment) -> dict[str, Search]:
    """Returns all searches with a name: "validation", the experiment's evals, "greedy", "beam" and, with a CTC head, "ctc".

    A split of the same name replaces a plain search. "beam" has width 10, scores by the mean log probability of a token and,
    if there is a CTC head, gives CTC prefix scores the weight 0.3.

    Raises:
        ValueError: the experiment trains a language model.
    """
    model = recogniser_of(experiment)
    validation = search_of(experiment.validation)
    most = getattr(validation, "max_tokens", MaxTokens())
    ctc_weight = 0.3 if model.ctc is not None else 0.0
    plain: dict[str, Search] = {"greedy": Greedy(most)}
    plain |= {"beam": Beam(10, length_norm=1.0, ctc_weight=ctc_weight, max_tokens=most)}
    plain |= {"ctc": CtcGreedy()} if model.ctc is not None else {}
    own = {name: search_of(split) for name, split in experiment.evals.items()}
    return {"validation": validation, **own, **{name: search for name, search in plain.items() if name not in own}}


def search_for_files(experiment: Experiment) -> Search:
    """Returns the search that all evals share, because results belong to it; if they differ, the validation search.

    Raises:
        ValueError: the experiment trains a language model.
    """
    recogniser_of(experiment)  # before a split is blamed
    own = [search_of(split) for split in experiment.evals.values()]
    return own[0] if own and all(search == own[0] for search in own) else search_of(experiment.validation)


@dataclass(frozen=True)
class TuningResult:
    """The result of `jaxasr tune-decoding`."""

    split: str
    search: Mapping[str, str]  # the best point: values by path
    search_spec: tuple[str, ...]  # the lines of the search that was tuned

    def matches(self, search: Search) -> bool:
        """Returns True if `search` is the one that was tuned, up to the tuned values and EFFORT_FIELDS."""
        return self._rest(self.search_spec) == self._rest(render_search(search))

    def _rest(self, lines: Sequence[str]) -> list[str]:
        by_path = [(line.partition(" = ")[0].removeprefix("first."), line) for line in lines]
        tuned = [path.removeprefix("first.") for path in self.search]
        return [line for path, line in by_path if path not in tuned and path.partition(".")[0] not in EFFORT_FIELDS]


def read_tuned(file: Path) -> TuningResult:
    """Reads a file that `jaxasr tune-decoding` has written.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not what `jaxasr tune-decoding` writes.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; `jaxasr tune-decoding` writes it into the run's folder")
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        split = kept["split"]
        search = kept["search"]
        lines = kept["of"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not what `jaxasr tune-decoding` writes: {error!r}") from error
    texts = [split, *search, *search.values()] if isinstance(search, dict) else [None]
    texts += lines if isinstance(lines, list) else [None]
    if not search or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"{file} is not what `jaxasr tune-decoding` writes: `split` is a text, `search` has a text by path and `of` is a "
            "list of texts"
        )
    return TuningResult(split, search, tuple(lines))


def render_search(search: Search) -> tuple[str, ...]:
    """Returns the search as lines, one per field."""
    return tuple(tree.render(search).splitlines())


def tuned_changes(file: Path, experiment: Experiment, splits: Sequence[str] = ()) -> dict[str, str]:
    """Returns tuned values as overrides of the experiment's evals that have the tuned search.

    Args:
        splits: the evals that are to be decoded, which must all have the tuned search; none: all evals, of which at least one
            must have it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file was not written by `jaxasr tune-decoding`, or a split has another search.
    """
    tuned = read_tuned(file)
    fits = {name: tuned.matches(search_of(split)) for name, split in experiment.evals.items()}
    others = [name for name, fit in fits.items() if not fit and name in (splits or fits)]
    if others and (splits or not any(fits.values())):
        raise ValueError(_another(file, tuned, ", ".join(others)))
    taken = [name for name, fit in fits.items() if fit and name in (splits or fits)]
    return {f"evals.{name}.search.{path}": value for name in taken for path, value in tuned.search.items()}


def select_search(
    experiment: Experiment, name: str = "", changes: Mapping[str, str] | None = None, tuned: Path | None = None
) -> Search:
    """Returns the search for audio files that the command line asks for.

    Args:
        name: one of `named_searches`; "": the tuned search, or else that of `search_for_files`.
        changes: values of its fields by path ("width", "scorers.0.weight"), applied last.
        tuned: a file written by `jaxasr tune-decoding`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no search of this name, no such field, or the values were tuned for another search.
    """
    found = read_tuned(tuned) if tuned else None
    search = _named(experiment, name, found)
    if found and tuned:
        if not found.matches(search):
            raise ValueError(_another(tuned, found, name or ", ".join(named_searches(experiment))))
        search = tree.override(search, found.search)
    return tree.override(search, changes) if changes else search


def _named(experiment: Experiment, name: str, tuned: TuningResult | None) -> Search:
    there = named_searches(experiment)
    if name and name not in there:
        raise ValueError(f"there is no search {name!r}; there are {', '.join(there)}")
    if name:
        return there[name]
    own = search_for_files(experiment)
    of_its_splits = [own, *there.values()] if tuned else []
    return next((search for search in of_its_splits if tuned and tuned.matches(search)), own)


def _another(file: Path, tuned: TuningResult, names: str) -> str:
    values = " ".join(f"{path}={value}" for path, value in tuned.search.items())
    return (
        f"{file} has {values} for the search of {tuned.split}, and {names} have another one: numbers hold for the search "
        "they were tuned with. Name splits that have it, or tune this one"
    )
