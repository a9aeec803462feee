"""Experiments and their named variants, loaded by a reference on a command line."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jaxasr import tree
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.files import load_function


@dataclass(frozen=True)
class ExperimentRef:
    """A reference to an experiment and its overrides. It is handed to other processes in place of the experiment itself:
    an experiment may hold classes of its file, which no other process can import.
    """

    reference: str  # as for `load`
    overrides: Mapping[str, object] = field(default_factory=dict)  # by dotted path

    def load(self) -> Experiment:
        """Returns the experiment. Errors are those of the function `load`."""
        return load(self.reference, self.overrides)


def load(reference: str, overrides: Mapping[str, object] | None = None) -> Experiment:
    """Returns an experiment by its reference, with overrides by dotted path.

    Args:
        reference: "FILE.py" (its function `experiment`), "FILE.py:function", or "FILE.py:generator:variant".
        overrides: values by dotted path, as on the command line or as objects.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no such function or an error in it, it does not give an Experiment, a field has another
            type than it declares, or an override does not fit.
        KeyError: the generator yields no such variant.
    """
    *generator, variant = reference.split(":", 2)
    if len(generator) == 2:
        named = variants(":".join(generator), overrides)
        if variant not in named:
            raise KeyError(f"{':'.join(generator)} has no variant {variant!r}; it has {', '.join(named)}")
        return named[variant]
    value = load_function(reference)()
    if inspect.isgenerator(value):
        named = ", ".join(variants(reference))
        raise ValueError(f"{reference} yields variants; write {reference}:VARIANT, one of {named}")
    if not isinstance(value, Experiment):
        raise ValueError(f"{reference} gives a {type(value).__name__}; an Experiment is needed")
    try:
        tree.flatten(value)  # checks the types of all fields
    except ValueError as error:
        raise ValueError(f"{reference}: {error}") from error
    return tree.override(value, overrides or {})


def variants(reference: str, overrides: Mapping[str, object] | None = None) -> dict[str, Experiment]:
    """Returns the variants of the file's `experiment` that the generator "FILE.py:generator" yields, by name.

    Args:
        reference: "FILE.py:generator", which yields (name, overrides by dotted path).
        overrides: overrides of all variants, after their own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the generator yields nothing or no such pairs, a name twice or one that can't be a folder's, or an
            override that does not fit; the message names the variant.
    """
    file, _, generator = reference.partition(":")
    if not generator:
        raise ValueError(f"{reference} names no generator; write {file}:GENERATOR, one that yields (name, overrides)")
    base = load(file)
    named: dict[str, Experiment] = {}
    yielded = load_function(reference)()
    for pair in yielded if isinstance(yielded, Iterable) and not isinstance(yielded, Experiment) else [yielded]:
        name, own = _pair(pair, reference)
        if name in named:
            raise ValueError(f"{reference} yields two variants named {name!r}; each needs a name of its own")
        try:
            named[name] = tree.override(base, {**own, **(overrides or {})})
        except ValueError as error:
            raise ValueError(f"variant {name!r} of {reference}: {error}") from error
    if not named:
        raise ValueError(f"{reference} yields no variant; it has to yield (name, overrides) at least once")
    return named


def _pair(pair: object, reference: str) -> tuple[str, Mapping[str, object]]:
    match pair:
        case (str(name), Mapping() as overrides):
            if not re.fullmatch(r"\w[\w.,=+-]*", name):
                raise ValueError(
                    f"{reference} yields a variant named {name!r}; a name becomes a folder: letters, digits and _ . , = + -"
                )
            if not all(isinstance(path, str) for path in overrides):
                raise ValueError(f"{reference} yields the overrides {dict(overrides)!r}; a path is a text")
            return name, overrides
    raise ValueError(
        f'{reference} yields a {type(pair).__name__}; a variant is (name, overrides): ("wide-0", {{"seed": 0}})'
    )
