"""From the words of the command line to a source, and from a source to the line that names it in the ledger."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from jaxasr.data.corpora.an4 import An4
from jaxasr.data.corpora.librispeech import Librispeech
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.source import Source
from jaxasr.data.corpora.spoken import SpokenPhrases
from jaxasr.data.corpora.text import Text
from jaxasr.data.corpora.tfds_corpus import TfdsCorpus

CORPORA: dict[str, type] = {
    "manifest": Manifest,
    "an4": An4,
    "librispeech": Librispeech,
    "spoken": SpokenPhrases,
    "tfds": TfdsCorpus,
    "text": Text,
}


def source(corpus: str, folder: Path | None, options: Mapping[str, object]) -> Source:
    """The source that `jaxasr prepare CORPUS --from FOLDER` means.

    Args:
      options: fields of the source, such as `name` and `split_column` of `Manifest`.

    Raises:
      KeyError: no such corpus or option.
      ValueError: the corpus needs a folder, or an option does not fit.
    """
    if corpus not in CORPORA:
        raise KeyError(
            f"there is no corpus {corpus!r}; there are {', '.join(CORPORA)} (your own: manifest; texts alone: text)"
        )
    fields = {field.name: field for field in dataclasses.fields(CORPORA[corpus])}
    place = fields.pop("folder", None)
    unknown = set(options) - set(fields)
    if unknown:
        told = ", and its folder is given with --from" if place else ""
        raise KeyError(
            f"corpus {corpus!r} has no option {', '.join(sorted(unknown))}; it has {', '.join(fields)}{told}"
        )
    given = {name: _converted(fields[name], value) for name, value in options.items()}
    if place is None:
        if folder is not None:
            raise ValueError(f"corpus {corpus!r} is made here, not read: --from {folder} has no meaning")
        return CORPORA[corpus](**given)
    if folder is None and place.default is dataclasses.MISSING:
        raise ValueError(f"corpus {corpus!r} is read from a folder or an archive: give it with --from")
    if folder is not None and not folder.exists():
        raise FileNotFoundError(f"corpus {corpus!r} cannot be read from {folder}, which does not exist")
    return CORPORA[corpus](folder=folder, **given)


def recipe(source: Source) -> str:
    """The corpus and its options in one line; no path."""
    fields = [field.name for field in dataclasses.fields(source) if field.name != "folder"]  # pyright: ignore
    values = {name: getattr(source, name) for name in fields}
    shown = (f"{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in values.items())
    return " ".join((type(source).__name__, *shown))


def _converted(field: dataclasses.Field, value: object) -> object:
    """An option that came as text, in the type of its field."""
    if not isinstance(value, str) or field.type is str:
        return value
    if field.type in (int, float):
        try:
            return field.type(value)  # pyright: ignore[reportCallIssue, reportOptionalCall]
        except ValueError as error:
            kind = "whole number" if field.type is int else "number"
            raise ValueError(f"option {field.name} is {value!r}; a {kind} is needed") from error
    return tuple(part.strip() for part in value.split(",") if part.strip())
