"""The choice of a source by the arguments of `jaxasr prepare`, and the recipe line of a source in the dataset info."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from jaxasr.data.corpora.an4 import An4
from jaxasr.data.corpora.formats.recognise import FORMATS
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
# Recipes on disk begin with the names that these classes had first, so that prepared corpora stay valid.
_RECIPE_NAMES: dict[type, str] = {SpokenPhrases: "Spoken", TfdsCorpus: "Stock"}


def source(corpus: str, folder: Path | None, options: Mapping[str, object]) -> Source:
    """Returns the source for `jaxasr prepare CORPUS --from FOLDER`.

    Args:
      options: fields of the source, such as `name` and `split_column` of `Manifest`.

    Raises:
      KeyError: there is no such corpus or option.
      FileNotFoundError: the folder does not exist.
      ValueError: the corpus needs a folder or does not take one, or the value of an option has the wrong type.
    """
    if corpus not in CORPORA:
        raise KeyError(
            f"there is no corpus {corpus!r}; there are {', '.join(CORPORA)} (texts alone: text; your own, in the formats "
            f"{', '.join(FORMATS)}: manifest)"
        )
    fields = {field.name: field for field in dataclasses.fields(CORPORA[corpus])}
    folder_field = fields.pop("folder", None)
    unknown = set(options) - set(fields)
    if unknown:
        hint = ", and its folder is given with --from" if folder_field else ""
        raise KeyError(
            f"corpus {corpus!r} has no option {', '.join(sorted(unknown))}; it has {', '.join(fields)}{hint}"
        )
    given = {name: _convert_option(fields[name], value) for name, value in options.items()}
    if folder_field is None:
        if folder is not None:
            raise ValueError(f"corpus {corpus!r} is made here, not read: --from {folder} has no meaning")
        return CORPORA[corpus](**given)
    if folder is None and folder_field.default is dataclasses.MISSING:
        raise ValueError(f"corpus {corpus!r} is read from a folder or an archive: give it with --from")
    if folder is not None and not folder.exists():
        raise FileNotFoundError(f"corpus {corpus!r} cannot be read from {folder}, which does not exist")
    return CORPORA[corpus](folder=folder, **given)


def describe_source(source: Source) -> list[str]:
    """Returns lines that say what a folder of your own is taken for. They are empty for corpora of one format."""
    return list(source.origin()) if isinstance(source, Manifest) else []


def describe_options() -> list[str]:
    """Returns a paragraph for each corpus: its description and its options with their defaults, for help texts."""
    lines = []
    for name, corpus in CORPORA.items():
        fields = [field for field in dataclasses.fields(corpus) if field.name != "folder"]
        options = [f"{field.name}={_shown_default(field)}" for field in fields]
        lines += [f"{name}: {(corpus.__doc__ or '').splitlines()[0]}", f"    {' '.join(options)}"]
    return lines


def _shown_default(field: dataclasses.Field) -> str:
    """Returns the default of an option, or "..." if it has none or an empty one."""
    empty = field.default is dataclasses.MISSING or field.default in ("", ())
    return "..." if empty else str(field.default)


def recipe(source: Source) -> str:
    """Returns the corpus and its options in one line, without paths. `prepare` compares it with the stored line."""
    fields = [field.name for field in dataclasses.fields(source) if _in_recipe(source, field)]  # pyright: ignore
    values = {name: getattr(source, name) for name in fields}
    shown = (f"{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in values.items())
    name = _RECIPE_NAMES.get(type(source), type(source).__name__)
    return " ".join((name, *shown))


def _in_recipe(source: Source, field: dataclasses.Field) -> bool:
    """Tells whether an option is in the recipe. Options that came later are, if they are set."""
    return field.name != "folder" and ("recipe" not in field.metadata or getattr(source, field.name) != field.default)


def _convert_option(field: dataclasses.Field, value: object) -> object:
    """Converts the text of an option to the type of its field."""
    if not isinstance(value, str) or field.type is str:
        return value
    if field.type in (int, float):
        try:
            return field.type(value)  # pyright: ignore[reportCallIssue, reportOptionalCall]
        except ValueError as error:
            kind = "whole number" if field.type is int else "number"
            raise ValueError(f"option {field.name} is {value!r}; a {kind} is needed") from error
    return tuple(part.strip() for part in value.split(",") if part.strip())
