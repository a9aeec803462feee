"""The reader of lhotse's cuts: `cuts_train.jsonl.gz`, or a folder of such files, one a split.

A cut of one supervision is an utterance; of a cut of several, each supervision is one, with its own times. Commands,
addresses and mixed cuts are errors of their rows.
"""

import functools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from jaxasr.data.corpora.formats.rows import CorpusRow, RowFile, TableColumns, file_split
from jaxasr.data.corpora.formats.tables import first_object, json_objects, table_suffix, text_row

_CHANGES = ("transforms", "custom_transforms")  # of a recording that are computed when it is loaded
_COLUMNS = TableColumns(channel="channel")
_ROUNDING = Decimal("0.001")  # seconds; lhotse rounds times to multiples of samples


def find(path: Path) -> tuple[RowFile, ...]:
    """Returns the files of cuts, or () if there are none."""
    files = [path] if path.is_file() else sorted(path.glob("*.json*"))
    cuts = [file for file in files if table_suffix(file) in (".jsonl", ".json") and _is_cut(first_object(file))]
    return tuple(
        RowFile(
            file,
            functools.partial(_rows, file),
            file_split(file),
            _COLUMNS,
            file.parent,
            tuple(file.absolute().parents)[1:4],
        )
        for file in cuts
    )


def _is_cut(content: dict[str, Any]) -> bool:
    return str(content.get("type", "")).endswith("Cut") or {"supervisions", "recording", "start"} <= content.keys()


def _rows(path: Path, with_audio: bool) -> Iterator[CorpusRow]:
    del with_audio  # no row holds it
    for where, cut in json_objects(path):
        if isinstance(cut, str):
            yield CorpusRow(where, fault=cut)
            continue
        try:
            yield from _cut_rows(where, cut)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError) as error:
            yield CorpusRow(
                where, {"id": str(cut.get("id", ""))}, f"no cut of lhotse ({type(error).__name__}: {error})"
            )


def _cut_rows(where: str, cut: dict[str, Any]) -> Iterator[CorpusRow]:
    supervisions = cut.get("supervisions") or []
    fault = _fault(cut)
    if fault or not supervisions:
        reason = "unreadable row" if fault else "empty transcript"
        yield CorpusRow(where, {"id": str(cut["id"])}, fault or "a cut without supervisions", reason)
        return
    recording = cut["recording"]
    for supervision in supervisions:
        begin = Decimal(str(cut["start"]))
        duration = Decimal(str(cut["duration"]))
        if len(supervisions) > 1:
            begin += Decimal(str(supervision["start"]))
            duration = Decimal(str(supervision["duration"]))
        whole = not begin and abs(duration - Decimal(str(recording["duration"]))) <= _ROUNDING
        yield text_row(
            where,
            {
                "id": cut["id"] if len(supervisions) == 1 else supervision["id"],
                "audio": recording["sources"][0]["source"],
                "text": supervision.get("text"),
                "speaker": supervision.get("speaker"),
                "channel": _channel(cut, supervision),
                **({} if whole else {"start": begin, "duration": duration}),
            },
        )


def _channel(cut: dict[str, Any], supervision: dict[str, Any]) -> int | None:
    """Returns the channel of an utterance, or None if it has all channels of its recording."""
    channel = (
        supervision.get("channel", cut.get("channel", 0)) if cut.get("type") == "MultiCut" else cut.get("channel", 0)
    )
    channels = channel if isinstance(channel, list) else [channel]
    there = cut["recording"]["sources"][0].get("channels", [0])
    if sorted(channels) == sorted(there):
        return None
    if len(channels) > 1:
        raise ValueError(f"channels {channels} of {there}; one or all can be read")
    return there.index(channels[0])


def _fault(cut: dict[str, Any]) -> str:
    """Returns the reason why a cut cannot be read, or ""."""
    kind = cut.get("type", "MonoCut")
    recording = cut.get("recording")
    if kind not in ("MonoCut", "MultiCut"):
        return f"a {kind}, whose audio lhotse computes when it is loaded: store it first (cuts.save_audios)"
    if not recording:
        return "a cut without a recording (of features alone); jaxasr computes features from audio"
    if changes := [change for change in _CHANGES if recording.get(change)]:
        return f"{changes[0]} {recording[changes[0]]!s:.80}, which lhotse computes: store the audio first (cuts.save_audios)"
    sources = recording["sources"]
    kinds = [source["type"] for source in sources]
    if kinds != ["file"]:
        source = str(sources[0]["source"])[:80]
        return f"the sources {', '.join(kinds)} {source!r}; one file is needed, and no command is executed"
    return ""
