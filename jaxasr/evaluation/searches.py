"""Which search hears a file: one of the experiment's, a plain one, and with which numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxasr import tree
from jaxasr.decode import Beam, CtcGreedy, Greedy, MaxTokens, Search
from jaxasr.experiment.experiment import Experiment, recogniser_of, search_of

# what changes how thoroughly a search looks, and not what it looks for: numbers tuned with one hold with another
EFFORT_FIELDS = ("width", "nbest", "stop", "max_tokens", "alignments")


def named_searches(experiment: Experiment) -> dict[str, Search]:
    """All that has a name: the experiment's by their splits, and greedy, beam and (with a CTC head) ctc, if no split is
    called so. The beam is one of 10 by the mean log probability of a token, with CTC's prefix scores at 0.3 if it can.

    Raises:
        ValueError: the experiment is a language model's.
    """
    model, watched = recogniser_of(experiment), search_of(experiment.validation)
    most = getattr(watched, "max_tokens", MaxTokens())
    ctc_weight = 0.3 if model.ctc is not None else 0.0
    plain: dict[str, Search] = {"greedy": Greedy(most)}
    plain |= {"beam": Beam(10, length_norm=1.0, ctc_weight=ctc_weight, max_tokens=most)}
    plain |= {"ctc": CtcGreedy()} if model.ctc is not None else {}
    own = {name: search_of(split) for name, split in experiment.evals.items()}
    return {"validation": watched, **own, **{name: each for name, each in plain.items() if name not in own}}


def search_for_files(experiment: Experiment) -> Search:
    """That which all evals share, for it is the one that results are of; where they differ, the watched one."""
    own = [search_of(split) for split in experiment.evals.values()]
    return own[0] if own and all(each == own[0] for each in own) else search_of(experiment.validation)


@dataclass(frozen=True)
class TuningResult:
    """What `jaxasr tune-decoding` found."""

    split: str
    search: Mapping[str, str]  # the best point: changes by path
    search_spec: tuple[str, ...]  # the search that was changed, as it is written down

    def matches(self, search: Search) -> bool:
        """True for the search that was tuned, also if it has other values where numbers were tuned, or is more thorough."""
        return self._rest(self.search_spec) == self._rest(render_search(search))

    def _rest(self, lines: Sequence[str]) -> list[str]:
        told = [(line.partition(" = ")[0].removeprefix("first."), line) for line in lines]
        tuned = [path.removeprefix("first.") for path in self.search]
        return [line for path, line in told if path not in tuned and path.partition(".")[0] not in EFFORT_FIELDS]


def read_tuned(file: Path) -> TuningResult:
    """The numbers that `jaxasr tune-decoding` has written.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not what `jaxasr tune-decoding` writes.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; `jaxasr tune-decoding` writes it into the run's folder")
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return TuningResult(str(kept["split"]), dict(kept["search"]), tuple(kept["of"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not what `jaxasr tune-decoding` writes: {error!r}") from error


def render_search(search: Search) -> tuple[str, ...]:
    """The search, a line a field."""
    return tuple(tree.render(search).splitlines())


def tuned_changes(file: Path, experiment: Experiment, splits: Sequence[str] = ()) -> dict[str, str]:
    """What tuned.json says, as changes of those of the experiment's evals that have the search that was tuned.

    Args:
        splits: the evals that are to be decoded, which must all have it; none: all there are, of which some must.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not what `tune` writes, or a split has another search.
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
    """The search for files that somebody asks for.

    Args:
        name: one of `searches_of`; "": that whose numbers were tuned, else that of `search_for_files`.
        changes: of its fields, by path ("width", "scorers.0.weight"): they come last.
        tuned: a file of `jaxasr tune-decoding`.

    Raises:
        FileNotFoundError: no such file of numbers.
        ValueError: no search of this name, no such field, or the numbers are another search's.
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
    return next((each for each in of_its_splits if tuned and tuned.matches(each)), own)


def _another(file: Path, tuned: TuningResult, names: str) -> str:
    told = " ".join(f"{path}={value}" for path, value in tuned.search.items())
    return (
        f"{file} has {told} for the search of {tuned.split}, and {names} have another one: numbers hold for the search they "
        "were tuned with. Name splits that have it, or tune this one"
    )
