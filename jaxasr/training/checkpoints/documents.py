"""JSON files that carry a digest of their own contents, so that a damaged file is an error and no other value."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from jaxasr.files import write_whole

DIGEST = "digest"


class DamagedCheckpointError(ValueError):
    """An error for a checkpoint that is incomplete, or whose contents are not those that were saved."""


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document with the digest of its contents."""
    return {**document, DIGEST: _digest(document)}


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a document and its digest to `path`, whole or not at all."""
    write_whole(path, json.dumps(sealed(document)) + "\n")


def read_document(path: Path, *, undigested: Collection[str] = ()) -> dict[str, Any]:
    """Returns the document without its digest.

    Args:
        path: the file.
        undigested: the keys of the documents that older versions wrote without a digest; one with these keys needs none.

    Raises:
        DamagedCheckpointError: there is no such file, or its contents are not those that were written.
    """
    if not path.is_file():
        raise DamagedCheckpointError(f"{path} is missing")
    try:
        document = json.loads(path.read_bytes())
        digest = document.pop(DIGEST, None)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(f"{path} is damaged: it is no JSON object ({error})") from error
    if digest != _digest(document) and (digest is not None or document.keys() != set(undigested)):
        raise DamagedCheckpointError(f"{path} is damaged: its digest is {_digest(document)}, {digest} was written")
    return document


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()
