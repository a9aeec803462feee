"""The texts and tokens of a large corpus, made once for each vocabulary and kept as mapped columns beside the corpus.

Only transforms of this package are kept so, because the digest of their code tells whether a cache is stale. The filters
by length and the changes of speed are applied anew each time.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from importlib import metadata
from pathlib import Path

import numpy as np

from jaxasr import text
from jaxasr.data import transforms as transforms_module
from jaxasr.data.batching.lengths import RaggedTokens
from jaxasr.data.columns.store import CACHE_FOLDER, ColumnWriter, MappedColumns, cached_columns
from jaxasr.data.columns.strings import chained, joined
from jaxasr.data.prepared import index_columns
from jaxasr.data.prepared.corpus import PreparedCorpus
from jaxasr.data.transforms import (
    EMPTY,
    DropMarkup,
    ExampleTable,
    FilterReason,
    KeepSeconds,
    KeepShare,
    KeepTokens,
    MapWords,
    Normalize,
    SpeedPerturb,
    Tokenize,
    Transform,
)

_OF_TEXTS = (Normalize, DropMarkup, MapWords, Tokenize)
_OTHERS = (KeepSeconds, KeepShare, KeepTokens, SpeedPerturb)
_LIBRARIES = ("sentencepiece", "regex", "whisper-normalizer")  # that decide about texts and tokens
_AT_ONCE = 16_384  # examples

_Found = tuple[int, int, FilterReason]  # index of the transform, example, reason


@dataclass(frozen=True)
class _Transcripts:
    """The result of the transforms of texts for one corpus."""

    texts: Sequence[str]
    tokens: RaggedTokens
    found: list[_Found]


def transform_examples(sources: Sequence[PreparedCorpus], transforms: Sequence[Transform]) -> ExampleTable:
    """Returns the examples of all corpora after all transforms. Texts and tokens of large corpora come from their caches."""
    seconds = joined([source.samples / source.rates_hz for source in sources])
    start = ExampleTable(seconds, chained([source.texts for source in sources]))
    if not any(_is_cached(source) for source in sources) or not _are_known(transforms):
        return reduce(lambda table, transform: transform.apply(table), transforms, start)
    parts = [_transcripts(source, transforms) for source in sources]
    table = ExampleTable(seconds, chained([part.texts for part in parts]))
    offsets = np.cumsum([0, *(len(source) for source in sources)]).tolist()
    for number, transform in enumerate(transforms):
        if not isinstance(transform, _OF_TEXTS):
            table = transform.apply(table)
            continue
        found = [
            (offset + example, reason)
            for offset, part in zip(offsets, parts, strict=False)
            for position, example, reason in part.found
            if position == number
        ]
        found.sort(key=lambda pair: (pair[1].reason == EMPTY, pair[0]))  # as a transform of all corpora finds them
        tokens = _join_tokens([part.tokens for part in parts]) if isinstance(transform, Tokenize) else table.tokens
        table = ExampleTable(seconds, table.texts, tokens, table.speeds, table.filtered + tuple(found))
    return table


def _is_cached(source: PreparedCorpus) -> bool:
    return source.folder is not None and len(source) >= index_columns.CACHED_FROM


def _are_known(transforms: Sequence[Transform]) -> bool:
    """Returns whether the tokenizer and all transforms are those of this package."""
    tokenizer = transforms_module.find_tokenizer(tuple(transforms))
    return type(tokenizer).__module__.startswith(f"{text.__name__}.") and all(
        type(transform) in (*_OF_TEXTS, *_OTHERS) for transform in transforms
    )


def _transcripts(source: PreparedCorpus, transforms: Sequence[Transform]) -> _Transcripts:
    chosen = [(number, transform) for number, transform in enumerate(transforms) if isinstance(transform, _OF_TEXTS)]
    if not _is_cached(source):
        table, found = _apply(source, 0, len(source), chosen)
        assert table.tokens is not None
        return _Transcripts(table.texts, table.tokens, found)

    def write(writer: ColumnWriter) -> None:
        for start in range(0, len(source), _AT_ONCE):
            table, found = _apply(source, start, min(start + _AT_ONCE, len(source)), chosen)
            assert table.tokens is not None
            writer.add_strings("texts", table.texts)
            writer.add_sequences("tokens", table.tokens.flat, table.tokens.lengths)
            writer.add("found_by", np.array([number for number, _, _ in found], np.int32))
            writer.add("found", np.array([example for _, example, _ in found], np.int64))
            writer.add_strings("reasons", [reason.reason for _, _, reason in found])
            writer.add_strings("details", [reason.detail for _, _, reason in found])

    assert source.folder is not None
    values = [repr((number, transform)) for number, transform in chosen if not isinstance(transform, Tokenize)]
    tokenizer = transforms_module.find_tokenizer(tuple(transforms))
    vocabulary = f"{type(tokenizer).__name__} {tokenizer.size} {tokenizer.digest}"
    wanted = "\n".join([source.name, source.manifest_hash, vocabulary, *values])
    name = f"tokens-{tokenizer.digest}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    return _read(cached_columns(source.folder / CACHE_FOLDER / name, f"{wanted}\n{code_digest()}", write))


def _apply(
    source: PreparedCorpus, start: int, stop: int, transforms: Sequence[tuple[int, Transform]]
) -> tuple[ExampleTable, list[_Found]]:
    """Applies transforms to some examples of a corpus. Returns the table, and what was found with the examples' indices."""
    part = slice(start, stop)
    table = ExampleTable(source.samples[part] / source.rates_hz[part], source.texts[part])
    found: list[_Found] = []
    for number, transform in transforms:
        before = len(table.filtered)
        table = transform.apply(table)
        found += [(number, start + i, reason) for i, reason in table.filtered[before:]]
    return table, found


def _read(columns: MappedColumns) -> _Transcripts:
    arrays = columns.arrays
    reasons = zip(columns.strings("reasons"), columns.strings("details"), strict=True)
    found = zip(arrays["found_by"].tolist(), arrays["found"].tolist(), reasons, strict=True)
    return _Transcripts(
        columns.strings("texts"),
        RaggedTokens(arrays["tokens.content"], np.asarray(arrays["tokens.starts"])),
        [(number, example, FilterReason(*reason)) for number, example, reason in found],
    )


def _join_tokens(parts: Sequence[RaggedTokens]) -> RaggedTokens:
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.flat) for part in parts)])
    starts = [part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
    return RaggedTokens(np.concatenate([part.flat for part in parts]), np.append(np.concatenate(starts), offsets[-1]))


@cache
def code_digest() -> str:
    """Returns a hash of the code and the libraries that make tokens of texts. A cache of other code is stale."""
    digest = hashlib.sha256(unicodedata.unidata_version.encode())
    for path in [*sorted(Path(text.__file__).parent.rglob("*.py")), Path(transforms_module.__file__), Path(__file__)]:
        digest.update(path.read_bytes())
    for library in _LIBRARIES:
        try:
            digest.update(f"{library} {metadata.version(library)}".encode())
        except metadata.PackageNotFoundError:
            digest.update(f"no {library}".encode())
    return digest.hexdigest()
